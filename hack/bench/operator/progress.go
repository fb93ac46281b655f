package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// progressEvery is the time between two lines about a wait.
	progressEvery = 5 * time.Second
	// pollEvery is how often a wait looks again.
	pollEvery = 20 * time.Millisecond
)

// errTooLong says that a wait was given up.
var errTooLong = errors.New("it took too long")

// progress prints how far a row is.
type progress struct {
	out     io.Writer
	row     string
	started time.Time
}

// say prints a line of progress: row and time so far come first.
func (p *progress) say(format string, args ...any) {
	fmt.Fprintf(p.out, "%-12s %6.1f s  %s\n", p.row, time.Since(p.started).Seconds(), fmt.Sprintf(format, args...))
}

// await looks again and again until done, an error, or the limit, and says every few
// seconds what is seen.
func (p *progress) await(ctx context.Context, phase string, limit, every time.Duration, look func() (seen string, done bool, err error)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	began, told := time.Now(), time.Now()
	for {
		seen, done, err := look()
		if err != nil || done {
			return err
		}
		if time.Since(told) >= progressEvery {
			told = time.Now()
			p.say("%s: %s", phase, seen)
		}
		if time.Since(began) > limit {
			return fmt.Errorf("%s: %w, %s: %s", phase, errTooLong, limit, seen)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// pass waits for a time in which nothing is done.
func (p *progress) pass(ctx context.Context, phase string, length time.Duration) error {
	began := time.Now()
	return p.await(ctx, phase, 2*length, 100*time.Millisecond, func() (string, bool, error) {
		gone := time.Since(began)
		return fmt.Sprintf("%.0f of %.0f s", gone.Seconds(), length.Seconds()), gone >= length, nil
	})
}

// parallel does something n times, so many at a time, and says how far it is.
func (p *progress) parallel(ctx context.Context, phase string, atATime, n int, do func(context.Context, int) error) error {
	now := make(chan time.Time)
	close(now)
	return p.paced(ctx, phase, atATime, n, now, do)
}

// paced is parallel with a beginning for each of the n.
func (p *progress) paced(ctx context.Context, phase string, atATime, n int, pace <-chan time.Time, do func(context.Context, int) error) error {
	working, ctx := errgroup.WithContext(ctx)
	working.SetLimit(atATime)
	var count atomic.Int64
	told := time.Now()
	for i := range n {
		select {
		case <-ctx.Done():
			return cmp.Or(working.Wait(), context.Cause(ctx))
		case <-pace:
		}
		working.Go(func() error {
			defer count.Add(1)
			return do(ctx, i)
		})
		if time.Since(told) >= progressEvery {
			told = time.Now()
			p.say("%s: %d of %d", phase, count.Load(), n)
		}
	}
	return working.Wait()
}
