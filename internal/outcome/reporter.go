package outcome

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
)

// action is what the controller was doing, for the field of that name in events.k8s.io.
const action = "Reconcile"

// IntervalJitter spreads the reconciles of a fleet that was applied at once.
const IntervalJitter = 0.05

// throttleJitter spreads the retries after the hub asked to slow down.
const throttleJitter = 0.5

// Reporter translates outcomes into conditions, events and the time of the next reconcile.
type Reporter struct {
	Clock clock.PassiveClock
	// Recorder takes the events.
	Recorder events.EventRecorder
	// Retry is the pace at which a stalled or waiting object is reconciled again.
	Retry time.Duration
	// Server is where statuses are written.
	Server *APIServer
}

// Object is a kind of this API.
type Object interface {
	client.Object
	GetConditions() *[]metav1.Condition
}

// SetConditions sets Ready, Reconciling and Stalled to what an outcome means.
func (r Reporter) SetConditions(obj Object, out Outcome) {
	ready := metav1.ConditionFalse
	switch out.Class {
	case Succeeded:
		ready = metav1.ConditionTrue
	case Suspended:
		ready = metav1.ConditionUnknown
	case Waiting, Transient, Stalled, Unseen, Parked:
	}
	r.SetCondition(obj, v1alpha1.ConditionReady, ready, out)
	r.SetIfTrue(obj, v1alpha1.ConditionReconciling, out.Class == Waiting || out.Class == Transient, out)
	r.SetIfTrue(obj, v1alpha1.ConditionStalled, out.Class == Stalled, out)
}

// SetIfTrue keeps a condition that is present only while true.
func (r Reporter) SetIfTrue(obj Object, condition string, holds bool, out Outcome) {
	if !holds {
		meta.RemoveStatusCondition(obj.GetConditions(), condition)
		return
	}
	r.SetCondition(obj, condition, metav1.ConditionTrue, out)
}

// SetCondition sets a condition to an outcome's reason and message.
func (r Reporter) SetCondition(obj Object, condition string, status metav1.ConditionStatus, out Outcome) {
	meta.SetStatusCondition(obj.GetConditions(), metav1.Condition{
		Type:               condition,
		Status:             status,
		Reason:             out.Reason,
		Message:            Bounded(out.Message),
		ObservedGeneration: obj.GetGeneration(),
		LastTransitionTime: metav1.NewTime(r.Clock.Now()),
	})
}

// announce records an event when Ready came to mean something else. An object that is
// Ready with its first reconcile says so by its condition alone: for a fleet that is applied
// at once, events would be a third of all writes to the API server.
func (r Reporter) announce(before, after Object) {
	was := meta.FindStatusCondition(*before.GetConditions(), v1alpha1.ConditionReady)
	is := meta.FindStatusCondition(*after.GetConditions(), v1alpha1.ConditionReady)
	switch {
	case is == nil, was == nil && is.Status == metav1.ConditionTrue:
		return
	case was != nil && was.Status == is.Status && was.Reason == is.Reason && !anotherConflict(was, is):
		return
	}
	kind := corev1.EventTypeWarning
	if is.Status != metav1.ConditionFalse {
		kind = corev1.EventTypeNormal
	}
	r.Event(after, kind, is.Reason, is.Message)
}

// anotherConflict tells whether other leaves are in conflict than before, or other
// values.
func anotherConflict(was, is *metav1.Condition) bool {
	return is.Reason == v1alpha1.ReasonConflict && was.Message != is.Message
}

// Event records an event on an object; kind is that of core/v1, Normal or Warning.
func (r Reporter) Event(obj Object, kind, reason, note string) {
	r.Recorder.Eventf(obj, nil, kind, reason, action, "%s", Bounded(note))
}

// EventFor records an event on an object that is about another one. Events with one
// reason on one version of an object are counted together, with the first one's
// note, unless they are about different objects.
func (r Reporter) EventFor(obj, about Object, kind, reason, note string) {
	r.Recorder.Eventf(obj, about, kind, reason, action, "%s", Bounded(note))
}

// Next says when to reconcile the object again, and names a priority in any case. An error
// goes to the queue's back-off.
func (r Reporter) Next(ctx context.Context, out Outcome, interval time.Duration) (ctrl.Result, error) {
	after := time.Duration(0)
	priority := trigger.News
	switch out.Class {
	case Succeeded:
		after, priority = wait.Jitter(interval, IntervalJitter), trigger.ReadBack
	case Suspended, Parked:
	case Unseen:
		if out.RetryAfter == 0 {
			return ctrl.Result{Priority: ptr.To(priority)}, out.Err
		}
		after = out.RetryAfter
	case Transient:
		if out.Effects().Contended {
			priority = trigger.Conflict
		}
		if out.RetryAfter == 0 {
			return ctrl.Result{Priority: ptr.To(priority)}, out.Err
		}
		after = wait.Jitter(out.RetryAfter, throttleJitter)
	default:
		log.FromContext(ctx).V(1).Info("not ready", "reason", out.Reason, "message", out.Message)
		after = wait.Jitter(max(out.RetryAfter, r.Retry), IntervalJitter)
	}
	return ctrl.Result{RequeueAfter: after, Priority: ptr.To(priority)}, nil
}
