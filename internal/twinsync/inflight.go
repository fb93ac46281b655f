package twinsync

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// InFlightTime is how long a write may be on its way whose answer was lost: IoT Hub
// queues a throttled request for up to a minute before it is applied or refused;
// twice that leaves room for the network and for clocks.
const InFlightTime = 2 * time.Minute

// InFlight remembers which objects may have a write on its way to the hub. What a
// manager before this one sent may be on its way too, for a while after this one began
// to act as the leader. That is at its first reconcile: it may have stood by for long.
type InFlight struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	leading time.Time // since when, zero before
	unknown map[types.UID]time.Time
}

// NewInFlight returns a memory of no write.
func NewInFlight(c clock.PassiveClock) *InFlight {
	return &InFlight{clock: c, unknown: map[types.UID]time.Time{}}
}

// Lost notes that a write was sent and its answer was not seen.
func (f *InFlight) Lost(uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.unknown, func(_ types.UID, at time.Time) bool { return f.over(at) })
	f.unknown[uid] = f.clock.Now()
}

// Answered tells whether every write of this process for the object was answered.
// It counts right after such an answer: the etag has moved, so that a write of an
// earlier process, made on the condition of an older etag, is refused.
func (f *InFlight) Answered(uid types.UID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.unknown[uid]
	return !ok || f.over(at)
}

// Landed tells whether nothing written for the object, by any process, can still
// arrive at the hub.
func (f *InFlight) Landed(uid types.UID) bool {
	return f.over(f.Since()) && f.Answered(uid)
}

// Since is when this manager began to act.
func (f *InFlight) Since() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leading.IsZero() {
		f.leading = f.clock.Now()
	}
	return f.leading
}

// Forget drops an object that is gone.
func (f *InFlight) Forget(_ types.NamespacedName, uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.unknown, uid)
}

func (f *InFlight) over(since time.Time) bool { return f.clock.Since(since) > InFlightTime }

// Await is an error until nothing of an object can arrive at the hub any more, unless nothing
// was sent.
func (f *InFlight) Await(obj *v1alpha1.DeviceTwin, nothingSent bool) error {
	if nothingSent || f.Landed(obj.UID) {
		return nil
	}
	return outcome.Wait(v1alpha1.ReasonDeleting, "an earlier write may still be on its way to the hub, which queues them for up to a minute")
}
