package dispatch

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// NoRoomError says that there is no operation to be had before a call's deadline.
type NoRoomError struct {
	Class Class
	// RetryAfter is how long it would have taken.
	RetryAfter time.Duration
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("our own rate limit for %s of this hub has no room before the call's deadline", e.Class)
}

// BrokenError says that the hub has not answered lately, and is tried by others.
type BrokenError struct {
	// Own tells that it is the caller's own end that fails, rather than the hub.
	Own bool
	// Last failure of the hub; nil when it was not told.
	Last error
	// RetryAfter is when the hub may be tried again.
	RetryAfter time.Duration
}

func (e *BrokenError) Error() string { return "the hub has not answered lately" }

// Unwrap returns the last failure.
func (e *BrokenError) Unwrap() error { return e.Last }

// line is what those have in common who wait for their turn one behind the other.
type line int

const (
	// urgent: what moved at the hub.
	urgent line = iota
	// asked: what a person waits for.
	asked
	// background: all else.
	background
	lines
)

// waiter is a caller that waits for one operation.
type waiter struct {
	share  *Share
	served chan struct{}
	line   line
	// refused is why it may not go on after all, once served is closed.
	refused error
}

// callers wait for operations of one class, each with a worker.
type callers struct {
	waiting [lines][]*waiter
	// wasUrgent tells that the last one to go on was, and wasAsked that the last one was
	// that was not urgent.
	wasUrgent, wasAsked bool
}

func (c *callers) len() (n int) {
	for _, own := range c.waiting {
		n += len(own)
	}
	return n
}

// ahead is how many of those who wait go on before one that joins a line.
func (c *callers) ahead(of line) int {
	own := len(c.waiting[of])
	if of == urgent {
		return own + min(c.len()-own, own+1)
	}
	others := c.len() - len(c.waiting[urgent]) - own
	ahead := own + min(others, own+1)
	return ahead + min(len(c.waiting[urgent]), ahead+1)
}

// next takes the one that goes on: alternately one that is urgent and one that is not, and of
// those alternately one that is asked for and one that is not, so that no line waits for all of another.
func (c *callers) next() *waiter {
	of := c.turn()
	w := c.waiting[of][0]
	c.waiting[of] = c.waiting[of][1:]
	c.wasUrgent = of == urgent
	if !c.wasUrgent {
		c.wasAsked = of == asked
	}
	return w
}

// turn is the line that is next, of those in which one waits.
func (c *callers) turn() line {
	waits := func(of line) bool { return len(c.waiting[of]) > 0 }
	switch {
	case waits(urgent) && (!c.wasUrgent || !waits(asked) && !waits(background)):
		return urgent
	case waits(asked) && (!c.wasAsked || !waits(background)):
		return asked
	}
	return background
}

// leave takes one off; false when it went on meanwhile.
func (c *callers) leave(w *waiter) bool {
	own := c.waiting[w.line]
	i := slices.Index(own, w)
	if i >= 0 {
		c.waiting[w.line] = slices.Delete(own, i, i+1)
	}
	return i >= 0
}

// Wait returns once one operation of a class may be made: at once when the context
// carries a permit that pays for it. When the context would end before, it says so with
// a NoRoomError instead of waiting in vain, and with a BrokenError when a circuit
// breaker lets no request through.
func (s *Share) Wait(ctx context.Context, class Class) error {
	own := grantOf(ctx)
	if own != nil && own.dispatcher == s.at.Load() && own.use(class) {
		return nil
	}
	w := &waiter{share: s, served: make(chan struct{}), line: lineOf(ctx)}
	var short error
	s.locked(func(d *Dispatcher, now time.Time) {
		if short = s.lets(d, own, now); short != nil {
			return
		}
		wait := d.expected(s, class, w.line, now)
		if deadline, ok := ctx.Deadline(); ok && deadline.Sub(now) < wait {
			short = &NoRoomError{Class: class, RetryAfter: wait}
			return
		}
		own := &s.waiting[class].waiting[w.line]
		*own = append(*own, w)
		d.join(class, s)
		s.begun(d, w)
	})
	if short != nil {
		return short
	}
	select {
	case <-w.served:
		return w.refused
	case <-ctx.Done():
		s.leave(class, w)
		return ctx.Err()
	}
}

// expected is how long a caller would wait that comes now.
func (d *Dispatcher) expected(s *Share, class Class, of line, now time.Time) time.Duration {
	own := s.waiting[class].ahead(of) + 1
	all := own
	for _, other := range d.rings[class] {
		if other != s {
			all += min(other.waiting[class].len(), own)
		}
	}
	need := Need{}
	need[class] = own
	return max(d.buckets[class].wait(all, now), s.wait(d, need, now))
}

// join has a share alternate with the others while it has callers that wait.
func (d *Dispatcher) join(class Class, s *Share) {
	if s.waiting[class].len() > 0 && !slices.Contains(d.rings[class], s) {
		d.rings[class] = append(d.rings[class], s)
	}
}

// part ends that.
func (d *Dispatcher) part(class Class, s *Share) {
	d.rings[class] = slices.DeleteFunc(d.rings[class], func(other *Share) bool { return other == s })
}

// serve lets those go on who wait for a single operation. They hold a worker, so that
// they come before all that are parked, and must not wait for a hub that does not
// answer.
func (d *Dispatcher) serve(now time.Time) {
	for class := range d.rings {
		for _, s := range slices.Clone(d.rings[class]) {
			d.turnAway(Class(class), s, now)
		}
		for d.serveOne(Class(class), now) {
		}
	}
}

// serveOne lets one go on, of the share that is next.
func (d *Dispatcher) serveOne(class Class, now time.Time) bool {
	if len(d.rings[class]) == 0 || !d.buckets[class].has(1, now) {
		return false
	}
	for _, s := range d.rings[class] {
		if !s.affords(d, class, now) {
			continue
		}
		s.take(d, one(class))
		close(s.waiting[class].next().served)
		d.part(class, s)
		d.join(class, s)
		return true
	}
	return false
}

// turnAway ends the waits of a share's callers once a breaker has opened.
func (d *Dispatcher) turnAway(class Class, s *Share, now time.Time) {
	var refused error
	switch {
	case s.trouble.state(now) == Open:
		refused = s.broken(now)
	case d.breaker.state(now) == Open:
		refused = d.broken(now)
	default:
		return
	}
	for s.waiting[class].len() > 0 {
		w := s.waiting[class].next()
		w.refused = refused
		close(w.served)
	}
	d.part(class, s)
}

func (d *Dispatcher) broken(now time.Time) error {
	return &BrokenError{Last: d.breaker.last, RetryAfter: d.breaker.retryIn(now)}
}

func (s *Share) broken(now time.Time) error {
	return &BrokenError{Own: true, Last: s.trouble.last, RetryAfter: s.trouble.retryIn(now)}
}

// Broken tells that the hub has not answered lately, and that it may not be asked now.
func (s *Share) Broken() (broken bool) {
	s.locked(func(d *Dispatcher, now time.Time) { broken = s.lets(d, nil, now) != nil })
	return broken
}

// leave gives up a place in the queue, or the operation if it was given meanwhile.
func (s *Share) leave(class Class, w *waiter) {
	s.locked(func(d *Dispatcher, _ time.Time) {
		s.ended(d, w)
		if s.waiting[class].leave(w) {
			if s.waiting[class].len() == 0 {
				d.part(class, s)
			}
		} else if w.refused == nil {
			s.refund(d, one(class))
		}
	})
}
