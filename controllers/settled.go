package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// settled remembers which objects were brought into step, and for which
// declaration: they need no visit until that changes or their twin moves.
type settled struct {
	clock clock.PassiveClock

	mu    sync.Mutex
	marks map[types.UID]settlement
}

// settlement is what an object was brought into step with.
type settlement struct {
	declaration declaration
	// due is when it has to be visited all the same; zero means never.
	due time.Time
}

// declaration is all that a plan for a twin is made from, beside the twin.
type declaration struct {
	generation int64
	handled    string
	target     string
	owner      v1alpha1.OwnerTag
}

func newSettled(c clock.PassiveClock) *settled {
	return &settled{clock: c, marks: map[types.UID]settlement{}}
}

func declarationOf(obj *v1alpha1.DeviceTwin, found resolved) declaration {
	return declaration{
		generation: obj.Generation, handled: handled(obj), target: targetName(obj, found.session.Host()),
		owner: ptr.Deref(found.spec.OwnerTag, v1alpha1.OwnerTag{}),
	}
}

// holds tells whether an object needs no visit, as far as is known without asking
// the hub. What this process has not visited yet is taken from its status.
func (s *settled) holds(obj *v1alpha1.DeviceTwin, found resolved) bool {
	s.mu.Lock()
	mark, ok := s.marks[obj.UID]
	s.mu.Unlock()
	now := declarationOf(obj, found)
	if !ok {
		return saysSettled(obj, now)
	}
	return mark.declaration == now && (mark.due.IsZero() || s.clock.Now().Before(mark.due))
}

// saysSettled tells whether a status that an earlier process wrote says that the
// object is in step. Under another owner tag it is not; its twin's document tells.
func saysSettled(obj *v1alpha1.DeviceTwin, now declaration) bool {
	status := &obj.Status
	synced := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionSynced)
	return synced != nil && synced.Status == metav1.ConditionTrue && synced.ObservedGeneration == now.generation &&
		meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) &&
		status.Target == now.target && status.LastHandledReconcileAt == now.handled && status.ETag != ""
}

// note remembers that an object was brought into step; it returns when it is due, 0
// for never.
func (s *settled) note(obj *v1alpha1.DeviceTwin, found resolved, due time.Duration) {
	mark := settlement{declaration: declarationOf(obj, found)}
	if due > 0 {
		mark.due = s.clock.Now().Add(due)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks[obj.UID] = mark
}

// due is when an object has to be visited although nothing moves, 0 for never.
func (s *settled) due(uid types.UID) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := s.marks[uid].due
	if due.IsZero() {
		return 0
	}
	return max(due.Sub(s.clock.Now()), time.Second)
}

// undo has an object visited again.
func (s *settled) undo(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks[uid] = settlement{}
}

// forget drops an object that is gone.
func (s *settled) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.marks, uid)
}

// dueIn is when an object that is in step has to be visited although nothing moves:
// what it waits for comes with time. 0 means never.
func (r *deviceTwinReconciler) dueIn(obj *v1alpha1.DeviceTwin, found resolved, seen sight) time.Duration {
	var due time.Duration
	sooner := func(in time.Duration) {
		if in = max(in, time.Second); due == 0 || in < due {
			due = in
		}
	}
	if seen.unsettled {
		sooner(flightTime)
	}
	if message, _ := r.contention.contended(obj.UID); message != "" {
		sooner(found.spec.ReadBack.Interval.Duration)
	}
	if obj.Spec.Registration == v1alpha1.RegistrationCreate && obj.Spec.ConnectionSecretName != "" {
		sooner(found.spec.ReadBack.FullSweep()) // somebody may have taken the Secret away
	}
	if pending := seen.said.PendingSince; !pending.IsZero() {
		if deadline := pending.Add(obj.Spec.AcknowledgeTimeout.Duration); deadline.After(r.report.clock.Now()) {
			sooner(deadline.Sub(r.report.clock.Now()))
		}
	}
	return due
}
