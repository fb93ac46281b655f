package controllers

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/claim"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/registration"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
)

// settled remembers which objects were brought into step, and for which
// declaration: they need no visit until that changes or their twin moves.
type settled struct {
	clock clock.PassiveClock
	seed  maphash.Seed

	mu    sync.Mutex
	marks map[types.NamespacedName]settlement
}

// settlement is what an object was brought into step with: the hash of a declaration, as
// there is one for each object; 0 for none.
type settlement struct {
	uid         types.UID
	declaration uint64
	// recorded tells that the object had an ownership record.
	recorded bool
	visits
}

// visits are when an object has to be looked at although nothing moves; zero is never.
type visits struct {
	// ask is when the hub has to be asked, reread when a document of its index will do.
	ask, reread time.Time
	// secret is when to look whether the Secret of a registered device is there.
	secret time.Time
}

// next is the sooner of them that is still to come.
func (v visits) next(now time.Time) time.Duration {
	var next time.Duration
	for _, at := range []time.Time{v.ask, v.reread, v.secret} {
		if in := at.Sub(now); in > 0 && (next == 0 || in < next) {
			next = in
		}
	}
	return next
}

// declaration is all that a plan for a twin is made from, beside the twin.
type declaration struct {
	generation int64
	handled    string
	target     string
	owner      v1alpha1.OwnerTag
}

func newSettled(c clock.PassiveClock) *settled {
	return &settled{clock: c, seed: maphash.MakeSeed(), marks: map[types.NamespacedName]settlement{}}
}

func (s *settled) hash(d declaration) uint64 { return max(1, maphash.Comparable(s.seed, d)) }

func declarationOf(obj *v1alpha1.DeviceTwin, found hubaccess.Hub) declaration {
	return declaration{
		generation: obj.Generation, handled: outcome.Handled(obj), target: fieldindex.TargetName(obj, found.Session.Host()),
		owner: ptr.Deref(found.Spec.OwnerTag, v1alpha1.OwnerTag{}),
	}
}

// holds tells whether an object needs no visit, as far as is known without asking
// the hub. What this process has not visited yet is taken from its status.
func (s *settled) holds(obj *v1alpha1.DeviceTwin, found hubaccess.Hub) bool {
	mark, ok := s.mark(obj)
	now := declarationOf(obj, found)
	if !ok {
		return saysSettled(obj, now)
	}
	return mark.declaration == s.hash(now) && !mark.lost(obj) && (mark.ask.IsZero() || s.clock.Now().Before(mark.ask))
}

// saysSettled tells whether a status that an earlier process wrote says that the
// object is in step. Under another owner tag it is not; its twin's document tells.
func saysSettled(obj *v1alpha1.DeviceTwin, now declaration) bool {
	status := &obj.Status
	synced := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionSynced)
	return synced != nil && synced.Status == metav1.ConditionTrue && synced.ObservedGeneration == now.generation &&
		meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) &&
		(status.Target == now.target || status.Target == "" && !claim.Wanted(obj)) && status.LastHandledReconcileAt == now.handled && status.ETag != ""
}

// note remembers that an object was brought into step, and when it has to be looked at
// again.
func (s *settled) note(obj *v1alpha1.DeviceTwin, found hubaccess.Hub, again visits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks[client.ObjectKeyFromObject(obj)] = settlement{uid: obj.UID, declaration: s.hash(declarationOf(obj, found)), recorded: obj.Status.Record != "", visits: again}
}

// mark is what is remembered of an object: nothing of a namesake that it replaced.
func (s *settled) mark(obj *v1alpha1.DeviceTwin) (settlement, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mark, ok := s.marks[client.ObjectKeyFromObject(obj)]
	if !ok || mark.uid != obj.UID {
		return settlement{}, false
	}
	return mark, true
}

// due is when an object has to be visited although nothing moves, 0 for never.
func (s *settled) due(obj *v1alpha1.DeviceTwin) time.Duration {
	mark, _ := s.mark(obj)
	return mark.next(s.clock.Now())
}

// stale tells whether a document of the twin has to be read again although it has not
// moved.
func (s *settled) stale(obj *v1alpha1.DeviceTwin) bool {
	mark, _ := s.mark(obj)
	return !mark.reread.IsZero() && !s.clock.Now().Before(mark.reread)
}

// secretDue tells whether it is time to look for the Secret of a registered device.
func (s *settled) secretDue(obj *v1alpha1.DeviceTwin) bool {
	mark, _ := s.mark(obj)
	return !mark.secret.IsZero() && !s.clock.Now().Before(mark.secret)
}

// secretSeen notes that the Secret is there, and when to look again.
func (s *settled) secretSeen(obj *v1alpha1.DeviceTwin, again time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := client.ObjectKeyFromObject(obj)
	if mark, ok := s.marks[name]; ok && mark.uid == obj.UID {
		mark.secret = s.clock.Now().Add(again)
		s.marks[name] = mark
	}
}

// undo has an object visited again.
func (s *settled) undo(obj *v1alpha1.DeviceTwin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := client.ObjectKeyFromObject(obj)
	s.marks[name] = settlement{uid: obj.UID, recorded: s.marks[name].recorded && s.marks[name].uid == obj.UID}
}

// of is the UID of the object of a name that was visited last, "" for none.
func (s *settled) of(name types.NamespacedName) types.UID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marks[name].uid
}

// recordTold notes that it was told of an object that its record is gone.
func (s *settled) recordTold(obj *v1alpha1.DeviceTwin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := client.ObjectKeyFromObject(obj)
	if mark, ok := s.marks[name]; ok && mark.uid == obj.UID {
		mark.recorded = obj.Status.Record != ""
		s.marks[name] = mark
	}
}

// lostRecord tells whether an object that had an ownership record has none.
func (s *settled) lostRecord(obj *v1alpha1.DeviceTwin) bool {
	mark, _ := s.mark(obj)
	return mark.lost(obj)
}

func (m settlement) lost(obj *v1alpha1.DeviceTwin) bool { return m.recorded && obj.Status.Record == "" }

// forget drops an object that is gone.
func (s *settled) forget(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.marks, name)
}

// visitsOf are when an object that is in step has to be looked at although nothing
// moves: what it waits for comes with time.
func (r *deviceTwinReconciler) visitsOf(obj *v1alpha1.DeviceTwin, found hubaccess.Hub, seen observation) visits {
	var again visits
	now := r.report.Clock.Now()
	ask := func(in time.Duration) {
		if at := now.Add(max(in, time.Second)); again.ask.IsZero() || at.Before(again.ask) {
			again.ask = at
		}
	}
	if seen.Unsettled {
		ask(twinsync.InFlightTime)
	}
	if r.known(obj) == nil {
		ask(found.Spec.ReadBack.FullSweep()) // another object is told when the twin moves
	}
	if r.contention.Of(obj.UID).Leaves != "" {
		ask(found.Spec.ReadBack.Interval.Duration)
	}
	if registration.KeepsSecret(obj) {
		again.secret = now.Add(found.Spec.ReadBack.FullSweep())
	}
	// A device that reports no settings is never late.
	if pending := seen.said.PendingSince; !pending.IsZero() && seen.said.Spoken > 0 {
		if deadline := pending.Add(obj.Spec.AcknowledgeTimeout.Duration); deadline.After(now) {
			again.reread = deadline.Add(time.Second)
		}
	}
	return again
}

// secretGone tells whether the Secret of an object that is in step has to be made again.
// It is looked for now and then, at the API server: the hub is asked only when it is gone.
func (r *deviceTwinReconciler) secretGone(ctx context.Context, stored *outcome.Stored, found hubaccess.Hub) (bool, error) {
	if !registration.KeepsSecret(stored.Obj) || !r.settled.secretDue(stored.Obj) {
		return false, nil
	}
	if gone, err := r.registrar(stored, found.Session).SecretGone(ctx); gone || err != nil {
		return true, err
	}
	r.settled.secretSeen(stored.Obj, found.Spec.ReadBack.FullSweep())
	return false, nil
}
