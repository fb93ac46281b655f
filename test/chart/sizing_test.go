package chart_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

// size is a row of the chart's files/sizing.yaml.
type size struct {
	Twins    int    `json:"twins"`
	Measured int    `json:"measured"`
	CPU      string `json:"cpu"`
	Request  string `json:"request"`
	Limit    string `json:"limit"`
}

func sizes(t *testing.T) []size {
	t.Helper()
	text, err := os.ReadFile(chart + "/files/sizing.yaml")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	var table struct {
		Sizes []size `json:"sizes"`
	}
	NewWithT(t).Expect(yaml.UnmarshalStrict(text, &table)).To(Succeed())
	return table.Sizes
}

// resident is the manager's resident memory in MiB by the number of twins, as the
// committed benchmarks have it. Where both have one, the larger counts.
func resident(t *testing.T) map[int]float64 {
	t.Helper()
	g := NewWithT(t)
	out := map[int]float64{}
	for _, name := range []string{"operator.json", "operator-100k.json"} {
		text, err := os.ReadFile(root + "/docs/benchmarks/" + name)
		g.Expect(err).NotTo(HaveOccurred())
		var report struct {
			Rows []struct {
				Row    string `json:"row"`
				Values []struct {
					What  string  `json:"what"`
					Value float64 `json:"value"`
					Unit  string  `json:"unit"`
				} `json:"values"`
			} `json:"rows"`
		}
		g.Expect(json.Unmarshal(text, &report)).To(Succeed())
		for _, row := range report.Rows {
			if row.Row != "memory" {
				continue
			}
			for _, value := range row.Values {
				var twins int
				if _, err := fmt.Sscanf(value.What, "RSS with %d twins", &twins); err == nil {
					g.Expect(value.Unit).To(Equal("MB"))
					out[twins] = max(out[twins], value.Value)
				}
			}
		}
	}
	return out
}

// TestMemoryFollowsTheBenchmarks: a new measurement that no longer fits the chart's
// resources fails here.
func TestMemoryFollowsTheBenchmarks(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	measured := resident(t)
	perTwin := (measured[50000] - measured[10000]) / 40000
	measured[100000] = measured[50000] + 50000*perTwin // in a straight line

	table := sizes(t)
	g.Expect(table).NotTo(BeEmpty())
	last := size{}
	for _, row := range table {
		g.Expect(row.Twins).To(BeNumerically(">", last.Twins), "the table is searched from above")
		g.Expect(measured).To(HaveKey(row.Twins), "not measured")
		g.Expect(row.Measured).To(BeEquivalentTo(math.Round(measured[row.Twins])), "%d twins", row.Twins)
		g.Expect(mebibytes(t, row.Request)).To(BeNumerically(">=", row.Measured), "%d twins: request", row.Twins)
		g.Expect(mebibytes(t, row.Limit)).To(BeNumerically(">=", 1.5*float64(row.Measured)), "%d twins: limit", row.Twins)
		last = row
	}
}

func mebibytes(t *testing.T, quantity string) float64 {
	t.Helper()
	parsed, err := resource.ParseQuantity(quantity)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return float64(parsed.Value()) / (1 << 20)
}

// TestTheInstallPageHasTheSizes: the chart's README is generated, this page is not.
func TestTheInstallPageHasTheSizes(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	page, err := os.ReadFile(root + "/docs/install.md")
	g.Expect(err).NotTo(HaveOccurred())
	for _, row := range sizes(t) {
		g.Expect(string(page)).To(ContainSubstring(fmt.Sprintf("| %d | %s | %s | %s |", row.Twins, row.CPU, row.Request, row.Limit)))
	}
}
