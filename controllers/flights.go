package controllers

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// flightTime is how long a write may be on its way whose answer was lost: IoT Hub
// queues a throttled request for up to a minute before it is applied or refused;
// twice that leaves room for the network and for clocks.
const flightTime = 2 * time.Minute

// flights remembers which objects may have a write on its way to the hub. What a
// manager before this one sent may be on its way too, for a while after this one began
// to act as the leader. That is at its first visit: it may have stood by for long.
type flights struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	leading time.Time // since when, zero before
	unknown map[types.UID]time.Time
}

func newFlights(c clock.PassiveClock) *flights {
	return &flights{clock: c, unknown: map[types.UID]time.Time{}}
}

// lost notes that a write was sent and its answer was not seen.
func (f *flights) lost(uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.unknown, func(_ types.UID, at time.Time) bool { return f.over(at) })
	f.unknown[uid] = f.clock.Now()
}

// known tells whether every write of this process for the object was answered.
// It counts right after such an answer: the etag has moved, so that a write of an
// earlier process, made on the condition of an older etag, is refused.
func (f *flights) known(uid types.UID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.unknown[uid]
	return !ok || f.over(at)
}

// landed tells whether nothing written for the object, by any process, can still
// arrive at the hub.
func (f *flights) landed(uid types.UID) bool {
	return f.over(f.since()) && f.known(uid)
}

// since is when this manager began to act.
func (f *flights) since() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leading.IsZero() {
		f.leading = f.clock.Now()
	}
	return f.leading
}

// forget drops an object that is gone.
func (f *flights) forget(uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.unknown, uid)
}

func (f *flights) over(since time.Time) bool { return f.clock.Since(since) > flightTime }
