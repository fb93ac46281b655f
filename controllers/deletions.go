package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// deletions count for how long each deleted object could not be cleaned up behind,
// the time aside in which it waited for a permit at a hub that answers. A manager that
// has just started counts anew.
type deletions struct {
	clock   clock.PassiveClock
	timeout time.Duration

	mu    sync.Mutex
	known map[types.NamespacedName]deletion
}

// deletion is what an object has spent of its time until it was reconciled last.
type deletion struct {
	uid   types.UID
	spent time.Duration
	last  time.Time
	// counts tells that the time since then counts.
	counts bool
	// over tells that the finalizer was removed: the cache may show it for a while.
	over bool
}

func newDeletions(c clock.PassiveClock, timeout time.Duration) *deletions {
	return &deletions{clock: c, timeout: timeout, known: map[types.NamespacedName]deletion{}}
}

// of has to be called with the lock held.
func (d *deletions) of(obj client.Object) deletion {
	if known := d.known[client.ObjectKeyFromObject(obj)]; known.uid == obj.GetUID() {
		return known
	}
	return deletion{uid: obj.GetUID()}
}

// remaining is how long an object may still wait. queued tells that it waits for a
// permit alone from now on.
func (d *deletions) remaining(obj client.Object, queued bool) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, known := d.clock.Now(), d.of(obj)
	if known.counts {
		known.spent += now.Sub(known.last)
	}
	known.last, known.counts = now, !queued
	d.known[client.ObjectKeyFromObject(obj)] = known
	return d.timeout - known.spent
}

// end notes that an object's finalizer was removed.
func (d *deletions) end(obj client.Object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known[client.ObjectKeyFromObject(obj)] = deletion{uid: obj.GetUID(), over: true}
}

// over tells whether an object's finalizer was removed.
func (d *deletions) over(obj client.Object) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.of(obj).over
}

// Forget drops an object that is gone.
func (d *deletions) Forget(name types.NamespacedName, _ types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.known, name)
}
