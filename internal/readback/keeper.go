package readback

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// Settings say how often a hub is asked.
type Settings struct {
	// Interval between two questions what moved.
	Interval time.Duration
	// FullSweep is the interval between two looks at all twins.
	FullSweep time.Duration
	// PagePause is how long a look at all twins rests after each page, so that it
	// leaves room for other queries.
	PagePause time.Duration
}

// State is what a hub's read-back comes to.
type State struct {
	// Interval and FullSweep are how long it really takes from one to the next; 0
	// while that is not known.
	Interval, FullSweep time.Duration
	// Why says what stretches them, or keeps them from being of any use.
	Why string
}

// keeper follows the twins of one hub.
type keeper struct {
	clock   clock.Clock
	book    *book
	failing func()

	mu       sync.Mutex
	session  hub.Session
	settings Settings
	state    State
	err      error

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
		session, settings := k.current()
		if session != nil {
			k.note(ctx, k.cycle(ctx, session, settings))
		}
		took := k.clock.Since(start)
		k.mu.Lock()
		k.state.Interval = max(settings.Interval, took)
		k.mu.Unlock()
		if !k.idle(ctx, settings.Interval-took) {
			return
		}
	}
}

// gather is how long what is wanted is collected, so that few queries read it.
const gather = 200 * time.Millisecond

// idle waits for the next question, and reads meanwhile what is asked for.
func (k *keeper) idle(ctx context.Context, wait time.Duration) bool {
	next := k.clock.NewTimer(max(wait, 0))
	defer next.Stop()
	for {
		select {
		case <-next.C():
			return true
		case <-ctx.Done():
			return false
		case <-k.book.asked:
		}
		if !k.pause(ctx, gather) {
			return false
		}
		session, _ := k.current()
		if session == nil {
			continue
		}
		var errs []error
		for _, from := range sources {
			errs = append(errs, k.read(ctx, session, from))
		}
		k.note(ctx, errors.Join(errs...)) // what one source came to is not the other's
	}
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
	managed := devicesOf(k.book.managed(from))
	batches := hub.Batches(managed)
	if len(batches) == 0 {
		return nil
	}
	mark := k.marks[from]
	if still, err := k.busy(); still || err != nil {
		if !mark.usable() || err != nil {
			return err
		}
		return k.delta(ctx, session, from)
	}
	switch {
	case len(batches) <= max(1, mark.pages):
		return k.finish(k.sweep(ctx, session, from, batches, Settings{}))
	case !mark.usable():
		return k.finish(k.sweep(ctx, session, from, batches, settings))
	case k.clock.Since(k.sweptAt[from]) >= settings.FullSweep:
		ended := make(chan swept, 1)
		k.sweeping = ended
		go func() { ended <- k.sweep(ctx, session, from, batches, settings) }()
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
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state.FullSweep = max(k.settings.FullSweep, result.took)
	return nil
}

// delta asks what was written since it was asked last.
func (k *keeper) delta(ctx context.Context, session hub.Session, from hub.Source) error {
	mark := k.marks[from]
	start, newest := k.clock.Now(), mark.newest
	var late time.Duration
	pages := 0
	err := session.Look(ctx, hub.Look{From: from, Since: mark.since()}, func(page []hub.Sighting) error {
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
// cheaper.
func (k *keeper) sweep(ctx context.Context, session hub.Session, from hub.Source, batches [][]string, settings Settings) swept {
	k.book.beginSweep()
	result := swept{from: from, start: k.clock.Now()}
	seen := func(page []hub.Sighting) error {
		k.book.look(page, true, time.Time{}, k.clock.Now())
		result.newest = newestOf(page, result.newest)
		if !k.pause(ctx, settings.PagePause) {
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
	result.took, result.err = k.clock.Since(result.start), err
	if err == nil {
		k.book.endSweep(from)
	}
	return result
}

// looks show all managed twins with as few pages as possible.
func (k *keeper) looks(ctx context.Context, session hub.Session, from hub.Source, batches [][]string) ([]hub.Look, error) {
	if len(batches) > 1 {
		total, err := session.Count(ctx, from)
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
	for _, batch := range hub.Batches(devicesOf(wanted)) {
		if err := k.awaitRoom(ctx); err != nil {
			return err
		}
		err := session.FindTwins(ctx, from, batch, func(twin *hub.Twin) { k.book.offer(twin, k.clock.Now()) })
		if err != nil {
			return err
		}
		k.book.absent(slices.DeleteFunc(slices.Clone(wanted), func(id hub.ID) bool {
			_, asked := slices.BinarySearch(batch, id.Device)
			return !asked
		}))
	}
	return nil
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
