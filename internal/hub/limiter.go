package hub

import (
	"context"
	"net/http"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
)

// Limits is how many requests go to one hub, whoever makes them. A zero field means the limit of an S1 hub.
type Limits struct {
	// TwinReadsPerSecond; IoT Hub's S1 limit is 100.
	TwinReadsPerSecond float64
	// TwinUpdatesPerSecond; IoT Hub's S1 limit is 50, which the devices' own reports share.
	TwinUpdatesPerSecond float64
	// QueriesPerMinute counts pages; IoT Hub's S1 limit is 20.
	QueriesPerMinute float64
	// RegistryPerMinute counts reads, creations and deletions of identities; IoT Hub's S1 limit is 100.
	RegistryPerMinute float64
}

// The limits of an S1 hub.
const (
	defaultTwinReadsPerSecond   = 100
	defaultTwinUpdatesPerSecond = 50
	defaultQueriesPerMinute     = 20
	defaultRegistryPerMinute    = 100
)

// limiter holds one hub's requests to its limits, a token bucket for each class of operation. A bucket holds one
// second's worth of twin requests, and half a minute's of queries and of registry requests.
type limiter struct {
	clock   clock.Clock
	reads   *rate.Limiter
	updates *rate.Limiter
	queries *rate.Limiter

	registry *rate.Limiter
}

func newLimiter(limits Limits, c clock.Clock) *limiter {
	reads := positiveOr(limits.TwinReadsPerSecond, defaultTwinReadsPerSecond)
	updates := positiveOr(limits.TwinUpdatesPerSecond, defaultTwinUpdatesPerSecond)
	queries := positiveOr(limits.QueriesPerMinute, defaultQueriesPerMinute)
	registry := positiveOr(limits.RegistryPerMinute, defaultRegistryPerMinute)
	return &limiter{
		clock:   c,
		reads:   rate.NewLimiter(rate.Limit(reads), burst(reads)),
		updates: rate.NewLimiter(rate.Limit(updates), burst(updates)),
		queries: rate.NewLimiter(rate.Limit(queries/60), burst(queries/2)),

		registry: rate.NewLimiter(rate.Limit(registry/60), burst(registry/2)),
	}
}

func positiveOr(value, fallback float64) float64 {
	if value > 0 {
		return value
	}
	return fallback
}

func burst(tokens float64) int { return max(1, int(tokens)) }

// idle is true when every bucket is full: forgetting the limiter then loses nothing.
func (l *limiter) idle() bool {
	now := l.clock.Now()
	for _, bucket := range []*rate.Limiter{l.reads, l.updates, l.queries, l.registry} {
		if bucket.TokensAt(now) < float64(bucket.Burst()) {
			return false
		}
	}
	return true
}

func (l *limiter) bucket(op operation) *rate.Limiter {
	switch {
	case op == opUpdateTwin:
		return l.updates
	case op == opQuery:
		return l.queries
	case op.onRegistry():
		return l.registry
	default:
		return l.reads
	}
}

// middleware holds a request back until its class has room.
func (l *limiter) middleware(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if err := l.wait(req.Context(), exchangeOf(req).op); err != nil {
			return nil, err
		}
		return next.RoundTrip(req)
	})
}

// wait takes a token. When the context would end before there is one, it says so at once instead of waiting in vain.
func (l *limiter) wait(ctx context.Context, op operation) error {
	now := l.clock.Now()
	reservation := l.bucket(op).ReserveN(now, 1)
	delay := reservation.DelayFrom(now)
	if delay == 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && deadline.Sub(now) < delay {
		reservation.CancelAt(now)
		return &Error{
			Reason: ReasonThrottled, RetryAfter: delay,
			detail: "our own rate limit for this hub has no room before the call's deadline",
		}
	}
	timer := l.clock.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		reservation.CancelAt(l.clock.Now())
		return ctx.Err()
	}
}
