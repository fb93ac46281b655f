package readback

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// Session is what the read-back asks a hub.
type Session interface {
	Host() string
	Dispatcher() *dispatch.Share
	Look(ctx context.Context, look hub.Look, seen func(page []hub.Sighting) error) error
	Count(ctx context.Context, from hub.Source, where string) (int64, error)
	FindTwins(ctx context.Context, from hub.Source, batch []string, found func(*hub.Twin), unreadable func(hub.Unreadable)) error
}

// keeper follows the twins of one hub.
type keeper struct {
	clock   clock.Clock
	book    *book
	failing func()
	soonest time.Duration // that counts as late

	mu       sync.Mutex
	session  Session
	settings Settings
	err      error
	// lookTime is how long it takes to find out what moved and to read it, readTime how long to read what was asked for
	// between two looks, sweepTimes how long to look at all twins.
	lookTime   duration
	readTime   duration
	sweepTimes map[hub.Source]*duration
	ages       ages
	odd        oddRows

	// Used by run alone.
	marks    map[hub.Source]*mark
	sweptAt  map[hub.Source]time.Time
	sweeping map[hub.Source]chan swept // takes what a sweep beside the deltas came to; nil when there is none
	more     bool                      // documents are wanted that there was no room for

	// ended is signalled when a sweep beside the deltas has ended.
	ended chan struct{}
}

var sources = [...]hub.Source{hub.Devices, hub.Modules}

func newKeeper(c clock.Clock, b *book, soonest time.Duration, failing func()) *keeper {
	return &keeper{
		clock: c, book: b, soonest: soonest, failing: failing,
		marks:      map[hub.Source]*mark{hub.Devices: {}, hub.Modules: {}},
		sweptAt:    map[hub.Source]time.Time{},
		sweepTimes: map[hub.Source]*duration{hub.Devices: {}, hub.Modules: {}},
		sweeping:   map[hub.Source]chan swept{},
		ages:       newAges(c.Now()),
		ended:      make(chan struct{}, 1),
	}
}

func (k *keeper) current() (Session, Settings) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.session, k.settings
}

// serve goes on through a session, or with other settings.
func (k *keeper) serve(session Session, settings Settings) {
	k.book.bound(settings.FullSweep)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.session == nil || session != nil && session.Host() != k.session.Host() {
		k.ages = newAges(k.clock.Now())
	}
	k.session, k.settings = session, settings
}

// run asks until ctx ends.
func (k *keeper) run(ctx context.Context) {
	defer func() {
		for _, from := range sources {
			if ended := k.sweeping[from]; ended != nil {
				<-ended
			}
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
		rest := max(min(k.paced().Interval-k.clock.Since(start), declared.Interval), 0)
		var room <-chan struct{}
		if k.more {
			room, rest = k.book.room, min(rest, handPatience)
		}
		next := k.clock.NewTimer(rest)
		again, collect := k.more, time.Duration(0)
		select {
		case <-next.C():
		case <-ctx.Done():
		case <-room:
		case <-k.ended:
			again = true
		case <-k.book.asked:
			again, collect = true, gather
		}
		next.Stop()
		switch {
		case ctx.Err() != nil:
			return false
		case k.clock.Since(start) >= k.paced().Interval:
			return true
		case again && !k.readAgain(ctx, collect):
			return false
		}
	}
}

// readAgain reads what was asked for, with what is asked for a moment later, and what a sweep that has ended found;
// false tells that ctx ended.
func (k *keeper) readAgain(ctx context.Context, collect time.Duration) bool {
	if !k.pause(ctx, collect) {
		return false
	}
	session, _ := k.current()
	if session == nil {
		return true
	}
	k.more = false
	k.note(ctx, k.timed(&k.readTime, func() error {
		var errs []error
		for _, from := range sources { // what one source came to is not the other's
			_, err := k.busy(from)
			errs = append(errs, err, k.read(ctx, session, from, &k.readTime))
		}
		return errors.Join(errs...)
	}))
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

// cycle asks once what moved, and reads that. What one source comes to is not the other's.
func (k *keeper) cycle(ctx context.Context, session Session, settings Settings) error {
	k.more = false
	var errs []error
	for _, from := range sources {
		asked, err := k.ask(ctx, session, settings, from)
		err = errors.Join(err, k.read(ctx, session, from, &k.lookTime))
		if asked && err == nil {
			k.looked(from)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
