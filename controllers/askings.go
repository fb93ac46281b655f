package controllers

import (
	"context"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// askings ask each hub each question once, however many TwinQueries ask it.
type askings struct {
	clock clock.PassiveClock

	mu    sync.Mutex
	known map[question]*asking
}

// question is what a hub is asked.
type question struct {
	hub  types.NamespacedName
	from hub.Source
	text string
}

// asking is the last answer to a question.
type asking struct {
	running sync.Mutex // held while the hub is asked
	// Guarded by askings.mu; asked is when the hub was asked, zero for never.
	devices []string
	asked   time.Time
	used    time.Time
}

// forgetAfter is how long an answer that no TwinQuery uses is kept: twice the
// longest interval of one.
const forgetAfter = 48 * time.Hour

// busyRetry is when to look again for an answer that somebody else waits for.
const busyRetry = 100 * time.Millisecond

func newAskings(c clock.PassiveClock) *askings {
	return &askings{clock: c, known: map[question]*asking{}}
}

// answer returns the answer to a question, sorted, and when it was asked for: one
// that is not older than so, or a new one. It does not wait while somebody else asks
// the same; the error says so.
func (a *askings) answer(q question, notOlder time.Duration, ask func() ([]string, error)) ([]string, time.Time, error) {
	one := a.of(q)
	if !one.running.TryLock() {
		return nil, time.Time{}, &stop{outcome{class: unseen, retryAfter: busyRetry}}
	}
	defer one.running.Unlock()
	a.mu.Lock()
	devices, asked := one.devices, one.asked
	a.mu.Unlock()
	now := a.clock.Now()
	if !asked.IsZero() && now.Sub(asked) < notOlder {
		return devices, asked, nil
	}
	devices, err := ask()
	if err != nil {
		return nil, now, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	one.devices, one.asked = devices, now
	return devices, now, nil
}

func (a *askings) of(q question) *asking {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	one := a.known[q]
	if one == nil {
		maps.DeleteFunc(a.known, func(_ question, old *asking) bool { return now.Sub(old.used) > forgetAfter })
		one = &asking{}
		a.known[q] = one
	}
	one.used = now
	return one
}

// ask asks a hub which twins satisfy a condition.
func (q question) ask(ctx context.Context, session hub.Session) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, maxQueryTime)
	defer cancel()
	ids, err := session.QueryIDs(ctx, q.from, q.text)
	return names(ids), err
}
