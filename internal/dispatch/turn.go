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
	// Last failure of the hub; nil when it was not told.
	Last error
	// RetryAfter is when the hub may be tried again.
	RetryAfter time.Duration
}

func (e *BrokenError) Error() string { return "the hub has not answered lately" }

// Unwrap returns the last failure.
func (e *BrokenError) Unwrap() error { return e.Last }

// waiter is a caller that waits for one operation.
type waiter struct {
	served chan struct{}
	urgent bool
	// refused is why it may not go on after all, once served is closed.
	refused error
}

// callers wait for operations of one class, each with a worker.
type callers struct {
	urgent, others []*waiter
	// wasUrgent tells that the last one to go on was.
	wasUrgent bool
}

func (c *callers) len() int { return len(c.urgent) + len(c.others) }

func (c *callers) line(urgent bool) *[]*waiter {
	if urgent {
		return &c.urgent
	}
	return &c.others
}

// ahead is how many of those who wait go on before one that joins them.
func (c *callers) ahead(urgent bool) int {
	own, other := len(*c.line(urgent)), len(*c.line(!urgent))
	return own + min(other, own+1)
}

// next takes the one that goes on: by turns one that is urgent and one that is not, so
// that neither waits for all of the others.
func (c *callers) next() *waiter {
	c.wasUrgent = len(c.urgent) > 0 && (len(c.others) == 0 || !c.wasUrgent)
	from := c.line(c.wasUrgent)
	w := (*from)[0]
	*from = (*from)[1:]
	return w
}

// leave takes one off; false when it went on meanwhile.
func (c *callers) leave(w *waiter) bool {
	from := c.line(w.urgent)
	i := slices.Index(*from, w)
	if i >= 0 {
		*from = slices.Delete(*from, i, i+1)
	}
	return i >= 0
}

// Turn returns once one operation of a class may be made: at once when the context
// carries a grant that pays for it. When the context would end before, it says so with
// a NoRoomError instead of waiting in vain, and with a BrokenError when the circuit
// breaker lets nobody through.
func (d *Dispatcher) Turn(ctx context.Context, class Class) error {
	own := grantOf(ctx)
	if own != nil && own.dispatcher == d && own.use(class) {
		return nil
	}
	w := &waiter{served: make(chan struct{}), urgent: isUrgent(ctx)}
	var short error
	d.locked(func(now time.Time) {
		tries := own != nil && d.breaker.trying == own
		if !tries && !d.breaker.lets(now) {
			short = d.broken(now)
			return
		}
		waiting := &d.waiting[class]
		wait := d.buckets[class].wait(waiting.ahead(w.urgent)+1, now)
		if deadline, ok := ctx.Deadline(); ok && deadline.Sub(now) < wait {
			short = &NoRoomError{Class: class, RetryAfter: wait}
			return
		}
		line := waiting.line(w.urgent)
		*line = append(*line, w)
		if !tries {
			d.breaker.begun(w)
		}
	})
	if short != nil {
		return short
	}
	select {
	case <-w.served:
		return w.refused
	case <-ctx.Done():
		d.leave(class, w)
		return ctx.Err()
	}
}

// serve lets those go on who wait for a single operation. They hold a worker, so that
// they come before everybody who is parked, and must not wait for a hub that does not
// answer.
func (d *Dispatcher) serve(now time.Time) {
	if d.breaker.state(now) == Open {
		d.turnAway(now)
	}
	for class, b := range d.buckets {
		for d.waiting[class].len() > 0 && b.has(1, now) {
			b.take(1)
			close(d.waiting[class].next().served)
		}
	}
}

// turnAway lets everybody go who waits for a single operation.
func (d *Dispatcher) turnAway(now time.Time) {
	for class := range d.waiting {
		for d.waiting[class].len() > 0 {
			w := d.waiting[class].next()
			w.refused = d.broken(now)
			close(w.served)
		}
	}
}

func (d *Dispatcher) broken(now time.Time) error {
	return &BrokenError{Last: d.breaker.last, RetryAfter: d.breaker.retryIn(now)}
}

// Broken tells that the hub has not answered lately, and that nobody may ask it now.
func (d *Dispatcher) Broken() (broken bool) {
	d.locked(func(now time.Time) { broken = !d.breaker.lets(now) })
	return broken
}

// leave gives up a place in the line, or the operation if it was given meanwhile.
func (d *Dispatcher) leave(class Class, w *waiter) {
	d.locked(func(time.Time) {
		d.breaker.ended(w)
		if !d.waiting[class].leave(w) && w.refused == nil {
			d.buckets[class].refund(1)
		}
	})
}
