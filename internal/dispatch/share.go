package dispatch

import (
	"context"
	"sync/atomic"
	"time"
)

// Share is what one party uses of a hub: its callers ask through it for permits, at the
// dispatcher that it is at. What goes wrong at the party's own end, and what it may use
// itself, stays in its share: no other share of the dispatcher notices. It is safe for
// concurrent use.
type Share struct {
	at atomic.Pointer[Dispatcher]

	// Guarded by the lock of the dispatcher that the share is at; at moves under the lock
	// of the one that is left.

	limits Limits
	// own rates hold beside those of the hub, unless the share rules it.
	own [classes]*bucket
	// waiting are the callers that wait for one operation each.
	waiting [classes]callers
	// trouble keeps requests back while the party's own end fails.
	trouble breaker
	// used are the day's messages of this share alone, and planner what follows from them.
	used    meter
	planner planner
}

// Share returns a new share of what the dispatcher hands out, which may use so much
// itself: that of a whole S1 hub where the limits are not set.
func (d *Dispatcher) Share(limits Limits) *Share {
	s := &Share{limits: limits.Or(S1())}
	rates, windows := s.limits.rates()
	now := d.clock.Now()
	for class := range s.own {
		s.own[class] = newBucket(rates[class], windows[class], now)
	}
	s.apply(now)
	s.at.Store(d)
	return s
}

// SetLimits changes how much the share may use. What is used already counts.
func (s *Share) SetLimits(limits Limits) {
	s.locked(func(d *Dispatcher, now time.Time) {
		s.limits = limits.Or(S1())
		s.apply(now)
		if d.ruler == s {
			d.limits = s.limits
			d.apply(now)
		}
	})
}

func (s *Share) apply(now time.Time) {
	rates, _ := s.limits.rates()
	for class, b := range s.own {
		b.fill(now)
		b.rate = rates[class]
		b.tokens = min(b.tokens, b.size())
	}
	s.used.limit, s.used.size = s.limits.DailyMessages, s.limits.MessageBytes
	s.used.startDay(now)
}

// Rule has the limits of a share at this dispatcher hold for all of them. The others
// stay within their own limits as well.
func (d *Dispatcher) Rule(s *Share) {
	d.locked(func(now time.Time) {
		if s.at.Load() != d {
			return
		}
		d.ruler, d.limits = s, s.limits
		d.meter.startDay(now)
		s.used.startDay(now)
		d.meter.before = s.used.before
		d.apply(now)
	})
}

// limited tells whether the share is held to its own limits beside those of the hub.
func (s *Share) limited(d *Dispatcher) bool { return d.ruler != nil && d.ruler != s }

// Succeed takes over what another share at the same dispatcher counts of the day: it
// goes on in its place.
func (s *Share) Succeed(other *Share) {
	s.locked(func(d *Dispatcher, _ time.Time) {
		if other != s && other.at.Load() == d {
			s.used, s.planner = other.used, other.planner
			s.used.limit, s.used.size = s.limits.DailyMessages, s.limits.MessageBytes
		}
	})
}

// locked does something at the dispatcher that the share is at.
func (s *Share) locked(do func(d *Dispatcher, now time.Time)) {
	for done := false; !done; {
		d := s.at.Load()
		d.locked(func(now time.Time) {
			if done = s.at.Load() == d; done {
				do(d, now)
			}
		})
	}
}

// Move takes the share to another dispatcher, with all who wait through it: they keep
// their order, and are woken from there. Permits that were not picked up are waited for
// again; those in use stay good, and are given back where they came from.
func (s *Share) Move(to *Dispatcher) {
	var waiting []*parked
	moved := false
	s.locked(func(from *Dispatcher, _ time.Time) {
		if moved = from != to; moved {
			waiting = from.depart(s)
			s.at.Store(to)
		}
	})
	if !moved {
		return
	}
	s.locked(func(d *Dispatcher, _ time.Time) {
		for _, p := range waiting {
			d.seq++
			d.queues[p.Kind].add(p.Request, d.seq)
		}
		for class := range s.waiting {
			d.join(Class(class), s)
		}
	})
}

// has tells whether the share itself has room for what is needed.
func (s *Share) has(d *Dispatcher, need Need, now time.Time) bool {
	return s.trouble.lets(now) && s.rest(d, need, now) == 0
}

// wait is how long it takes until the share itself has room.
func (s *Share) wait(d *Dispatcher, need Need, now time.Time) time.Duration {
	return max(s.trouble.wait(now), s.rest(d, need, now))
}

// rest is how long it takes by the share's own limits.
func (s *Share) rest(d *Dispatcher, need Need, now time.Time) (wait time.Duration) {
	if !s.limited(d) {
		return 0
	}
	for class, n := range need {
		if n > 0 {
			s.own[class].fill(now)
			wait = max(wait, s.own[class].wait(n, now))
		}
	}
	return wait
}

// affords tells whether the share has room for one more of its callers. One that tries
// was let through when it came.
func (s *Share) affords(d *Dispatcher, class Class, now time.Time) bool {
	return s.rest(d, one(class), now) == 0
}

func (s *Share) take(d *Dispatcher, need Need) {
	for class, n := range need {
		d.buckets[class].take(n)
		if s.limited(d) {
			s.own[class].take(n)
		}
	}
}

func (s *Share) refund(d *Dispatcher, need Need) {
	for class, n := range need {
		d.buckets[class].refund(n)
		if s.at.Load() == d && s.limited(d) {
			s.own[class].refund(n)
		}
	}
}

// lets tells whether both breakers let a holder of a permit, or of none, through; broken
// is why they do not.
func (s *Share) lets(d *Dispatcher, holder *Permit, now time.Time) (broken error) {
	switch {
	case !s.trouble.lets(now) && !s.trouble.triedBy(holder):
		return s.broken(now)
	case !d.breaker.lets(now) && !d.breaker.triedBy(holder):
		return d.broken(now)
	}
	return nil
}

// begun notes a permit or a caller that was let through.
func (s *Share) begun(d *Dispatcher, who any) {
	d.breaker.begun(who)
	s.trouble.begun(who)
}

// ended notes that a permit or a caller is through, whatever was heard of it.
func (s *Share) ended(d *Dispatcher, who any) {
	d.breaker.ended(who)
	if s.at.Load() == d {
		s.trouble.ended(who)
	}
}

// depart takes all off that waits through a share, the oldest first.
func (d *Dispatcher) depart(s *Share) []*parked {
	for _, g := range d.pending {
		if g.Share == s {
			d.revoke(g)
			d.queues[g.Kind].add(g.Request, g.seq)
		}
	}
	var waiting []*parked
	for kind := range d.queues {
		waiting = append(waiting, d.queues[kind].leave(s)...)
	}
	for class := range d.rings {
		d.part(Class(class), s)
	}
	if shareOf(d.breaker.trying) == s {
		d.breaker.trying = nil
	}
	s.trouble.trying = nil
	return waiting
}

// shareOf is the share of a permit or a caller that tries a breaker.
func shareOf(trying any) *Share {
	switch who := trying.(type) {
	case *Permit:
		return who.Share
	case *waiter:
		return who.share
	}
	return nil
}

// Forget drops a request that waits through the share, whose caller is gone.
func (s *Share) Forget(key string) {
	s.locked(func(d *Dispatcher, _ time.Time) { d.forget(key) })
}

// Acquire waits for a permit in the goroutine of its caller, until the context ends. It
// returns none, which is usable, at a hub that does not answer: to ask it says so at once.
func (s *Share) Acquire(ctx context.Context, request Request) (*Permit, error) {
	woken := make(chan struct{}, 1)
	request.Wake = func(int) {
		select {
		case woken <- struct{}{}:
		default:
		}
	}
	for {
		permit, ok := s.Admit(request)
		switch {
		case ok:
			return permit, nil
		case s.Broken():
			s.Forget(request.Key)
			return nil, nil
		}
		select {
		case <-woken:
		case <-ctx.Done():
			s.Forget(request.Key)
			return nil, ctx.Err()
		}
	}
}
