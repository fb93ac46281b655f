package dispatch

import "time"

const (
	// breakAfter is how many failures in a row make a hub one that does not answer.
	breakAfter = 5
	// The pauses between two tries.
	minBreak = time.Second
	maxBreak = time.Minute
)

// breaker keeps work away from a hub that does not answer.
type breaker struct {
	failures int
	pause    time.Duration // 0 while closed
	until    time.Time
	trying   any   // the permit or the caller that was let through
	last     error // what the last failure was, if that was told
}

// lets tells whether a permit may be given.
func (b *breaker) lets(now time.Time) bool {
	return b.pause == 0 || (b.trying == nil && !now.Before(b.until))
}

// wait is how long it takes until a permit may be given; it needs no answer while one
// is being tried.
func (b *breaker) wait(now time.Time) time.Duration { return max(0, b.until.Sub(now)) }

// begun notes who tries a hub that did not answer.
func (b *breaker) begun(who any) {
	if b.pause > 0 && b.trying == nil {
		b.trying = who
	}
}

// triedBy tells whether it is the holder of a permit that was let through.
func (b *breaker) triedBy(holder *Permit) bool { return holder != nil && b.trying == holder }

// ended lets another one try, when nothing was heard of this one.
func (b *breaker) ended(who any) {
	if b.trying == who {
		b.trying = nil
	}
}

// retryIn is when to ask again whether a request may be made.
func (b *breaker) retryIn(now time.Time) time.Duration {
	if wait := b.wait(now); wait > 0 {
		return wait
	}
	return b.pause // a caller tries
}

func (b *breaker) failed(now time.Time, err error) {
	b.failures++
	b.last = err
	switch {
	case b.pause == 0 && b.failures >= breakAfter:
		b.pause = minBreak
	case b.pause > 0 && !now.Before(b.until):
		b.pause = min(2*b.pause, maxBreak)
	default:
		return // a request from before it opened
	}
	b.until, b.trying = now.Add(b.pause), nil
}

func (b *breaker) answered() { *b = breaker{} }

// The states of a breaker.
const (
	Closed   = "closed"
	Open     = "open"
	HalfOpen = "halfOpen"
)

func (b *breaker) state(now time.Time) string {
	switch {
	case b.pause == 0:
		return Closed
	case now.Before(b.until):
		return Open
	}
	return HalfOpen
}
