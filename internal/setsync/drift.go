package setsync

import (
	"time"

	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

const (
	// contendedAfter and contendedWithin are when a device that another writer keeps changing
	// is restored no more at once, and maxContention is the longest wait, as for a DeviceTwin.
	contendedAfter  = 3
	contendedWithin = time.Hour
	minContention   = time.Minute
	maxContention   = time.Hour
)

// restoration is how often a device was restored, and when last.
type restoration struct {
	times int
	last  time.Time
}

// restore notes that a device was restored. The lock is held.
func (p *progress) restore(device string) {
	now := p.recent.clock.Now()
	found, _ := p.restored.Get(device)
	known, _ := found.(restoration)
	if now.Sub(known.last) > contendedWithin {
		known.times = 0
	}
	p.restored.Add(device, restoration{times: known.times + 1, last: now})
}

// postponed tells of the leaves of a device whether they are left for now, since another writer keeps
// changing them.
func (r *run) postponed(device string) func(twin.Path) bool {
	found, _ := r.restored.Get(device)
	known, _ := found.(restoration)
	if known.times < contendedAfter {
		return nil
	}
	wait := min(minContention<<min(known.times-contendedAfter, 10), maxContention)
	waits := r.Clock.Since(known.last) < wait
	return func(twin.Path) bool { return waits }
}
