package dispatch

import (
	"math"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// lowestFactor bounds how far a class is slowed down: a twentieth of its rate.
	lowestFactor = 0.05
	// recoveryStep and recoveryGain bring it back when nothing speaks against it:
	// from the lowest to the full rate in some 95 seconds.
	recoveryStep = 5 * time.Second
	recoveryGain = 0.05
	// refusalFactor is what a refusal leaves of the rate, slowFactor what one second
	// of slow answers leaves of it.
	refusalFactor = 0.5
	slowFactor    = 0.9
	slowStep      = time.Second
	// slowAnswer is the smoothed time of an answer from which the hub is taken to
	// queue: it does so before it refuses.
	slowAnswer = time.Second
	// smoothing is the weight of one answer, and forgetAfter how old the last one may
	// be to count.
	smoothing   = 0.2
	forgetAfter = time.Minute
	// refusalPause is what IoT Hub asks for in words when it refuses; it sends no
	// Retry-After. Jitter keeps several managers apart.
	refusalPause  = 10 * time.Second
	refusalJitter = 0.5
	// maxPause bounds what an answer can ask for: the longest of IoT Hub's throttles is
	// by the minute.
	maxPause = time.Minute
	// trialPatience is how long the request that tries after a pause is waited for
	// before another one tries.
	trialPatience = 10 * time.Second
	// whole makes up for the rounding of fractions of a token.
	whole = 1e-6
)

// bucket holds one class to its rate. Unlike that of golang.org/x/time/rate it takes
// back a token that was not used.
type bucket struct {
	rate   float64 // tokens a second, as declared
	window float64 // seconds' worth that fit

	tokens float64
	filled time.Time
	paused time.Time // no tokens until then
	trial  trial
	tried  time.Time // when the request that tries was let through

	factor  float64 // of the rate, as the hub can bear it
	settled time.Time
	slowed  time.Time
	latency time.Duration // smoothed
	heard   time.Time
}

// trial is how far a class is tried again that was paused: whether the hub takes more
// now is found out with one request, not with a burst of them.
type trial int

const (
	// proven: the class goes at its rate.
	proven trial = iota
	// untried: one request may go.
	untried
	// trying: one went, and its answer is awaited.
	trying
)

func newBucket(rate, window float64, now time.Time) *bucket {
	b := &bucket{rate: rate, window: window, filled: now, factor: 1, settled: now}
	b.tokens = b.size()
	return b
}

func (b *bucket) effective() float64 { return b.rate * b.factor }

func (b *bucket) size() float64 {
	if b.trial != proven {
		return 1
	}
	return max(1, b.effective()*b.window)
}

// shut is until when no token comes in.
func (b *bucket) shut() time.Time {
	if b.trial == trying {
		return b.tried.Add(trialPatience)
	}
	return b.paused
}

// fill adds what has come since, and lets the rate recover.
func (b *bucket) fill(now time.Time) {
	b.recover(now)
	from := b.filled
	if shut := b.shut(); from.Before(shut) {
		from = shut
	}
	if b.trial == trying && !now.Before(b.shut()) {
		b.trial = untried
	}
	if now.After(from) {
		b.tokens += now.Sub(from).Seconds() * b.effective()
	}
	if now.After(b.filled) {
		b.filled = now
	}
	b.tokens = min(b.tokens, b.size())
}

func (b *bucket) recover(now time.Time) {
	steps := int(now.Sub(b.settled) / recoveryStep)
	if steps <= 0 {
		return
	}
	b.factor = min(1, b.factor+float64(min(steps, 100))*recoveryGain)
	b.settled = b.settled.Add(time.Duration(steps) * recoveryStep)
	if b.factor == 1 {
		b.trial = proven // so long ago that it says nothing any more
	}
}

func (b *bucket) has(n int, now time.Time) bool {
	return n == 0 || (!now.Before(b.shut()) && b.tokens >= float64(n)-whole)
}

// wait is how long it takes until there are n tokens.
func (b *bucket) wait(n int, now time.Time) time.Duration {
	if b.has(n, now) {
		return 0
	}
	pause := max(0, b.shut().Sub(now))
	missing := float64(n) - b.tokens
	if missing <= 0 {
		return pause
	}
	return pause + time.Duration(math.Ceil(missing/b.effective()*float64(time.Second)))
}

func (b *bucket) take(n int) {
	b.tokens -= float64(n)
	if n > 0 && b.trial == untried {
		b.trial, b.tried = trying, b.filled
	}
}

func (b *bucket) refund(n int) {
	if n > 0 && b.trial == trying {
		b.trial = untried
	}
	b.tokens = min(b.tokens+float64(n), b.size())
}

// full tells that forgetting the bucket loses nothing.
func (b *bucket) full(now time.Time) bool {
	return !now.Before(b.paused) && b.factor == 1 && b.tokens >= b.size()-whole
}

// refused slows the class down once for all that were refused together.
func (b *bucket) refused(now time.Time, retryAfter time.Duration) {
	if now.Before(b.paused) {
		return
	}
	if retryAfter <= 0 {
		retryAfter = wait.Jitter(refusalPause, refusalJitter)
	}
	b.paused = now.Add(min(retryAfter, maxPause))
	b.trial = untried
	b.slow(now, refusalFactor)
	b.settled = b.paused
}

// answered notes how long an answer took.
func (b *bucket) answered(now time.Time, took time.Duration) {
	if b.trial == trying && !now.Add(-took).Before(b.tried) {
		b.trial = proven
	}
	if b.heard.IsZero() || now.Sub(b.heard) > forgetAfter {
		b.latency = took
	} else {
		b.latency += time.Duration(smoothing * float64(took-b.latency))
	}
	b.heard = now
	if b.latency <= slowAnswer {
		return
	}
	if now.Sub(b.slowed) >= slowStep {
		b.slow(now, slowFactor)
	}
}

func (b *bucket) slow(now time.Time, by float64) {
	b.factor = max(lowestFactor, b.factor*by)
	b.tokens = min(b.tokens, b.size())
	b.slowed, b.settled = now, now
}
