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
	FindRows(ctx context.Context, look hub.RowSelection, seen func(page []hub.IndexRow) error) error
	Count(ctx context.Context, from hub.Source, where string) (int64, error)
	FindTwins(ctx context.Context, from hub.Source, batch []string, found func(*hub.Twin), unreadable func(hub.Unreadable)) error
}

// poller follows the twins of one hub.
type poller struct {
	clock        clock.Clock
	fingerprints *fingerprints
	failing      func()
	soonest      time.Duration // that counts as late

	mu       sync.Mutex
	session  Session
	settings Settings
	err      error
	// deltaTime is how long it takes to find out what moved and to read it, readTime how long to read what was asked for
	// between two queries, sweepTimes how long a full sweep takes.
	deltaTime  duration
	readTime   duration
	sweepTimes map[hub.Source]*duration
	ages       ages
	odd        oddRows
	// lags are how late the hub's index was seen to show a write; they fade.
	lags map[hub.Source]time.Duration

	// Used by run alone.
	watermarks map[hub.Source]*watermark
	sweptAt    map[hub.Source]time.Time
	sweeping   map[hub.Source]chan swept // takes what a sweep beside the deltas came to; nil when there is none
	more       bool                      // documents are wanted that there was no room for

	// ended is signalled when a sweep beside the deltas has ended.
	ended chan struct{}
}

var sources = [...]hub.Source{hub.Devices, hub.Modules}

func newPoller(c clock.Clock, b *fingerprints, soonest time.Duration, failing func()) *poller {
	return &poller{
		clock: c, fingerprints: b, soonest: soonest, failing: failing,
		watermarks: map[hub.Source]*watermark{hub.Devices: {}, hub.Modules: {}},
		sweptAt:    map[hub.Source]time.Time{},
		sweepTimes: map[hub.Source]*duration{hub.Devices: {}, hub.Modules: {}},
		sweeping:   map[hub.Source]chan swept{},
		lags:       map[hub.Source]time.Duration{},
		ages:       newAges(c.Now()),
		ended:      make(chan struct{}, 1),
	}
}

func (p *poller) current() (Session, Settings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session, p.settings
}

// serve goes on through a session, or with other settings.
func (p *poller) serve(session Session, settings Settings) {
	p.fingerprints.bound(settings.FullSweep)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil || session != nil && session.Host() != p.session.Host() {
		p.ages = newAges(p.clock.Now())
	}
	p.session, p.settings = session, settings
}

// run asks until ctx ends.
func (p *poller) run(ctx context.Context) {
	defer func() {
		for _, from := range sources {
			if ended := p.sweeping[from]; ended != nil {
				<-ended
			}
		}
	}()
	for {
		start := p.clock.Now()
		if session, _ := p.current(); session != nil {
			p.note(ctx, p.timed(&p.deltaTime, func() error { return p.cycle(ctx, session, p.paced()) }))
		}
		if !p.idle(ctx, start) {
			return
		}
	}
}

// gather is how long what is wanted is collected, so that few queries read it.
const gather = 200 * time.Millisecond

// idle waits for the next query after one that began at start, and reads meanwhile
// what is asked for. It checks each declared interval whether the pace is another one by
// now.
func (p *poller) idle(ctx context.Context, start time.Time) bool {
	for {
		_, declared := p.current()
		rest := max(min(p.paced().Interval-p.clock.Since(start), declared.Interval), 0)
		var room <-chan struct{}
		if p.more {
			room, rest = p.fingerprints.room, min(rest, pendingPatience)
		}
		next := p.clock.NewTimer(rest)
		again, collect := p.more, time.Duration(0)
		select {
		case <-next.C():
		case <-ctx.Done():
		case <-room:
		case <-p.ended:
			again = true
		case <-p.fingerprints.asked:
			again, collect = true, gather
		}
		next.Stop()
		switch {
		case ctx.Err() != nil:
			return false
		case p.clock.Since(start) >= p.paced().Interval:
			return true
		case again && !p.readAgain(ctx, collect):
			return false
		}
	}
}

// readAgain reads what was asked for, with what is asked for a moment later, and what a sweep that has ended found;
// false tells that ctx ended.
func (p *poller) readAgain(ctx context.Context, collect time.Duration) bool {
	if !p.pause(ctx, collect) {
		return false
	}
	session, _ := p.current()
	if session == nil {
		return true
	}
	p.more = false
	p.note(ctx, p.timed(&p.readTime, func() error {
		var errs []error
		for _, from := range sources { // what one source came to is not the other's
			_, err := p.busy(from)
			errs = append(errs, err, p.read(ctx, session, from, &p.readTime))
		}
		return errors.Join(errs...)
	}))
	return true
}

// note keeps what a query came to, and logs it when that changed.
func (p *poller) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // the error is our own end
	}
	p.mu.Lock()
	news := (err == nil) != (p.err == nil) || hub.ReasonOf(err) != hub.ReasonOf(p.err)
	p.err = err
	p.mu.Unlock()
	switch {
	case !news:
	case err != nil:
		log.FromContext(ctx).Error(err, "the hub does not tell what moved; it is asked again at the next interval")
		p.failing()
	default:
		log.FromContext(ctx).V(1).Info("the hub tells what moved")
	}
}

// pause waits; it returns false when ctx ended.
func (p *poller) pause(ctx context.Context, wait time.Duration) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := p.clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// cycle asks once what moved, and reads that. What one source comes to is not the other's.
func (p *poller) cycle(ctx context.Context, session Session, settings Settings) error {
	p.more = false
	var errs []error
	for _, from := range sources {
		asked, err := p.ask(ctx, session, settings, from)
		err = errors.Join(err, p.read(ctx, session, from, &p.deltaTime))
		if asked && err == nil {
			p.polled(from)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
