package setsync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

const (
	// stepTime is how long one step goes on to write: an edit, or a pause, is noticed after it.
	stepTime = time.Second
	// writers is how many devices are written at once. How many of them talk to the hub is bounded
	// by its dispatcher.
	writers = 16
)

// question is a part of the work list.
type question struct {
	condition *query.Condition
	// places tells that the devices of percentages are picked from the answer.
	places bool
	// revision that the devices are to hold.
	revision string
}

// questions of the work list for the waves up to one.
func (r *run) workList(step fleet.Step) []question {
	revision := r.Set.Status.Revision
	if step.UpTo == len(step.Waves)-1 {
		return append(r.joinersAtOnce(step), question{condition: r.questions.Behind(revision), revision: revision})
	}
	all := r.joinersAtOnce(step)
	if conditions := step.Waves.Conditions(step.UpTo); len(conditions) > 0 {
		all = append(all, question{condition: r.questions.BehindIn(revision, conditions), revision: revision})
	}
	if step.Waves.Percentages(step.UpTo) {
		all = append(all, question{condition: r.questions.Behind(revision), places: true, revision: revision})
	}
	return all
}

// joinersAtOnce are the devices that get the stable revision out of turn.
func (r *run) joinersAtOnce(step fleet.Step) []question {
	if !r.apart(step) || r.joiners() != v1alpha1.JoinersAtOnce {
		return nil
	}
	return []question{{condition: r.questions.Unmarked(), revision: r.Set.Status.StableRevision}}
}

// apart tells that devices which hold no revision yet are told from those that hold another one:
// during a rollout from one revision to the next.
func (r *run) apart(step fleet.Step) bool {
	stable := r.Set.Status.StableRevision
	return !step.Done && stable != "" && stable != r.Set.Status.Revision && r.joiners() != v1alpha1.JoinersAfterTheirWave
}

// joiners is when devices that join get a revision. Where the one before is lost, they wait for the next.
func (r *run) joiners() v1alpha1.Joiners {
	declared := r.Set.Spec.Rollout.Joiners
	if _, kept := r.Revisions[r.Set.Status.StableRevision]; !kept && declared == v1alpha1.JoinersAtOnce {
		return v1alpha1.JoinersAfterTheirWave
	}
	return declared
}

// work follows the work list and writes, for about a second. It tells whether it came to the
// end of the list without anything to write.
func (r *run) work(ctx context.Context, step fleet.Step) error {
	list := r.workList(step)
	until := r.Clock.Now().Add(stepTime)
	if step.Bounded {
		return r.batch(ctx, step, list)
	}
	writing, inner := r.startWriting(ctx, min(writers, int(r.inFlightAtMost(step))))
	var failed error
	for pages := r.readAhead(inner, step, list); pages != nil; {
		read := <-pages
		if failed = read.err; failed != nil {
			break
		}
		pages = nil
		// A pass that is at its end is not begun anew: it would show what is being written.
		if r.at != (position{}) && !r.exhausted && r.Clock.Now().Before(until) && inner.Err() == nil {
			pages = r.readAhead(inner, step, list)
		}
		writing.hand(read.targets)
	}
	err := writing.wait()
	if err != nil && errors.Is(failed, context.Canceled) {
		return err // the page was not read since a write had failed
	}
	return errors.Join(err, failed)
}

// pageRead is a page of the work list.
type pageRead struct {
	targets []target
	err     error
}

// readAhead reads the next page of the work list while the devices of the one before are written: the hub
// takes as long for a page as for several writes. Only one page is read at a time.
func (r *run) readAhead(ctx context.Context, step fleet.Step, list []question) <-chan pageRead {
	read := make(chan pageRead, 1)
	go func() {
		targets, err := r.nextPage(ctx, step, list)
		read <- pageRead{targets, err}
	}()
	return read
}

// inFlightAtMost is how many writes may be under way where nothing is waited for.
func (r *run) inFlightAtMost(step fleet.Step) int32 {
	if own := step.Waves[step.UpTo].MaxInFlight; own > 0 {
		return own
	}
	return max(1, r.Set.Spec.Rollout.MaxInFlight)
}

// one writes one device and notes what became of it.
func (r *run) one(ctx context.Context, t target) error {
	done, err := r.write(ctx, t)
	if err == nil || done.written {
		r.note(t, done)
	}
	return err
}

// writing is what writes several devices at once. A goroutine for each device would grow its stack for each.
type writing struct {
	group   *errgroup.Group
	failed  <-chan struct{}
	targets chan target
}

// startWriting has so many devices at most written at once, until one of them fails: then the context ends.
func (r *run) startWriting(ctx context.Context, atOnce int) (*writing, context.Context) {
	group, inner := errgroup.WithContext(ctx)
	w := &writing{group: group, failed: inner.Done(), targets: make(chan target, atOnce)}
	for i := range atOnce {
		slot := fmt.Sprintf("#%d", i)
		group.Go(func() error {
			for t := range w.targets {
				t.slot = slot
				if err := r.one(inner, t); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return w, inner
}

// hand waits until each device is in line, which is no longer than those that are being written, or one has failed.
func (w *writing) hand(targets []target) {
	for _, t := range targets {
		select {
		case w.targets <- t:
		case <-w.failed:
			return
		}
	}
}

// wait is for all to be written, and returns the error of the first that failed.
func (w *writing) wait() error {
	close(w.targets)
	return w.group.Wait()
}

// nextPage reads one page of the work list, and moves on behind it. What is left on it to be
// written is returned.
func (r *run) nextPage(ctx context.Context, step fleet.Step, list []question) ([]target, error) {
	if r.at.question >= len(list) {
		r.at = position{}
	}
	q := list[r.at.question]
	twins, next, err := r.candidates(ctx, step, q)
	if err != nil {
		return nil, err
	}
	targets, err := r.eligible(step, q, twins)
	if err != nil {
		return nil, err
	}
	r.at.wrote = r.at.wrote || len(targets) > 0
	r.at.next = next
	if next.ended() {
		r.at.question++
	}
	if r.at.question >= len(list) {
		r.exhausted = !r.at.wrote
		r.passedAt = r.Clock.Now()
		r.at = position{}
	}
	return targets, nil
}

// candidates are the twins of one page.
func (r *run) candidates(ctx context.Context, step fleet.Step, q question) ([]*hub.Twin, continuation, error) {
	if !q.places {
		return r.page(ctx, q.condition, r.at.next)
	}
	var ids []string
	next, err := r.goOn(ctx, q.condition, r.at.next, func(ctx context.Context, where, token string) (string, error) {
		page, err := r.Hub.Session.FindPage(ctx, hub.PageSelection{
			Selection: hub.Selection{From: hub.Devices, Where: where}, Columns: idColumn(), Continue: token,
		})
		for _, row := range page.Rows {
			if step.Waves.TakenBy(row.ID.Device, q.revision, step.UpTo) && r.Hub.Scope.Covers(row.ID.Device) {
				ids = append(ids, row.ID.Device)
			}
		}
		return page.Continue, err
	})
	if err != nil || len(ids) == 0 {
		return nil, next, err
	}
	twins, err := r.read(ctx, ids)
	if err != nil {
		return nil, next, err
	}
	twins, err = r.stillSelected(twins)
	return twins, next, err
}

// stillSelected leaves out the devices that have left since their ids were read: a twin that was read by its
// id alone may be one that the set does not select, and its etag is no protection then.
func (r *run) stillSelected(twins []*hub.Twin) ([]*hub.Twin, error) {
	var selected []*hub.Twin
	for _, held := range twins {
		is, err := r.selects(held)
		if err != nil {
			return nil, err
		}
		if is {
			selected = append(selected, held)
		}
	}
	return selected, nil
}

// idColumn selects nothing but ids.
func idColumn() *query.Projection {
	// The path is one that every twin has.
	columns, _ := query.ParseProjection([]string{"deviceId"})
	return columns
}

// read reads twins by their ids, as the index has them.
func (r *run) read(ctx context.Context, ids []string) ([]*hub.Twin, error) {
	var twins []*hub.Twin
	for _, batch := range hub.Batches(ids, "") {
		err := r.permitted(ctx, dispatch.Evaluations, queryNeed, "page", func(ctx context.Context) error {
			return r.Hub.Session.FindTwins(ctx, hub.Devices, batch, func(held *hub.Twin) { twins = append(twins, held) }, nil)
		})
		if err != nil {
			return nil, err
		}
	}
	return twins, nil
}

// eligible are those that may be written now.
func (r *run) eligible(step fleet.Step, q question, twins []*hub.Twin) ([]target, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var targets []target
	for _, held := range twins {
		if r.dealtWith(held) {
			continue
		}
		_, marked := fleet.MarkerOf(held.Tags, r.name)
		if !marked && r.apart(step) && q.revision == r.Set.Status.Revision {
			continue // it joined
		}
		waveOf := func(held *hub.Twin) (string, bool, error) {
			wave, err := step.Waves.Of(held.ID.Device, q.revision, held.Document)
			return step.Waves[wave].Name, wave <= step.UpTo || q.revision != r.Set.Status.Revision, err
		}
		wave, may, err := waveOf(held)
		if err != nil {
			return nil, err
		}
		if may {
			targets = append(targets, target{held: held, revision: q.revision, wave: wave, waveOf: waveOf, cause: CauseRollout})
		}
	}
	return targets, nil
}

// dealtWith tells that a row needs nothing now: it is late, or its device cannot be written.
func (p *progress) dealtWith(row *hub.Twin) bool {
	if p.recent.has(row) {
		return true
	}
	found, known := p.refused.Get(row.ID.Device)
	at, _ := found.(time.Time)
	return known && p.recent.clock.Now().Before(at)
}

// batch writes as many devices as there is room for, which are noted in the status before: how many
// are in flight holds over a restart as well.
func (r *run) batch(ctx context.Context, step fleet.Step, list []question) error {
	var targets []target
	room := int(step.Most)
	for room > len(targets) && !r.exhausted {
		before := r.at
		found, err := r.nextPage(ctx, step, list)
		if err != nil {
			return err
		}
		if left := room - len(targets); len(found) > left {
			found, r.at = found[:left], before // the rest of the page comes again
			r.at.wrote, r.exhausted = true, false
			targets = append(targets, found...)
			break
		}
		targets = append(targets, found...)
		if r.at == (position{}) {
			break // the next pass would show them again
		}
	}
	if len(targets) == 0 {
		return nil
	}
	for _, t := range targets {
		if t.revision == r.revision {
			r.inFlight[t.held.ID.Device] = struct{}{}
		}
	}
	if err := r.ahead(ctx); err != nil {
		return err
	}
	return r.writeAll(ctx, targets)
}

func (r *run) writeAll(ctx context.Context, targets []target) error {
	writing, _ := r.startWriting(ctx, min(writers, len(targets)))
	writing.hand(targets)
	return writing.wait()
}
