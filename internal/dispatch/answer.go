package dispatch

import (
	"net/http"
	"time"
)

// Answer is what came of one request, as far as it matters here.
type Answer struct {
	Class Class
	// Status is the HTTP status; 0 when there was no answer.
	Status int
	Took   time.Duration
	// RetryAfter as the hub asks for it; 0 when it does not.
	RetryAfter time.Duration
	// Bytes of the payload that is billed.
	Bytes int
	// Failure says what went wrong, when there was no usable answer or one of a failing hub;
	// nil when that is not told.
	Failure error
	// Own tells that the failure is at the asking party's own end, such as a certificate
	// that it does not trust: it says nothing about the hub.
	Own bool
	// QuotaExceeded tells that the hub refused for its daily quota.
	QuotaExceeded bool
}

// Answered takes into account how a request went. Of one that its caller called off,
// CalledOff is to be told instead.
func (s *Share) Answered(a Answer) {
	s.locked(func(d *Dispatcher, now time.Time) {
		if a.Own {
			s.calledOff(d)
			s.trouble.failed(now, a.Failure)
			return
		}
		if a.Failure != nil || a.Status == 0 || a.Status >= http.StatusInternalServerError {
			s.calledOff(d)
			d.breaker.failed(now, a.Failure)
			return
		}
		s.trouble.answered()
		d.breaker.answered()
		bucket := d.buckets[a.Class]
		if a.Status == http.StatusTooManyRequests {
			bucket.refused(now, a.RetryAfter)
			return
		}
		bucket.answered(now, a.Took)
		d.count.Billed[a.Class] += d.meter.answered(now, a)
		s.used.answered(now, a)
	})
}

// CalledOff notes that a request ended without telling anything of the hub.
func (s *Share) CalledOff() {
	s.locked(func(d *Dispatcher, _ time.Time) { s.calledOff(d) })
}

// calledOff lets another caller try what one of this share's tried. A permit tries until
// it is given back.
func (s *Share) calledOff(d *Dispatcher) {
	for _, b := range []*breaker{&d.breaker, &s.trouble} {
		if caller, ok := b.trying.(*waiter); ok && caller.share == s {
			b.ended(caller)
		}
	}
}

// answered counts what the hub bills, and returns how many messages that is. It bills no
// operation on identities; whether it bills one that it refuses is not documented, and
// taken for granted here.
func (m *meter) answered(now time.Time, a Answer) int64 {
	if a.Class == Registry {
		return 0
	}
	if a.QuotaExceeded {
		m.startDay(now)
		m.exceeded = true
		return 0
	}
	if a.Status < http.StatusBadRequest {
		m.exceeded = false
	}
	return m.add(now, a.Bytes)
}
