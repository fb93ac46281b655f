package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// deletions count for how long each deleted object could not be cleaned up behind,
// the time aside in which it waited for its turn at a hub that answers. A manager that
// has just started counts anew.
type deletions struct {
	clock   clock.PassiveClock
	timeout time.Duration

	mu    sync.Mutex
	spent map[types.UID]deletion
}

// deletion is what an object has spent of its time until it was looked at last.
type deletion struct {
	spent time.Duration
	last  time.Time
	// counts tells that the time since then counts.
	counts bool
}

func newDeletions(c clock.PassiveClock, timeout time.Duration) *deletions {
	return &deletions{clock: c, timeout: timeout, spent: map[types.UID]deletion{}}
}

// remaining is how long an object may still wait. turn tells that it waits for its
// turn alone from now on.
func (d *deletions) remaining(uid types.UID, turn bool) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	known := d.spent[uid]
	if known.counts {
		known.spent += now.Sub(known.last)
	}
	known.last, known.counts = now, !turn
	d.spent[uid] = known
	return d.timeout - known.spent
}

// forget drops an object that is gone.
func (d *deletions) forget(uid types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.spent, uid)
}
