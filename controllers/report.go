package controllers

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

// action is what the controller was doing, as events.k8s.io wants it told.
const action = "Reconcile"

// intervalJitter spreads the visits to a fleet that was applied at once.
const intervalJitter = 0.05

// throttleJitter spreads the retries after the hub asked to slow down.
const throttleJitter = 0.5

// reporter turns outcomes into conditions, events and the time of the next visit.
type reporter struct {
	clock    clock.PassiveClock
	recorder events.EventRecorder
	// retry is the pace at which a stalled or waiting object is looked at again.
	retry time.Duration
	// server is where statuses are written.
	server *apiServer
}

// object is a kind of this API.
type object interface {
	client.Object
	GetConditions() *[]metav1.Condition
}

// conditions sets Ready, Reconciling and Stalled to what an outcome means.
func (r reporter) conditions(obj object, out outcome) {
	ready := metav1.ConditionFalse
	switch out.class {
	case succeeded:
		ready = metav1.ConditionTrue
	case suspended:
		ready = metav1.ConditionUnknown
	}
	r.set(obj, v1alpha1.ConditionReady, ready, out)
	r.while(obj, v1alpha1.ConditionReconciling, out.class == waiting || out.class == transient, out)
	r.while(obj, v1alpha1.ConditionStalled, out.class == stalled, out)
}

// while keeps a condition that is present only while true.
func (r reporter) while(obj object, condition string, holds bool, out outcome) {
	if !holds {
		meta.RemoveStatusCondition(obj.GetConditions(), condition)
		return
	}
	r.set(obj, condition, metav1.ConditionTrue, out)
}

func (r reporter) set(obj object, condition string, status metav1.ConditionStatus, out outcome) {
	meta.SetStatusCondition(obj.GetConditions(), metav1.Condition{
		Type:               condition,
		Status:             status,
		Reason:             out.reason,
		Message:            bounded(out.message),
		ObservedGeneration: obj.GetGeneration(),
		LastTransitionTime: metav1.NewTime(r.clock.Now()),
	})
}

// announce records an event when Ready came to mean something else. An object that is
// Ready with its first visit says so by its condition alone: for a fleet that is applied
// at once, events would be a third of all writes to the API server.
func (r reporter) announce(before, after object) {
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
	r.event(after, kind, is.Reason, is.Message)
}

// anotherConflict tells whether other leaves are in conflict than before, or other
// values.
func anotherConflict(was, is *metav1.Condition) bool {
	return is.Reason == v1alpha1.ReasonConflict && was.Message != is.Message
}

func (r reporter) event(obj object, kind, reason, note string) {
	r.recorder.Eventf(obj, nil, kind, reason, action, "%s", bounded(note))
}

// eventFor records an event on an object that is about another one. Events with one
// reason on one version of an object are counted together, with the first one's
// note, unless they are about different objects.
func (r reporter) eventFor(obj, about object, kind, reason, note string) {
	r.recorder.Eventf(obj, about, kind, reason, action, "%s", bounded(note))
}

// next says when to visit the object again, and names a priority in any case. An error
// goes to the queue's back-off.
func (r reporter) next(ctx context.Context, out outcome, interval time.Duration) (ctrl.Result, error) {
	after := time.Duration(0)
	priority := trigger.News
	switch out.class {
	case succeeded:
		after, priority = wait.Jitter(interval, intervalJitter), trigger.ReadBack
	case suspended, parked:
	case unseen:
		if out.retryAfter == 0 {
			return ctrl.Result{Priority: ptr.To(priority)}, out.err
		}
		after = out.retryAfter
	case transient:
		if out.reason == v1alpha1.ReasonContended {
			priority = trigger.Conflict
		}
		if out.retryAfter == 0 {
			return ctrl.Result{Priority: ptr.To(priority)}, out.err
		}
		after = wait.Jitter(out.retryAfter, throttleJitter)
	default:
		log.FromContext(ctx).V(1).Info("not ready", "reason", out.reason, "message", out.message)
		after = wait.Jitter(max(out.retryAfter, r.retry), intervalJitter)
	}
	return ctrl.Result{RequeueAfter: after, Priority: ptr.To(priority)}, nil
}
