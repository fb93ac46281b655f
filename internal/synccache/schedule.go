package synccache

import (
	"time"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// Schedule is when an object that is in step has to be reconciled although nothing moves; a
// zero time is never.
type Schedule struct {
	// Ask is when the hub has to be asked, Reread when a document of its index will do.
	Ask, Reread time.Time
	// Secret is when to check that the Secret of a registered device exists.
	Secret time.Time
}

// AskAt has the hub asked at a time, or sooner if that is scheduled already.
func (s *Schedule) AskAt(at time.Time) {
	if s.Ask.IsZero() || at.Before(s.Ask) {
		s.Ask = at
	}
}

// next is how long it is to the soonest of them that is still to come, 0 if none is.
func (s Schedule) next(now time.Time) time.Duration {
	var next time.Duration
	for _, at := range []time.Time{s.Ask, s.Reread, s.Secret} {
		if in := at.Sub(now); in > 0 && (next == 0 || in < next) {
			next = in
		}
	}
	return next
}

// Due is when an object has to be reconciled although nothing moves, 0 for never.
func (c *Cache) Due(obj *v1alpha1.DeviceTwin) time.Duration {
	known, _ := c.entry(obj)
	return known.schedule.next(c.clock.Now())
}

// RereadDue tells whether a document of the twin has to be read again although it has not
// moved.
func (c *Cache) RereadDue(obj *v1alpha1.DeviceTwin) bool {
	known, _ := c.entry(obj)
	return c.due(known.schedule.Reread)
}

// SecretDue tells whether it is time to check that the Secret of a registered device exists.
func (c *Cache) SecretDue(obj *v1alpha1.DeviceTwin) bool {
	known, _ := c.entry(obj)
	return c.due(known.schedule.Secret)
}

// SecretExists notes that the Secret exists, and in what time to check that again.
func (c *Cache) SecretExists(obj *v1alpha1.DeviceTwin, again time.Duration) {
	c.update(obj, func(e *entry) { e.schedule.Secret = c.clock.Now().Add(again) })
}

func (c *Cache) due(at time.Time) bool { return !at.IsZero() && !c.clock.Now().Before(at) }
