package docs_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/devicetwin-io/devicetwin-operator/controllers"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	descriptions := make(chan *prometheus.Desc, 100)
	for _, metrics := range []prometheus.Collector{hub.NewMetrics(), controllers.NewMetrics()} {
		metrics.Describe(descriptions)
	}
	close(descriptions)
	var served []string
	for description := range descriptions {
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(description.String())
		if name == nil {
			t.Fatalf("%s has no name", description)
		}
		served = append(served, name[1])
	}
	slices.Sort(served)
	if diff := cmp.Diff(served, firstCells(t, "metrics.md")); diff != "" {
		t.Errorf("metrics and rows of docs/metrics.md (-metrics +rows):\n%s", diff)
	}
}
