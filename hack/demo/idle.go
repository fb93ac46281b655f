package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/audit"
)

const (
	// settleLimit bounds the wait for the last writes of the story, which are
	// taken as done when nothing was written for settleQuiet: longer than a
	// read-back, and than the minute within which the numbers in a
	// HubConnection's status are written.
	settleLimit = 150 * time.Second
	settleQuiet = 66 * time.Second
	// idleTime is how long nothing may be written, over at least
	// minQueries to the hub: each 10 s what moved, and which devices the
	// tutorial's two TwinQueries select, which makes 12 of them.
	idleTime   = 60 * time.Second
	minQueries = 15
)

// activity is what can be seen of the manager from outside.
type activity struct {
	updates, queries int
	writes           []audit.Event
}

// observe counts the twin updates and reads so far, and the manager's writes
// to the API server since the last call.
func (s *story) observe(ctx context.Context, trail *audit.Trail) (activity, error) {
	counters, err := s.emulator.Counters(ctx)
	if err != nil {
		return activity{}, err
	}
	writes, err := trail.Next()
	return activity{
		updates: counters["updateTwin"].Calls,
		queries: counters["query"].Statuses["200"],
		writes:  writes,
	}, err
}

// nothingIsWritten is the idle proof.
func (s *story) nothingIsWritten(ctx context.Context) error {
	trail := &audit.Trail{Path: s.cluster.AuditLog, User: s.operator.user}
	before, err := s.settle(ctx, trail)
	if err != nil {
		return err
	}
	s.out.note("Measuring %.0f s, in which the hub is asked every 10 s what moved.", idleTime.Seconds())
	var writes []audit.Event
	last := before
	for started := time.Now(); time.Since(started) < idleTime; {
		pause := min(10*time.Second, idleTime-time.Since(started))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if last, err = s.observe(ctx, trail); err != nil {
			return err
		}
		writes = append(writes, last.writes...)
		s.out.note("  ... %.0f s: %d queries of the hub, %d twin updates, %d writes to the API server", time.Since(started).Seconds(),
			last.queries-before.queries, last.updates-before.updates, len(writes))
	}
	return judgeIdle(last.queries-before.queries, last.updates-before.updates, writes)
}

// settle waits until the story's last writes are done, and makes sure that the
// audit log shows the manager's writes at all.
func (s *story) settle(ctx context.Context, trail *audit.Trail) (activity, error) {
	s.out.note("Waiting until nothing was written for %.0f s, at most %.0f s.", settleQuiet.Seconds(), settleLimit.Seconds())
	last, err := s.observe(ctx, trail)
	if err != nil {
		return activity{}, err
	}
	if len(last.writes) == 0 {
		return activity{}, fmt.Errorf("the audit log shows no write by %s in the whole story: it proves nothing", s.operator.user)
	}
	started, quiet := time.Now(), time.Now()
	for time.Since(quiet) < settleQuiet && time.Since(started) < settleLimit {
		select {
		case <-ctx.Done():
			return activity{}, ctx.Err()
		case <-time.After(time.Second):
		}
		now, err := s.observe(ctx, trail)
		if err != nil {
			return activity{}, err
		}
		if len(now.writes) > 0 || now.updates != last.updates {
			quiet = time.Now()
		}
		last = now
	}
	return last, nil
}

// judgeIdle says what was written that should not have been.
func judgeIdle(queries, updates int, writes []audit.Event) error {
	var problems []error
	if queries < minQueries {
		problems = append(problems, &unmetError{
			expected: fmt.Sprintf("at least %d queries of the hub in %s", minQueries, idleTime), seen: fmt.Sprint(queries)})
	}
	if updates > 0 {
		problems = append(problems, &unmetError{expected: "no twin update on the hub", seen: fmt.Sprint(updates)})
	}
	if len(writes) > 0 {
		var lines []string
		for _, write := range writes[:min(len(writes), 10)] {
			lines = append(lines, write.String())
		}
		problems = append(problems, &unmetError{
			expected: "no write to the API server by the manager",
			seen:     fmt.Sprintf("%d: %s", len(writes), strings.Join(lines, "; "))})
	}
	return errors.Join(problems...)
}
