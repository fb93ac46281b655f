package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

const (
	// quietTime is how long nothing was written when everything counts as done.
	quietTime = 30 * time.Second
	// quietLimit is how long everything may take to be done.
	quietLimit = 5 * time.Minute
)

// activity is the last write that was seen, and what was counted then.
type activity struct {
	at             time.Time
	calls          []calls
	patches, total int
}

// stir says that something was just done that may lead to writes.
func (e *environment) stir() { e.lastWrite = activity{at: time.Now(), patches: -1} }

// quiet waits until nothing was written for a time, neither to the hubs nor to the API
// server. The environment keeps the last write.
func quiet(length time.Duration) action {
	return func(ctx context.Context, r *run) error {
		return r.await(ctx, "it becomes quiet", quietLimit, 500*time.Millisecond, func() (string, bool, error) {
			if err := r.env.look(ctx); err != nil {
				return "", false, err
			}
			still := time.Since(r.env.lastWrite.at)
			return fmt.Sprintf("%.0f s without a write", still.Seconds()), still >= length, nil
		})
	}
}

// look notes whether there were writes since it last looked.
func (e *environment) look(ctx context.Context) error {
	if err := e.writes.refresh(); err != nil {
		return err
	}
	now := activity{at: time.Now(), total: e.writes.total}
	for _, h := range e.hubs {
		c, err := h.calls(ctx)
		if err != nil {
			return err
		}
		now.calls, now.patches = append(now.calls, c), now.patches+c.patch
	}
	if now.patches != e.lastWrite.patches || now.total != e.lastWrite.total {
		e.lastWrite = now
	}
	return nil
}

// observation is what happened while nothing was done.
type observation struct {
	// cpu is the manager's CPU time, writes are its writes to the API server.
	cpu    time.Duration
	writes int
	// calls are the hub's.
	calls calls
}

// observe counts what happens within a time.
func observe(seen *observation, length time.Duration) action {
	return func(ctx context.Context, r *run) error {
		before, err := r.env.count(ctx)
		if err != nil {
			return err
		}
		if err := r.pass(ctx, "watching", length); err != nil {
			return err
		}
		after, err := r.env.count(ctx)
		*seen = observation{after.cpu - before.cpu, after.writes - before.writes, after.calls.since(before.calls)}
		return err
	}
}

// count is what happened since the environment was started.
func (e *environment) count(ctx context.Context) (observation, error) {
	usage, usageErr := process.UsageOf(e.manager.PID())
	made, callsErr := e.hubs[0].calls(ctx)
	err := errors.Join(usageErr, callsErr, e.writes.refresh())
	return observation{usage.CPU, e.writes.total, made}, err
}
