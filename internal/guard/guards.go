package guard

import (
	"fmt"
	"maps"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// guardWindow is the time over which changed twins are counted.
const guardWindow = time.Hour

// Guards count the twins of each hub that were changed, and stop all changes of a hub when
// there are too many. They are safe for concurrent use.
type Guards struct {
	clock clock.PassiveClock
	// tripped is called for HubConnections whose status needs an update.
	tripped func(types.NamespacedName)

	mu    sync.Mutex
	fuses map[types.NamespacedName]*fuse
}

// fuse is the guard of one HubConnection.
type fuse struct {
	limit     int32 // 0 means no guard
	changed   map[types.UID]time.Time
	waiting   map[types.UID]struct{}
	trippedAt time.Time
	// trippedBy is the limit that was reached: another one means that the
	// user has intervened.
	trippedBy int32
	reset     string
}

// New returns guards that know no hub. tripped must not block.
func New(c clock.PassiveClock, tripped func(types.NamespacedName)) *Guards {
	return &Guards{clock: c, tripped: tripped, fuses: map[types.NamespacedName]*fuse{}}
}

// Configure takes over what a HubConnection says of its guard, and returns its
// state. What an earlier process wrote into the status counts: a restart lets
// nothing through. news reports that changes which had to wait may go on.
func (g *Guards) Configure(conn *v1alpha1.HubConnection, key types.NamespacedName) (state *v1alpha1.GuardStatus, news bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.fuses[key]
	if f == nil {
		f = restoredFuse(conn.Status.Guard)
		g.fuses[key] = f
	}
	f.limit = 0
	if conn.Spec.Guard != nil {
		f.limit = conn.Spec.Guard.MaxChangesPerHour
	}
	asked := outcome.Request(conn, v1alpha1.GuardResetAnnotation)
	reset := asked != "" && asked != f.reset
	if reset {
		f.reset = asked // one that is taken off again asks for nothing
	}
	if !f.trippedAt.IsZero() && (reset || f.limit != f.trippedBy) {
		f.trippedAt, f.changed, f.waiting = time.Time{}, map[types.UID]time.Time{}, map[types.UID]struct{}{}
		news = true
	}
	return f.status(), news
}

func restoredFuse(status *v1alpha1.GuardStatus) *fuse {
	f := &fuse{changed: map[types.UID]time.Time{}, waiting: map[types.UID]struct{}{}}
	if status == nil {
		return f
	}
	f.reset = status.LastHandledReset
	if status.TrippedAt != nil {
		f.trippedAt, f.trippedBy = status.TrippedAt.Time, status.Limit
	}
	return f
}

func (f *fuse) status() *v1alpha1.GuardStatus {
	if f.limit == 0 && f.reset == "" {
		return nil
	}
	state := &v1alpha1.GuardStatus{LastHandledReset: f.reset}
	if !f.trippedAt.IsZero() {
		state.TrippedAt = ptr.To(metav1.NewTime(f.trippedAt))
		state.Limit, state.Waiting = f.trippedBy, int32(min(len(f.waiting), 1<<30))
	}
	return state
}

// Admit returns an error unless a twin may be changed now; otherwise it counts as changed. by is
// the object that wants it, and waits otherwise: of a set the twins are counted, and one that waits.
func (g *Guards) Admit(key types.NamespacedName, twin, by types.UID) error {
	g.mu.Lock()
	f := g.fuses[key]
	if f == nil || f.limit == 0 {
		g.mu.Unlock()
		return nil
	}
	news := f.admit(twin, by, g.clock.Now())
	stopped, limit := !f.trippedAt.IsZero(), f.trippedBy
	g.mu.Unlock()
	if news {
		g.tripped(key)
	}
	if !stopped {
		return nil
	}
	return outcome.Differ(outcome.Waiting, v1alpha1.ReasonHubPaused, fmt.Sprintf(
		"HubConnection %s is paused: %d twins were changed within an hour, as many as its guard allows. Its owner can have the changes go on; see its condition Paused",
		key, limit))
}

// admit notes that a twin is changed, or that it waits; news reports that the guard
// tripped just now.
func (f *fuse) admit(twin, by types.UID, now time.Time) (news bool) {
	maps.DeleteFunc(f.changed, func(_ types.UID, at time.Time) bool { return now.Sub(at) >= guardWindow })
	_, again := f.changed[twin]
	if f.trippedAt.IsZero() && !again && len(f.changed) >= int(f.limit) {
		f.trippedAt, f.trippedBy, news = now.Truncate(time.Second), f.limit, true
	}
	if f.trippedAt.IsZero() {
		f.changed[twin] = now
	} else {
		f.waiting[by] = struct{}{}
	}
	return news
}

// Settled notes that an object needs no change any more.
func (g *Guards) Settled(key types.NamespacedName, uid types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.fuses[key]; f != nil {
		delete(f.waiting, uid)
	}
}

// Forget drops an object that is gone.
func (g *Guards) Forget(_ types.NamespacedName, uid types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.fuses {
		delete(f.waiting, uid)
	}
}

// ForgetHub drops a HubConnection that is gone.
func (g *Guards) ForgetHub(key types.NamespacedName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.fuses, key)
}
