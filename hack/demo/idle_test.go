package main

import (
	"strings"
	"testing"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/audit"
)

func TestJudgeIdle(t *testing.T) {
	t.Parallel()
	if err := judgeIdle(minQueries, 0, nil); err != nil {
		t.Errorf("an idle minute was refused: %v", err)
	}
	for name, test := range map[string]struct {
		queries, updates int
		writes           []audit.Event
		complaint        string
	}{
		"too few queries": {minQueries - 1, 0, nil, "queries"},
		"a twin update":   {minQueries, 1, nil, "twin update"},
		"a write":         {minQueries, 0, []audit.Event{{Verb: "patch"}}, "API server"},
	} {
		err := judgeIdle(test.queries, test.updates, test.writes)
		if err == nil || !strings.Contains(err.Error(), test.complaint) {
			t.Errorf("%s: got %v, want a complaint about %s", name, err, test.complaint)
		}
	}
}
