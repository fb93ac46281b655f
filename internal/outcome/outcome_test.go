package outcome

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/reasons"
)

func TestEveryRefusalOfAHubHasAnOutcome(t *testing.T) {
	t.Parallel()
	for _, reason := range reasons.OfHub(t, "../hub/errors.go") {
		out := Of(fmt.Errorf("wrapped: %w", &hub.Error{Reason: reason}))
		silent := out.Class == Unseen && out.Err != nil // for the log alone
		if _, ok := hubOutcomes[reason]; !ok || out.Reason == "" && !silent || out.Message == "" {
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
		class Class
		// after is when to reconcile again at the soonest; backOff that the queue decides;
		// neither, that another event triggers the object.
		after   time.Duration
		backOff bool
	}{
		"success":               {nil, Succeeded, 38 * time.Second, false},
		"an old copy":           {fmt.Errorf("w: %w", stale), Unseen, staleRetry, false},
		"an object that went":   {fmt.Errorf("w: %w", gone), Unseen, staleRetry, false},
		"the manager stops":     {context.Canceled, Unseen, staleRetry, false},
		"the API server fails":  {errors.New("boom"), Unseen, 0, true},
		"not reconciled yet":    {NotSeen(), Unseen, 0, false},
		"suspended":             {AsError(Outcome{Class: Suspended}), Suspended, 0, false},
		"the user must act":     {Stall("R", "m"), Stalled, time.Minute, false},
		"waiting":               {Wait("R", "m"), Waiting, time.Minute, false},
		"contended":             {Differ(Transient, v1alpha1.ReasonContended, "m"), Transient, 0, true},
		"no answer":             {&hub.Error{Reason: hub.ReasonUnreachable}, Transient, 0, true},
		"throttled":             {&hub.Error{Reason: hub.ReasonThrottled}, Transient, throttleRetry, false},
		"throttled for longer":  {throttled, Transient, time.Minute, false},
		"out of quota":          {&hub.Error{Reason: hub.ReasonQuotaExceeded}, Waiting, quotaRetry, false},
		"an unknown hub reason": {&hub.Error{Reason: "New"}, Transient, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Reporter{Clock: clocktesting.NewFakePassiveClock(time.Now()), Retry: time.Minute, Server: &APIServer{}}
			out := Of(tt.err)
			result, err := r.Next(t.Context(), out, 38*time.Second)
			if out.Class != tt.class || (err != nil) != tt.backOff {
				t.Errorf("class %d, error %v, want class %d, error %t", out.Class, err, tt.class, tt.backOff)
			}
			if result.RequeueAfter < tt.after || result.RequeueAfter > 2*tt.after {
				t.Errorf("reconciled again after %s, want %s to twice that", result.RequeueAfter, tt.after)
			}
		})
	}
}
