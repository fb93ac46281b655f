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
	// Failure says what went wrong, when there was no answer or one of a failing hub;
	// nil when that is not told.
	Failure error
	// QuotaExceeded tells that the hub refused for its daily quota.
	QuotaExceeded bool
}

// Answered takes into account how a request went. Of one that its caller called off,
// CalledOff is to be told instead.
func (d *Dispatcher) Answered(a Answer) {
	d.locked(func(now time.Time) {
		if a.Status == 0 || a.Status >= http.StatusInternalServerError {
			d.breaker.failed(now, a.Failure)
			return
		}
		d.breaker.answered()
		bucket := d.buckets[a.Class]
		if a.Status == http.StatusTooManyRequests {
			bucket.refused(now, a.RetryAfter)
			return
		}
		bucket.answered(now, a.Took)
		d.meterAnswer(now, a)
	})
}

// CalledOff notes that a request ended without telling anything of the hub.
func (d *Dispatcher) CalledOff() {
	d.locked(func(time.Time) {
		if caller, ok := d.breaker.trying.(*waiter); ok {
			d.breaker.ended(caller)
		}
	})
}

// meterAnswer counts what the hub bills. It bills no operation on identities; whether
// it bills one that it refuses is not documented, and taken for granted here.
func (d *Dispatcher) meterAnswer(now time.Time, a Answer) {
	if a.Class == Registry {
		return
	}
	if a.QuotaExceeded {
		d.meter.turn(now)
		d.meter.exceeded = true
		return
	}
	d.meter.add(now, a.Bytes)
	if a.Status < http.StatusBadRequest {
		d.meter.exceeded = false
	}
}
