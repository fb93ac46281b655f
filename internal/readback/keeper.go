package readback

import (
	"context"
	"errors"
	"slices"
	"sort"
	"sync"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// keeper follows the twins of one hub.
type keeper struct {
	clock   clock.Clock
	book    *book
	failing func()

	mu       sync.Mutex
	session  hub.Session
	settings Settings
	err      error
	// lookTime is how long it takes to find out what moved and to read it, sweepTime how long to look at all twins.
	lookTime, sweepTime duration

	// Used by run alone.
	marks    map[hub.Source]*mark
	sweptAt  map[hub.Source]time.Time
	sweeping chan swept // takes what the sweep beside the deltas came to; nil when there is none
}

// swept is what a look at all twins came to.
type swept struct {
	from   hub.Source
	start  time.Time
	took   time.Duration
	newest time.Time
	err    error
}

var sources = [...]hub.Source{hub.Devices, hub.Modules}

func newKeeper(c clock.Clock, b *book, failing func()) *keeper {
	return &keeper{
		clock: c, book: b, failing: failing,
		marks:   map[hub.Source]*mark{hub.Devices: {}, hub.Modules: {}},
		sweptAt: map[hub.Source]time.Time{},
	}
}

func (k *keeper) current() (hub.Session, Settings) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.session, k.settings
}

// run asks until ctx ends.
func (k *keeper) run(ctx context.Context) {
	defer func() {
		if k.sweeping != nil {
			<-k.sweeping
		}
	}()
	for {
		start := k.clock.Now()
		if session, _ := k.current(); session != nil {
			k.note(ctx, k.timed(&k.lookTime, func() error { return k.cycle(ctx, session, k.paced()) }))
		}
		if !k.idle(ctx, start) {
			return
		}
	}
}

// gather is how long what is wanted is collected, so that few queries read it.
const gather = 200 * time.Millisecond

// idle waits for the next question after one that began at start, and reads meanwhile
// what is asked for. It looks each declared interval whether the pace is another one by
// now.
func (k *keeper) idle(ctx context.Context, start time.Time) bool {
	for {
		_, declared := k.current()
		rest := k.paced().Interval - k.clock.Since(start)
		next := k.clock.NewTimer(max(min(rest, declared.Interval), 0))
		asked := false
		select {
		case <-next.C():
		case <-ctx.Done():
		case <-k.book.asked:
			asked = true
		}
		next.Stop()
		switch {
		case ctx.Err() != nil:
			return false
		case asked:
			if !k.readAsked(ctx) {
				return false
			}
		case k.clock.Since(start) >= k.paced().Interval:
			return true
		}
	}
}

// readAsked reads what was asked for, with what is asked for a moment later; false tells
// that ctx ended.
func (k *keeper) readAsked(ctx context.Context) bool {
	if !k.pause(ctx, gather) {
		return false
	}
	session, _ := k.current()
	if session == nil {
		return true
	}
	var errs []error
	for _, from := range sources {
		errs = append(errs, k.read(ctx, session, from))
	}
	k.note(ctx, errors.Join(errs...)) // what one source came to is not the other's
	return true
}

// note keeps what a question came to, and logs it when that changed.
func (k *keeper) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // the error is our own end
	}
	k.mu.Lock()
	news := (err == nil) != (k.err == nil) || hub.ReasonOf(err) != hub.ReasonOf(k.err)
	k.err = err
	k.mu.Unlock()
	switch {
	case !news:
	case err != nil:
		log.FromContext(ctx).Error(err, "the hub does not tell what moved; it is asked again at the next interval")
		k.failing()
	default:
		log.FromContext(ctx).V(1).Info("the hub tells what moved")
	}
}

// pause waits; it returns false when ctx ended.
func (k *keeper) pause(ctx context.Context, wait time.Duration) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := k.clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// cycle asks once what moved, and reads that.
func (k *keeper) cycle(ctx context.Context, session hub.Session, settings Settings) error {
	for _, from := range sources {
		if err := errors.Join(k.ask(ctx, session, settings, from), k.read(ctx, session, from)); err != nil {
			return err
		}
	}
	return nil
}

// ask looks for what moved: at all twins where that takes no more queries than to
// ask what was written.
func (k *keeper) ask(ctx context.Context, session hub.Session, settings Settings, from hub.Source) error {
	managed := k.book.count(from)
	if managed == 0 {
		return nil
	}
	mark := k.marks[from]
	if still, err := k.busy(); still || err != nil {
		if !mark.usable() || err != nil {
			return err
		}
		return k.delta(ctx, session, from)
	}
	due := k.clock.Since(k.sweptAt[from]) >= settings.FullSweep
	few := managed <= max(1, mark.pages)*hub.PageRows
	if mark.usable() && !due && !few {
		return k.delta(ctx, session, from) // it needs no list of what is managed
	}
	batches := hub.Batches(devicesOf(k.book.beginSweep(from)), "")
	switch {
	case len(batches) == 0:
		return nil // meanwhile there is nothing
	case len(batches) <= max(1, mark.pages):
		return k.finish(k.sweep(ctx, session, from, batches, false))
	case !mark.usable():
		return k.finish(k.sweep(ctx, session, from, batches, false)) // there is nothing beside it yet
	case due:
		ended := make(chan swept, 1)
		k.sweeping = ended
		go func() { ended <- k.sweep(ctx, session, from, batches, true) }()
	}
	return k.delta(ctx, session, from)
}

// busy tells whether a sweep is going on beside the deltas; err is what one that
// ended failed at.
func (k *keeper) busy() (still bool, err error) {
	if k.sweeping == nil {
		return false, nil
	}
	select {
	case result := <-k.sweeping:
		k.sweeping = nil
		return false, k.finish(result)
	default:
		return true, nil
	}
}

// finish takes over what a sweep came to.
func (k *keeper) finish(result swept) error {
	if result.err != nil {
		return result.err
	}
	k.marks[result.from].swept(result.newest, result.start, result.start.Add(result.took))
	k.sweptAt[result.from] = result.start
	return nil
}

// delta asks what was written since it was asked last.
func (k *keeper) delta(ctx context.Context, session hub.Session, from hub.Source) error {
	mark := k.marks[from]
	start, newest := k.clock.Now(), mark.newest
	var late time.Duration
	pages := 0
	err := session.Look(dispatch.Urgent(ctx), hub.Look{From: from, Since: mark.since()}, func(page []hub.Sighting) error {
		pages++
		late = max(late, k.book.look(page, false, mark.newest, k.clock.Now()))
		newest = newestOf(page, newest)
		return nil
	})
	if hub.ReasonOf(err) == hub.ReasonRefused {
		mark.silent = maxSilent
	}
	if err != nil {
		return err
	}
	mark.delta(newest, start, k.clock.Now(), late, pages)
	return nil
}

func newestOf(page []hub.Sighting, newest time.Time) time.Time {
	for _, s := range page {
		if s.Written.After(newest) {
			newest = s.Written
		}
	}
	return newest
}

// sweep looks at all managed twins: by their ids, or at the whole hub where that is
// cheaper; gently where it goes on beside the deltas.
func (k *keeper) sweep(ctx context.Context, session hub.Session, from hub.Source, batches [][]string, gently bool) swept {
	result := swept{from: from, start: k.clock.Now()}
	result.err = k.timed(&k.sweepTime, func() (err error) {
		result.newest, err = k.lookAtAll(ctx, session, from, batches, gently)
		return err
	})
	result.took = k.clock.Since(result.start)
	return result
}

// lookAtAll also returns the newest write that was shown.
func (k *keeper) lookAtAll(
	ctx context.Context, session hub.Session, from hub.Source, batches [][]string, gently bool,
) (newest time.Time, err error) {
	seen := func(page []hub.Sighting) error {
		k.book.look(page, true, time.Time{}, k.clock.Now())
		newest = newestOf(page, newest)
		if gently && !k.pause(ctx, pagePause(session.Dispatcher().Rate(dispatch.Queries).PerSecond)) {
			return ctx.Err()
		}
		return nil
	}
	looks, err := k.looks(ctx, session, from, batches)
	for _, look := range looks {
		if err == nil {
			err = session.Look(ctx, look, seen)
		}
	}
	if err == nil {
		k.book.endSweep(from)
	}
	return newest, err
}

// looks show all managed twins with as few pages as possible.
func (k *keeper) looks(ctx context.Context, session hub.Session, from hub.Source, batches [][]string) ([]hub.Look, error) {
	if len(batches) > 1 {
		total, err := session.Count(ctx, from, "")
		if err != nil {
			return nil, err
		}
		if pages := (total + hub.PageRows - 1) / hub.PageRows; pages <= int64(len(batches)) {
			return []hub.Look{{From: from}}, nil
		}
	}
	looks := make([]hub.Look, len(batches))
	for i, batch := range batches {
		looks[i] = hub.Look{From: from, Batch: batch}
	}
	return looks, nil
}

// read reads the twins that moved.
func (k *keeper) read(ctx context.Context, session hub.Session, from hub.Source) error {
	wanted := k.book.wantedOf(from)
	for _, batch := range hub.Batches(devicesOf(wanted), "") {
		if err := k.awaitRoom(ctx); err != nil {
			return err
		}
		err := session.FindTwins(dispatch.Urgent(ctx), from, batch, func(twin *hub.Twin) { k.book.offer(twin, k.clock.Now()) }, nil)
		if err != nil {
			return err
		}
		asked := upTo(wanted, batch[len(batch)-1]) // what is wanted is sorted, and cut into batches in that order
		k.book.absent(asked)
		wanted = wanted[len(asked):]
	}
	return nil
}

// upTo are the first of sorted ids, up to those of a device.
func upTo(ids []hub.ID, device string) []hub.ID {
	return ids[:sort.Search(len(ids), func(i int) bool { return ids[i].Device > device })]
}

// awaitRoom waits until documents that were read before have been taken.
func (k *keeper) awaitRoom(ctx context.Context) error {
	for k.book.full() {
		select {
		case <-k.book.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// devicesOf are the device ids of sorted ids, each once.
func devicesOf(ids []hub.ID) []string {
	devices := make([]string, 0, len(ids))
	for _, id := range ids {
		devices = append(devices, id.Device)
	}
	return slices.Compact(devices)
}
