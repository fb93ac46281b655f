package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

// interval is spec.readBack.interval of every HubConnection here.
const interval = 10 * time.Second

// scenario is a row: the steps that measure it, one after the other, and what is
// reported of it.
type scenario struct {
	name, title string
	// hub describes the hub where it is not unthrottled.
	hub string
	// twins is how many twins there are where --n does not say so.
	twins func(options) int
	// usesFleet keeps the fleet of the rows before. For all others it is stopped, so as
	// not to take the machine.
	usesFleet bool
	// onRequest leaves it out unless --rows names it.
	onRequest bool
	// rounds has the steps repeated --rounds times.
	rounds bool
	steps  []step
	// report adds values and bounds when all steps are done. What a step adds is reported
	// even when a later one fails.
	report action
}

// step is a part of a scenario. Its name says what it does.
type step struct {
	name string
	do   action
}

type action func(context.Context, *run) error

// run is a scenario that is being measured.
type run struct {
	*bench
	out *result
	// round counts from 0.
	round int
	// env is what the last step to start a cluster has started.
	env *environment
}

// scenarios are all there are, in the order in which they run and are reported.
func scenarios() []scenario {
	return []scenario{
		convergeRow(),
		// Before any device connects: that it left shows with the next full look, or a restart.
		restartRow(),
		idleRow(),
		reportsRow(),
		firstWriteRow(),
		membershipRow(),
		reportsLagRow(),
		convergeS1Row(),
		isolationRow(),
		tenantsRow(),
		shardingRow(),
		memoryRow(),
		setConvergeRow(),
		setIdleRow(),
		setRestartRow(),
		setS1Row(),
		setMillionRow(),
		peersRow(),
	}
}

func rowsHelp() string {
	var out strings.Builder
	for _, s := range scenarios() {
		fmt.Fprintf(&out, "  %-12s %s\n", s.name, s.title)
	}
	return out.String()
}

// atMost is for a row that takes no more twins than that.
func atMost(twins int) func(options) int {
	return func(o options) int { return min(o.n, twins) }
}

// bench measures one scenario after the other.
type bench struct {
	*progress
	opts options
	// environments counts those that were started.
	environments int
	// fleet has N twins that have converged, nil before there is one.
	fleet *environment
}

func newBench(opts options, out io.Writer) *bench {
	return &bench{opts: opts, progress: &progress{out: out}}
}

// measure runs a scenario. The result has what was measured before an error, too.
func (b *bench) measure(ctx context.Context, s scenario) (*result, error) {
	b.row, b.started = s.name, time.Now()
	fmt.Fprintf(b.out, "== %s: %s\n", s.name, s.title)
	r := &run{bench: b, out: &result{
		Row: s.name, Title: s.title, N: b.opts.n, Rounds: 1, Hub: cmp.Or(s.hub, unthrottled.String()),
	}}
	if s.twins != nil {
		r.out.N = s.twins(b.opts)
	}
	if s.rounds {
		r.out.Rounds = b.opts.rounds
	}
	err := errors.Join(r.play(ctx, s), r.leave())
	r.out.finish(b.started)
	return r.out, err
}

func (r *run) play(ctx context.Context, s scenario) error {
	if !s.usesFleet {
		if err := r.closeFleet(); err != nil {
			return err
		}
	}
	for r.round = range r.out.Rounds {
		if s.rounds {
			r.say("round %d of %d", r.round+1, r.out.Rounds)
		}
		if err := r.do(ctx, s.steps); err != nil {
			return err
		}
	}
	if s.report == nil {
		return nil
	}
	return r.do(ctx, []step{{"report", s.report}})
}

// do runs steps until one fails, and names that one.
func (r *run) do(ctx context.Context, steps []step) error {
	for _, s := range steps {
		r.say("%s", s.name)
		if err := r.doOne(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// stepLimit bounds one step of a row with n twins. The waits within a step have
// shorter limits of their own; this one is for a call that does not return.
func stepLimit(n int) time.Duration { return 30*time.Minute + 2*convergeLimit(n) }

func (r *run) doOne(ctx context.Context, s step) error {
	limit := stepLimit(r.out.N)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the step was not done within %s", limit))
	defer cancel()
	if r.env != nil {
		var stop context.CancelCauseFunc
		ctx, stop = r.env.within(ctx)
		defer stop(nil)
	}
	err := s.do(ctx, r)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		// The call that failed says no more than that it was canceled.
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}

// sum prints what came of a row.
func (b *bench) sum(measured *result) {
	for _, v := range measured.Values {
		b.say("%s: %s", v.What, v)
	}
	for _, bound := range measured.Bounds {
		verdict := "held"
		if !bound.Held {
			verdict = "MISSED"
		}
		b.say("%-6s %s: %s, wanted %s", verdict, bound.What, bound.Measured, bound.Wanted)
	}
}

// sample prints a number and adds it to those of the rounds before.
func (r *run) sample(numbers *[]float64, what string, number float64, unit string) {
	r.say("%s: %s", what, value{what, number, unit})
	*numbers = append(*numbers, number)
}

// medianOf is the median of a number that each round has.
func medianOf[T any](rounds []T, number func(T) float64) float64 {
	return stats.Median(each(rounds, number))
}

// worstOf is the largest of a number that each round has.
func worstOf[T any, N cmp.Ordered](rounds []T, number func(T) N) N {
	return slices.Max(each(rounds, number))
}

func each[T, N any](rounds []T, number func(T) N) []N {
	out := make([]N, 0, len(rounds))
	for _, round := range rounds {
		out = append(out, number(round))
	}
	return out
}

// leave stops the run's environment, unless it is the fleet, which the next rows use.
func (r *run) leave() error {
	env := r.env
	r.env = nil
	if env == nil || env == r.fleet {
		return nil
	}
	return env.close()
}

// closeFleet stops the fleet that several rows share, if there is one.
func (b *bench) closeFleet() error {
	if b.fleet == nil {
		return nil
	}
	fleet := b.fleet
	b.fleet = nil
	return fleet.close()
}

// hub is the first hub of the run's environment, the only one of most rows.
func (r *run) hub() *hub { return r.env.hubs[0] }
