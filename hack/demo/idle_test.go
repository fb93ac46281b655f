package main

import (
	"strings"
	"testing"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/audit"
)

func TestJudgeIdle(t *testing.T) {
	t.Parallel()
	if err := judgeIdle(minReadBacks, 0, nil); err != nil {
		t.Errorf("an idle minute was refused: %v", err)
	}
	for name, test := range map[string]struct {
		readBacks, updates int
		writes             []audit.Event
		complaint          string
	}{
		"too few read-backs": {minReadBacks - 1, 0, nil, "read-backs"},
		"a twin update":      {minReadBacks, 1, nil, "twin update"},
		"a write":            {minReadBacks, 0, []audit.Event{{Verb: "patch"}}, "API server"},
	} {
		err := judgeIdle(test.readBacks, test.updates, test.writes)
		if err == nil || !strings.Contains(err.Error(), test.complaint) {
			t.Errorf("%s: got %v, want a complaint about %s", name, err, test.complaint)
		}
	}
}
