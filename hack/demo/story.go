package main

import (
	"context"
	"fmt"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/controlplane"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/emulator"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

const (
	deviceID  = "thermostat-1"
	plantName = "Redmond43"
	// stepTimeout bounds each wait. brokenTimeout is for the step whose cause
	// was removed: longer than one read-back, so that what is seen is final.
	stepTimeout   = 60 * time.Second
	brokenTimeout = 15 * time.Second
	progressEvery = 5 * time.Second
	pollEvery     = 250 * time.Millisecond
)

// story is the tutorial under way.
type story struct {
	opts options
	out  *printer
	sup  *process.Supervisor
	dirs *directories

	kubectl   *controlplane.Kubectl
	cluster   *controlplane.Cluster
	emulator  *emulator.Emulator
	hub       *hubClient
	operator  *operator
	manifests *manifests
	device    *process.Process

	// current is the step under way; applied, whether the DeviceTwin is there.
	current string
	applied bool
	// updates is how many twin updates the hub was sent before this step.
	updates int
	took    []timing
}

// step is one chapter.
type step struct {
	id, title string
	tell      func(context.Context) error
	// updates is how many twin updates the step costs the hub.
	updates int
}

type timing struct {
	step step
	took time.Duration
}

// stepError says which step did not hold.
type stepError struct {
	step step
	err  error
}

func (e *stepError) Error() string {
	return fmt.Sprintf("FAILED at step %s (%s):\n%v", e.step.id, e.step.title, e.err)
}

func (e *stepError) Unwrap() error { return e.err }

// unmetError says what was expected and what was seen instead.
type unmetError struct{ expected, seen string }

func (e *unmetError) Error() string {
	return fmt.Sprintf("  expected: %s\n  seen:     %s", e.expected, e.seen)
}

func newStory(opts options, out *printer, sup *process.Supervisor, dirs *directories) *story {
	return &story{opts: opts, out: out, sup: sup, dirs: dirs}
}

func (s *story) steps() []step {
	steps := []step{
		{"start", "The parts start", s.start, 0},
		{"a", "The device exists on the hub, and no object declares it yet", s.nothingDeclared, 0},
		{"b", "kubectl apply: what is declared is on the hub", s.apply, 1},
		{"c", "One query finds the device, the other does not", s.query, 0},
		{"d", "The device starts, is told what is desired and reports", s.deviceReports, 0},
		{"e", "The report shows in Kubernetes", s.reportShows, 0},
		{"f", "Another writer changes the twin", s.foreignChange, 2},
		{"g", "An edit of the manifest reaches the device", s.editReaches, 1},
		{"h", "A key that leaves the manifest leaves the hub", s.removal, 1},
		{"i", "A manifest that breaks IoT Hub's rules is refused at once", s.refusal, 0},
		{"j", "One manifest reaches 200 devices in waves, and is taken back", s.rollout, setUpdates},
	}
	if s.opts.killAfter != "" {
		steps = append(steps, step{"end", "After the kill the story ended the same", s.endAsTold, 0})
	}
	if s.opts.idle {
		steps = append(steps, step{"idle", "Nothing changes, so nothing is written", s.nothingIsWritten, 0})
	}
	return steps
}

// tell runs the steps until one does not hold.
func (s *story) tell(ctx context.Context) error {
	began := time.Now()
	for _, step := range s.steps() {
		s.current = step.id
		s.out.heading(step.id, step.title)
		started := time.Now()
		if err := s.tellOne(ctx, step); err != nil {
			return &stepError{step: step, err: err}
		}
		took := time.Since(started)
		s.took = append(s.took, timing{step, took})
		s.out.note("ok, %s", seconds(took))
		if step.id == s.opts.breakStep {
			s.out.note("WARNING: its cause was removed, and yet step %s held.", step.id)
		}
	}
	s.out.line("")
	s.out.line("The story holds.")
	for _, t := range s.took {
		s.out.line("  %-6s %8s  %s", t.step.id, seconds(t.took), t.step.title)
	}
	s.out.line("  %-6s %8s", "total", seconds(time.Since(began)))
	return nil
}

func (s *story) tellOne(ctx context.Context, step step) error {
	if err := step.tell(ctx); err != nil {
		return err
	}
	if err := s.countUpdates(ctx, step.updates); err != nil {
		return err
	}
	if step.id == s.opts.killAfter {
		return s.killAndRestart(ctx, step.id)
	}
	return nil
}

// countUpdates makes sure that a change costs the hub one update and nothing
// else costs any, not even a manager that comes back. Only the update that was
// lost with its manager has to be sent again.
func (s *story) countUpdates(ctx context.Context, want int) error {
	counters, err := s.emulator.Counters(ctx)
	if err != nil {
		return err
	}
	before := s.updates
	s.updates = counters["updateTwin"].Calls
	s.out.note("Twin updates that the hub was sent: %d.", s.updates-before)
	if s.current == "b" && s.opts.killAfter == "b" {
		want++
	}
	if s.updates-before != want {
		return &unmetError{
			expected: fmt.Sprintf("%d twin updates in this step", want), seen: fmt.Sprint(s.updates - before),
		}
	}
	return nil
}

// broken reports whether the current step's cause is to be removed.
func (s *story) broken() bool { return s.opts.breakStep == s.current }

// await polls until look is satisfied. An error of look counts as something
// seen: servers may still be busy.
func (s *story) await(ctx context.Context, expected string, look func(context.Context) (seen string, ok bool, err error)) error {
	limit := stepTimeout
	if s.broken() {
		limit = brokenTimeout
	}
	started := time.Now()
	reported := started
	seen := "nothing yet"
	for {
		now, ok, err := look(ctx)
		switch {
		case ctx.Err() != nil: // what was seen before counts
			return &unmetError{expected: expected, seen: seen}
		case err != nil:
			seen = err.Error()
		case ok:
			return nil
		default:
			seen = now
		}
		if time.Since(started) > limit {
			return &unmetError{expected: fmt.Sprintf("%s, within %s", expected, limit), seen: seen}
		}
		if time.Since(reported) >= progressEvery {
			reported = time.Now()
			s.out.note("  ... %.0f s, waiting until %s; now: %s", time.Since(started).Seconds(), expected, seen)
		}
		select {
		case <-ctx.Done():
			return &unmetError{expected: expected, seen: seen}
		case <-time.After(pollEvery):
		}
	}
}

// showTwin prints the twin as the hub has it.
func (s *story) showTwin(ctx context.Context) error {
	t, err := s.hub.twin(ctx)
	if err != nil {
		return err
	}
	s.out.evidence("the hub, GET /twins/"+deviceID, t.show())
	return nil
}

// showTable prints a table of kubectl's.
func (s *story) showTable(ctx context.Context, args ...string) error {
	args = append([]string{"get"}, args...)
	text, err := s.kubectl.Run(ctx, args...)
	if err != nil {
		return err
	}
	command := "kubectl"
	for _, arg := range args {
		command += " " + arg
	}
	s.out.evidence(command, text)
	return nil
}
