package setsync

import (
	"context"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// driftPages and sweepPages are how many pages without anything to do are read of a check before it
// goes on with the next interval: what a set asks of a hub where all is in step does not grow
// with its devices. A page of whole twins is some 25 messages of a small hub.
const (
	driftPages = 2
	sweepPages = 1
)

// maintain keeps devices in step that hold a revision: what another writer changed, and what
// left. It tells whether there is more to do at once.
func (r *run) maintain(ctx context.Context) (more bool, err error) {
	for _, check := range []func(context.Context) (bool, error){r.leavers, r.drifted, r.sweepAll} {
		again, err := check(ctx)
		if err != nil {
			return false, err
		}
		more = more || again
	}
	return more, nil
}

// drifted restores scalar leaves that another writer changed, which a query finds.
func (r *run) drifted(ctx context.Context) (more bool, err error) {
	var asked []question
	for _, revision := range r.standing() {
		declared, err := r.declares(revision)
		if err != nil {
			return false, err
		}
		for _, condition := range fleet.Drifted(r.questions.Written(revision), declared, r.policies) {
			asked = append(asked, question{condition: condition, revision: revision})
		}
	}
	return r.check(ctx, &r.drift, asked, driftPages)
}

// standing are the revisions that devices hold rightly: the one that is brought to them, and
// during a rollout the one before.
func (r *run) standing() []string {
	stable := r.Set.Status.StableRevision
	if _, kept := r.Revisions[stable]; kept && stable != r.revision {
		return []string{r.revision, stable}
	}
	return []string{r.revision}
}

// sweepAll reads all documents now and then: it finds what no query compares.
func (r *run) sweepAll(ctx context.Context) (more bool, err error) {
	if !r.sweptAt.IsZero() && r.Clock.Since(r.sweptAt) < r.Hub.Spec.ReadBack.FullSweep() {
		return false, nil
	}
	if r.Hub.Session.Dispatcher().Messages().Pressure != dispatch.NoPressure {
		return false, nil // what is left of the day's messages is for writes
	}
	var asked []question
	for _, revision := range r.standing() {
		asked = append(asked, question{condition: r.questions.Written(revision), revision: revision})
	}
	before := r.conflicts
	more, err = r.check(ctx, &r.sweep, asked, sweepPages)
	r.swept += r.conflicts - before
	if err == nil && r.sweep == (position{}) {
		r.sweptAt = r.Clock.Now()
		r.counts.Conflicting, r.swept = r.swept, 0
	}
	return more, err
}

// check follows the answers to some questions, and restores the twins in them that need it. It goes on
// as long as there is something to restore.
func (r *run) check(ctx context.Context, at *position, asked []question, pages int) (more bool, err error) {
	if len(asked) == 0 {
		return false, nil
	}
	until := r.Clock.Now().Add(stepTime)
	for idle := 0; idle < pages; {
		if at.question >= len(asked) {
			*at = position{}
		}
		q := asked[at.question]
		twins, next, err := r.page(ctx, q.condition, at.next)
		if err != nil {
			return false, err
		}
		wrote, err := r.restoreAll(ctx, q.revision, twins)
		if err != nil {
			return false, err
		}
		if !wrote {
			idle++
		}
		if at.next = next; next.ended() {
			at.question++
		}
		if at.question >= len(asked) {
			*at = position{}
			return false, nil
		}
		if r.Clock.Now().After(until) {
			return wrote, nil
		}
	}
	return false, nil
}

// restoreAll brings twins back into step that hold a revision. It tells whether any was changed.
func (r *run) restoreAll(ctx context.Context, revision string, twins []*hub.Twin) (wrote bool, err error) {
	var targets []target
	for _, held := range twins {
		marker, ok := fleet.MarkerOf(held.Tags, r.name)
		if ok && marker.Revision == revision && !r.dealtWith(held) {
			targets = append(targets, target{held: held, revision: revision, wave: marker.Wave, cause: CauseDrift})
		}
	}
	before := r.changes
	err = r.writeAll(ctx, targets)
	return r.changes > before, err
}

// leavers clears devices that hold a revision and are not selected any more. Two counts tell
// whether there are any; which ones they are, no query does, since one that has no answer to
// the selector has none to its negation.
func (r *run) leavers(ctx context.Context) (more bool, err error) {
	marked, err := r.questions.Marked()
	if err != nil {
		return false, err
	}
	if !r.leaving {
		all, err := r.count(ctx, marked)
		if err != nil {
			return false, err
		}
		selected, err := r.count(ctx, r.questions.MarkedSelected())
		if err != nil || all <= selected {
			return false, err
		}
		r.leaving, r.leftAt = true, continuation{}
	}
	until := r.Clock.Now().Add(stepTime)
	for r.Clock.Now().Before(until) {
		twins, next, err := r.page(ctx, marked, r.leftAt)
		if err != nil {
			return false, err
		}
		targets, err := r.left(twins)
		if err != nil {
			return false, err
		}
		if err := r.writeAll(ctx, targets); err != nil {
			return false, err
		}
		if r.leftAt = next; next.ended() {
			r.leaving = false
			return false, nil
		}
	}
	return true, nil
}

// left are those that are not selected any more.
func (r *run) left(twins []*hub.Twin) ([]target, error) {
	var targets []target
	for _, held := range twins {
		if r.dealtWith(held) {
			continue
		}
		selected, err := r.selects(held)
		if err != nil {
			return nil, err
		}
		if !selected {
			targets = append(targets, target{held: held, cause: CauseLeave, markerAlone: r.Set.Spec.OnLeave != v1alpha1.SetClear})
		}
	}
	return targets, nil
}
