package setsync

import (
	"context"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// Result is what a step came to.
type Result struct {
	fleet.Step
	// Again is when the next step is due.
	Again time.Duration
	// Urgent tells that the status says something else than before in kind, rather than in number.
	Urgent bool
}

const (
	// atOnce is for a step that follows the one before: others may come in between.
	atOnce = time.Millisecond
	// watchEvery is how often a wave is counted that soaks, or that devices came back to.
	watchEvery = 10 * time.Second
	// countShare is how much of the hub's rate of queries counting may take while a rollout goes on,
	// and countPages about how many a count takes.
	countShare = 0.1
	countPages = 5
	// lookShare is how much more time goes by before devices are counted and maintained again during a rollout than
	// that took: a hub counts a million devices in seconds, and no device is written meanwhile.
	lookShare = 20
)

// errBusy has a set come again while others of its hub are at work.
var errBusy = outcome.AsError(outcome.Outcome{Class: outcome.Unseen, RetryAfter: stepTime})

// Step brings a set forward by about a second. An error says what keeps it from going on; the
// status shows what was seen all the same.
func (s *Sets) Step(ctx context.Context, t *Task) (Result, error) {
	host := t.Hub.Session.Host()
	if !s.begin(host) {
		return Result{}, errBusy
	}
	defer s.end(host)
	r, err := s.run(ctx, t)
	if err != nil {
		return Result{}, err
	}
	r.adopt()
	if t.Asked {
		r.countedAt, r.overriddenAt, r.passedAt, r.marksAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		r.selectedAt = time.Time{}
	}
	if err := r.look(ctx); err != nil {
		r.publish()
		return Result{}, err
	}
	if err := r.tooMany(); err != nil {
		r.publish()
		return Result{}, err
	}
	before := t.Set.Status.DeepCopy()
	step := r.advance()
	result := Result{Step: step, Urgent: before.Phase != t.Set.Status.Phase}
	// What was seen is of the status as it was, which may be older than what is remembered.
	moved := before.Revision != t.Set.Status.Revision || before.Wave != t.Set.Status.Wave
	if moved || r.revision != t.Set.Status.Revision || r.wave != t.Set.Status.Wave {
		r.follow(t.Set.Status.Revision, t.Set.Status.Wave)
		r.publish()
		result.Again, result.Urgent = atOnce, true
		return result, nil
	}
	r.publish()
	more, err := r.act(ctx, step)
	r.publish()
	result.Again = r.again(step, more)
	return result, err
}

// adopt takes up, in a process that has not seen the set, what its status says.
func (r *run) adopt() {
	status := &r.Set.Status
	if r.revision == "" && status.Revision != "" {
		r.enter(status.Revision, status.Wave)
		r.counts, r.examples = status.Counts, append(r.examples, status.Examples...)
	}
}

// follow begins with a wave. Its devices are counted where it is of another revision, and where they are judged, since
// devices in flight may have been counted twice: by the hub, and when they were seen to answer. No device that holds
// another revision can need maintenance before an interval has passed: an S1 unit allows a query each three seconds,
// which the pages of devices need.
func (r *run) follow(revision, wave string) {
	if r.revision != revision {
		r.marksAt, r.counts.Conflicting = r.Clock.Now(), 0
		r.drift, r.sweep, r.swept = position{}, position{}, 0
	}
	if r.revision != revision || r.judged() {
		r.countedAt = time.Time{}
	}
	r.enter(revision, wave)
	r.counts.Rejected = 0
}

// look finds out what has to be known before anything is decided.
func (r *run) look(ctx context.Context) error {
	if r.countDue() {
		if err := r.recountAll(ctx); err != nil {
			return err
		}
		if err := r.countOverridden(ctx); err != nil {
			return err
		}
	}
	if r.revision == "" || r.Revisions[r.revision].Name == "" {
		return nil
	}
	if !r.based {
		if err := r.base(ctx); err != nil {
			return err
		}
	}
	if r.pollDue() {
		return r.poll(ctx)
	}
	return nil
}

// base counts the wave, where there is one.
func (r *run) base(ctx context.Context) error {
	if r.wave != "" {
		return r.rebase(ctx)
	}
	if err := r.restoreInFlight(ctx); err != nil {
		return err
	}
	r.based, r.basedAt = true, r.Clock.Now()
	return nil
}

// countDue tells whether the devices are to be counted again: with each interval, and as often as the
// hub's rate leaves room while a rollout goes on.
func (r *run) countDue() bool {
	if r.countedAt.IsZero() || r.selector != r.questions.Selected().String() {
		return true
	}
	return r.Clock.Since(r.countedAt) >= r.countInterval()
}

func (r *run) countInterval() time.Duration {
	interval := r.Set.Spec.Interval.Duration
	if r.wave == "" {
		return interval
	}
	rate := r.Hub.Session.Dispatcher().Rate(dispatch.Queries).PerSecond
	if rate <= 0 {
		return interval
	}
	return max(min(watchEvery, interval), time.Duration(countPages/(rate*countShare)*float64(time.Second)), lookShare*r.countTook)
}

// upkeepInterval is the time between two looks at the devices that hold the revision.
func (r *run) upkeepInterval() time.Duration {
	interval := r.Set.Spec.Interval.Duration
	if r.wave == "" {
		return interval
	}
	return max(interval, lookShare*r.upkeepTook)
}

func (r *run) advance() fleet.Step {
	wave := r.tally
	if !r.judged() {
		wave.Acknowledged = wave.Written // they count as written
	}
	seen := fleet.Seen{
		Desired: r.Desired.Name, Judged: r.judged(), Exhausted: r.exhausted && r.based, InFlight: int64(len(r.inFlight)),
		Wave: wave, Offline: r.counts.Offline, Now: r.Clock.Now(),
		Approve: outcome.Request(r.Set, v1alpha1.ApproveAnnotation), Rollout: outcome.Request(r.Set, v1alpha1.RolloutAnnotation),
	}
	return fleet.Advance(&r.Set.Spec, r.Declared.Waves, &r.Set.Status, seen)
}

// act does what may be done. It tells whether there is more to do at once.
func (r *run) act(ctx context.Context, step fleet.Step) (more bool, err error) {
	if (step.Recount || r.soaking()) && r.Clock.Since(r.basedAt) >= watchEvery {
		r.based = false
	}
	if !step.Write {
		return false, nil
	}
	interval := r.Set.Spec.Interval.Duration
	if r.exhausted && r.Clock.Since(r.passedAt) >= interval {
		r.exhausted = false
	}
	if more, err = r.roll(ctx, step); err != nil {
		return false, err
	}
	if !r.marksAt.IsZero() && r.Clock.Since(r.marksAt) < r.upkeepInterval() {
		return more, nil
	}
	return r.upkeep(ctx, more)
}

// roll writes devices that are behind, if there are any left and room for them.
func (r *run) roll(ctx context.Context, step fleet.Step) (more bool, err error) {
	if r.exhausted || step.Bounded && step.Most == 0 {
		return false, nil
	}
	if err := r.Current(ctx); err != nil {
		return false, err
	}
	if r.began.IsZero() {
		r.began = r.Clock.Now()
	}
	err = r.work(ctx, step)
	return err == nil, err
}

// upkeep maintains the devices that hold a revision.
func (r *run) upkeep(ctx context.Context, more bool) (bool, error) {
	if err := r.Current(ctx); err != nil {
		return false, err
	}
	began := r.Clock.Now()
	again, err := r.maintain(ctx)
	r.upkeepTook = r.Clock.Since(began)
	if err == nil && !again {
		r.marksAt = r.Clock.Now()
	}
	return more || again, err
}

// soaking tells that the wave is complete, and still watched.
func (r *run) soaking() bool {
	phase := r.Set.Status.Phase
	return phase == v1alpha1.SetSoaking || phase == v1alpha1.SetAwaitingApproval
}

// again is when the next step is due.
func (r *run) again(step fleet.Step, more bool) time.Duration {
	if more && (!step.Bounded || r.exhausted) {
		return atOnce
	}
	due := r.Set.Spec.Interval.Duration
	if step.Again > 0 {
		due = min(due, step.Again)
	}
	for _, expected := range []struct {
		holds bool
		in    time.Duration
	}{
		{len(r.inFlight) > 0 || step.Write && !r.exhausted, r.pollInterval()},
		{step.Write && r.exhausted && r.wave != "" && len(r.inFlight) == 0 && !r.soaking(), pollEvery}, // the wave is complete, or to be counted
		{step.Recount || r.soaking(), watchEvery},
	} {
		if expected.holds {
			due = min(due, expected.in)
		}
	}
	return max(due, atOnce)
}
