package setsync

import (
	"time"

	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
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
	if now.Sub(known.last) > twinsync.ContendedWithin {
		known.times = 0
	}
	p.restored.Add(device, restoration{times: known.times + 1, last: now})
}

// postponed tells of the leaves of a device whether they are left for now, since another writer keeps
// changing them.
func (r *run) postponed(device string) func(twin.Path) bool {
	found, _ := r.restored.Get(device)
	known, _ := found.(restoration)
	// A device counts the restorations of all its leaves, so that one more is answered at once.
	backoff := twinsync.Backoff(known.times - 1)
	if backoff == 0 {
		return nil
	}
	waits := r.Clock.Since(known.last) < backoff
	return func(twin.Path) bool { return waits }
}
