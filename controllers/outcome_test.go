package controllers

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// hubReasons are the reasons that internal/hub declares.
func hubReasons(t *testing.T) []hub.Reason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../internal/hub/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []hub.Reason
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Reason") {
			reasons = append(reasons, hub.Reason(strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`)))
		}
		return true
	})
	if len(reasons) == 0 {
		t.Fatal("no reasons found")
	}
	return reasons
}

func TestEveryRefusalOfAHubHasAnOutcome(t *testing.T) {
	t.Parallel()
	for _, reason := range hubReasons(t) {
		out := outcomeOf(fmt.Errorf("wrapped: %w", &hub.Error{Reason: reason}))
		silent := out.class == unseen && out.err != nil // for the log alone
		if _, ok := hubOutcomes[reason]; !ok || out.reason == "" && !silent || out.message == "" {
			t.Errorf("%s: %+v", reason, out)
		}
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	gone := apierrors.NewNotFound(schema.GroupResource{}, "x")
	stale := apierrors.NewConflict(schema.GroupResource{}, "x", nil)
	throttled := &hub.Error{Reason: hub.ReasonThrottled, RetryAfter: time.Minute}
	tests := map[string]struct {
		err   error
		class class
		// after is when to look again at the soonest; backOff that the queue decides;
		// neither, that something else wakes the object.
		after   time.Duration
		backOff bool
	}{
		"success":               {nil, succeeded, 38 * time.Second, false},
		"an old copy":           {fmt.Errorf("w: %w", stale), unseen, staleRetry, false},
		"an object that went":   {fmt.Errorf("w: %w", gone), unseen, staleRetry, false},
		"told to stop":          {context.Canceled, unseen, staleRetry, false},
		"the API server fails":  {errors.New("boom"), unseen, 0, true},
		"not looked at yet":     {errUnseen, unseen, 0, false},
		"suspended":             {&stop{outcome{class: suspended}}, suspended, 0, false},
		"a person is needed":    {stopStalled("R", "m"), stalled, time.Minute, false},
		"waiting":               {stopWaiting("R", "m"), waiting, time.Minute, false},
		"contended":             {stopDiffering(transient, v1alpha1.ReasonContended, "m"), transient, 0, true},
		"no answer":             {&hub.Error{Reason: hub.ReasonUnreachable}, transient, 0, true},
		"throttled":             {&hub.Error{Reason: hub.ReasonThrottled}, transient, throttleRetry, false},
		"throttled for longer":  {throttled, transient, time.Minute, false},
		"out of quota":          {&hub.Error{Reason: hub.ReasonQuotaExceeded}, waiting, quotaRetry, false},
		"an unknown hub reason": {&hub.Error{Reason: "New"}, transient, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := reporter{clock: clocktesting.NewFakePassiveClock(time.Now()), retry: time.Minute, server: &apiServer{}}
			out := outcomeOf(tt.err)
			result, err := r.next(t.Context(), out, 38*time.Second)
			if out.class != tt.class || (err != nil) != tt.backOff {
				t.Errorf("class %d, error %v, want class %d, error %t", out.class, err, tt.class, tt.backOff)
			}
			if result.RequeueAfter < tt.after || result.RequeueAfter > 2*tt.after {
				t.Errorf("looked at again after %s, want %s to twice that", result.RequeueAfter, tt.after)
			}
		})
	}
}
