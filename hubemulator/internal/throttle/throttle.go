// Package throttle limits an emulated hub as IoT Hub limits its tiers: how
// often things may be done, and how many messages there are in a day.
package throttle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

const (
	// burstFactor is how much of a limit may be used at once: a free hub was
	// seen to answer 250 registry reads, of which it allows 100 a minute,
	// within 10.5 seconds and without refusing one.
	burstFactor = 2.5
	// longestWait is how long a request may queue for its turn: answers that
	// came up to 3.2 seconds late were seen, and no later ones.
	longestWait = 3500 * time.Millisecond
)

// Limits are the limits of one hub. Nil means a hub without any.
type Limits struct {
	clock   clock.Clock
	buckets map[class]*rate.Limiter
	meter   meter
	jobs    int
}

// New returns the limits of a hub of so many units of a tier: F1, S1, S2, S3.
// Zero units means one. An empty tier has no limits, and no units.
func New(tierName string, units int, clk clock.Clock) (*Limits, error) {
	if tierName == "" {
		if units != 0 {
			return nil, errors.New("units are set without a tier; set the tier too: F1, S1, S2 or S3")
		}
		return nil, nil //nolint:nilnil // nil is a hub without limits
	}
	if units == 0 {
		units = 1
	}
	chosen, err := findTier(tierName, units)
	if err != nil {
		return nil, err
	}
	l := &Limits{clock: clk, jobs: chosen.activeJobs, buckets: map[class]*rate.Limiter{}, meter: meter{
		clock: clk, size: chosen.messageSize, limit: chosen.messagesPerUnit * int64(units),
	}}
	for name, allowed := range chosen.limits(float64(units)) {
		perSecond := rate.Limit(allowed.amount / allowed.per.Seconds())
		l.buckets[name] = rate.NewLimiter(perSecond, int(allowed.amount*burstFactor))
	}
	return l, nil
}

// Admit takes one operation's share of its throttle, or n shares. A burst goes
// through at once; what comes after it waits here and goes through at the
// limit's rate; what would have to wait too long is refused with a
// *store.Error of status 429. Any other error is ctx's, which ended first.
func (l *Limits) Admit(ctx context.Context, operationType Type, n int) error {
	return l.take(ctx, operationType, n, longestWait)
}

// Wait takes one share like Admit, for what the hub does by itself: it waits for
// its turn however long that takes, and is never refused.
func (l *Limits) Wait(ctx context.Context, operationType Type) error {
	return l.take(ctx, operationType, 1, rate.InfDuration)
}

func (l *Limits) take(ctx context.Context, operationType Type, n int, patience time.Duration) error {
	if l == nil || n <= 0 {
		return nil
	}
	bucket := l.buckets[types[operationType].class]
	if bucket == nil {
		return nil
	}
	now := l.clock.Now()
	turn := bucket.ReserveN(now, n)
	if !turn.OK() {
		return throttled(operationType)
	}
	wait := turn.DelayFrom(now)
	if wait > patience {
		turn.CancelAt(now)
		return throttled(operationType)
	}
	if wait == 0 {
		return nil
	}
	timer := l.clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		turn.CancelAt(l.clock.Now())
		return context.Cause(ctx)
	}
}

func throttled(operationType Type) *store.Error {
	return &store.Error{
		Status: http.StatusTooManyRequests, Number: 429003, Code: "ThrottlingBacklogTimeout",
		Text: "The request has been throttled. Wait 10 seconds and try again. Operation type: " + operationType.String(),
	}
}

// ActiveJobs is how many jobs may be scheduled or running at the same time; 0
// means any number.
func (l *Limits) ActiveJobs() int {
	if l == nil {
		return 0
	}
	return l.jobs
}

// CheckQuota refuses what is billed, with a *store.Error of status 403, when
// the day's messages are used up.
func (l *Limits) CheckQuota() error {
	if l == nil {
		return nil
	}
	if quota := l.meter.quota(); quota.Used >= quota.Limit {
		return &store.Error{
			Status: http.StatusForbidden, Number: 403002, Code: "IotHubQuotaExceeded",
			Text: fmt.Sprintf("The hub's quota of %d messages a day is used up. It is reset at 00:00 UTC", quota.Limit),
		}
	}
	return nil
}

// Bill takes the messages that payloads of these sizes in bytes cost from the
// day's quota, and returns how many they are. Even an empty payload costs one
// message.
func (l *Limits) Bill(sizes ...int) int64 {
	size := fullMessage
	if l != nil {
		size = l.meter.size
	}
	var messages int64
	for _, bytes := range sizes {
		messages += int64(Messages(bytes, size))
	}
	if l != nil {
		l.meter.add(messages)
	}
	return messages
}

// MethodShares is how many shares of the throttle for direct methods a payload
// of so many bytes takes.
func MethodShares(bytes int) int { return Messages(bytes, fullMessage) }

// Messages is how many messages of a size a payload takes, both in bytes.
func Messages(bytes, size int) int { return max(1, (bytes+size-1)/size) }

// Quota returns how much of the day's messages is used; ok is false for a hub
// without limits.
func (l *Limits) Quota() (quota Quota, ok bool) {
	if l == nil {
		return Quota{}, false
	}
	return l.meter.quota(), true
}
