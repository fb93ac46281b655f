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
	// QuotaExceeded tells that the hub refused for its daily quota.
	QuotaExceeded bool
}

// Answered takes into account how a request went. A request that its caller called off
// is not to be told of.
func (d *Dispatcher) Answered(a Answer) {
	d.locked(func(now time.Time) {
		if a.Status == 0 || a.Status >= http.StatusInternalServerError {
			d.breaker.failed(now)
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
