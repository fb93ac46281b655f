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

// waiter is a caller that waits for one operation.
type waiter struct {
	served chan struct{}
}

// Turn returns once one operation of a class may be made: at once when the context
// carries a grant that pays for it. When the context would end before, it says so with
// a NoRoomError instead of waiting in vain.
func (d *Dispatcher) Turn(ctx context.Context, class Class) error {
	if g := grantOf(ctx); g != nil && g.dispatcher == d && g.use(class) {
		return nil
	}
	w := &waiter{served: make(chan struct{})}
	var short error
	d.locked(func(now time.Time) {
		ahead := len(d.waiting[class])
		wait := d.buckets[class].wait(ahead+1, now)
		if deadline, ok := ctx.Deadline(); ok && deadline.Sub(now) < wait {
			short = &NoRoomError{Class: class, RetryAfter: wait}
			return
		}
		d.waiting[class] = append(d.waiting[class], w)
	})
	if short != nil {
		return short
	}
	select {
	case <-w.served:
		return nil
	case <-ctx.Done():
		d.leave(class, w)
		return ctx.Err()
	}
}

// serve lets those go on who wait for a single operation, in their order. They hold a
// worker, so that they come before everybody who is parked.
func (d *Dispatcher) serve(now time.Time) {
	for class, b := range d.buckets {
		for len(d.waiting[class]) > 0 && b.has(1, now) {
			b.take(1)
			close(d.waiting[class][0].served)
			d.waiting[class] = d.waiting[class][1:]
		}
	}
}

// leave gives up a place in the line, or the operation if it was given meanwhile.
func (d *Dispatcher) leave(class Class, w *waiter) {
	d.locked(func(time.Time) {
		if i := slices.Index(d.waiting[class], w); i >= 0 {
			d.waiting[class] = slices.Delete(d.waiting[class], i, i+1)
			return
		}
		d.buckets[class].refund(1)
	})
}
