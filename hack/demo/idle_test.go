package main

import (
	"strings"
	"testing"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/audit"
)

func TestJudgeIdle(t *testing.T) {
	t.Parallel()
	if err := judgeIdle(minQuestions, 0, nil); err != nil {
		t.Errorf("an idle minute was refused: %v", err)
	}
	for name, test := range map[string]struct {
		questions, updates int
		writes             []audit.Event
		complaint          string
	}{
		"too few questions": {minQuestions - 1, 0, nil, "questions"},
		"a twin update":     {minQuestions, 1, nil, "twin update"},
		"a write":           {minQuestions, 0, []audit.Event{{Verb: "patch"}}, "API server"},
	} {
		err := judgeIdle(test.questions, test.updates, test.writes)
		if err == nil || !strings.Contains(err.Error(), test.complaint) {
			t.Errorf("%s: got %v, want a complaint about %s", name, err, test.complaint)
		}
	}
}
