package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// editTimes remember when the user created or edited objects whose change is not at the hub
// yet.
type editTimes struct {
	clock clock.PassiveClock

	mu sync.Mutex
	at map[types.NamespacedName]time.Time
}

func newEditTimes(c clock.PassiveClock) *editTimes {
	return &editTimes{clock: c, at: map[types.NamespacedName]time.Time{}}
}

// note notes an edit. Of several that go to the hub together the first one counts.
func (e *editTimes) note(name types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, waits := e.at[name]; !waits {
		e.at[name] = e.clock.Now()
	}
}

// take ends the wait of an edit that a reconcile which began then has seen, and tells how long it was:
// false where there is none. One that came later is for the next reconcile.
func (e *editTimes) take(name types.NamespacedName, began time.Time) (waited time.Duration, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, ok := e.at[name]
	if !ok || at.After(began) {
		return 0, false
	}
	delete(e.at, name)
	return e.clock.Since(at), true
}

// Forget drops an object that is gone.
func (e *editTimes) Forget(name types.NamespacedName, _ types.UID) { e.take(name, e.clock.Now()) }
