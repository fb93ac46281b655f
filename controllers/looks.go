package controllers

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

const (
	// lookShare is what all looks at a hub take of its rate of queries: what moved and
	// the TwinQueries themselves have the rest.
	lookShare = 0.1
	// longestLook is how many intervals of a TwinQuery lie between two looks for it at
	// most, as far as the hub's rate allows: a look of fewer pages is due as much sooner.
	longestLook = 10
)

// looks find out which DeviceTwins belong to the answers that are too large to list,
// beside all else and gently.
type looks struct {
	ctx    context.Context
	timers clock.Clock
	clock  clock.PassiveClock
	reader client.Reader
	// found is told who satisfies a condition, sorted, and when that was asked.
	found func(ctx context.Context, q question, devices []string, asked time.Time)

	wait  sync.WaitGroup
	mu    sync.Mutex
	known map[question]*look
	// hubs let one look at a time pass for each HubConnection: one with a small share of a
	// hub must not have another one's looks wait for it.
	hubs map[types.NamespacedName]*gate
	// ended tells that no look begins any more.
	ended bool
}

// look is the last one for a question.
type look struct {
	// ctx ends when the question is not asked any more, or its hub is gone.
	ctx     context.Context
	stop    context.CancelFunc
	running bool
	wanted  bool      // again, by another one who asked while it was running
	began   time.Time // of one that succeeded, zero for none
	pages   int
	// failed is why the last one was not answered, and failing when the first of those
	// that failed in a row began.
	failed  error
	failing time.Time
}

// gate lets one look at a time pass.
type gate struct {
	turn  chan struct{}
	users int // looks that go on or wait
	// moved is when the look that has its turn got on last.
	moved time.Time
}

func newLooks(
	ctx context.Context, timers clock.Clock, c clock.PassiveClock, reader client.Reader,
	found func(context.Context, question, []string, time.Time),
) *looks {
	return &looks{
		ctx: ctx, timers: timers, clock: c, reader: reader, found: found,
		known: map[question]*look{}, hubs: map[types.NamespacedName]*gate{},
	}
}

// Start implements manager.Runnable: it ends when the looks have ended.
func (l *looks) Start(ctx context.Context) error {
	<-ctx.Done()
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.wait.Wait()
	return nil
}

// look starts a look for a question that was asked, if one is due or wanted now.
func (l *looks) look(asked finding, interval time.Duration, wanted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.known[asked.question]
	if one == nil {
		one = &look{}
		one.ctx, one.stop = context.WithCancel(l.ctx)
		l.known[asked.question] = one
	}
	if one.running {
		one.wanted = one.wanted || wanted
		return
	}
	if l.ended || one.ctx.Err() != nil || (!wanted && l.clock.Since(one.began) < one.every(interval)) {
		return
	}
	one.running = true
	through := l.enter(asked.question.hub)
	l.wait.Go(func() {
		defer l.exit(asked.question.hub)
		l.inTurn(asked, one, through.turn)
	})
}

// enter returns the gate of a HubConnection. It has to be called with the lock held.
func (l *looks) enter(key types.NamespacedName) *gate {
	through := l.hubs[key]
	if through == nil {
		through = &gate{turn: make(chan struct{}, 1), moved: l.clock.Now()}
		l.hubs[key] = through
	}
	through.users++
	return through
}

func (l *looks) exit(key types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	through := l.hubs[key]
	if through.users--; through.users == 0 {
		delete(l.hubs, key)
	}
}

// forget ends the looks for a question that no TwinQuery asks any more.
func (l *looks) forget(q question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.known[q]; one != nil {
		one.stop()
		delete(l.known, q)
	}
}

// forgetHub ends the looks through a HubConnection that is gone.
func (l *looks) forgetHub(key types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for q, one := range l.known {
		if q.hub == key {
			one.stop()
			delete(l.known, q)
		}
	}
}

// every is how long it is to the next look at least. The intervals of the questions
// have jitter, both ways.
func (o *look) every(interval time.Duration) time.Duration {
	return interval*time.Duration(min(max(o.pages, 1), longestLook)) - time.Duration(outcome.IntervalJitter*float64(interval))
}

// inTurn looks when the looks before at the same hub have ended, and have rested.
func (l *looks) inTurn(asked finding, one *look, turn chan struct{}) {
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-one.ctx.Done():
		return
	}
	l.goesOn(asked)
	began := l.clock.Now()
	pages, err := l.members(one.ctx, asked, began)
	if one.ctx.Err() != nil {
		return // the error is our own end
	}
	if err != nil {
		log.FromContext(one.ctx).Error(err, "who belongs to a TwinQuery is not told; it is asked again after its interval",
			"hubConnection", asked.question.hub.String())
	}
	l.mu.Lock()
	if one.running = false; err == nil {
		one.began, one.pages = began, pages
	} else if one.failed == nil {
		one.failing = began
	}
	one.failed = err
	if one.wanted {
		one.began, one.wanted = time.Time{}, false // by another one who came too late for this one
	}
	l.mu.Unlock()
	if pages > 0 {
		_ = l.rest(one.ctx, asked.session) // it fails at our end only
	}
}

// members tells who satisfies a condition, and returns how many pages that took.
func (l *looks) members(ctx context.Context, asked finding, began time.Time) (pages int, err error) {
	managed, err := l.managed(ctx, asked)
	if err != nil {
		return 0, err
	}
	members := make([]string, 0, len(managed))
	pages, err = l.pages(ctx, asked, managed, func(id hub.ID) {
		if i, known := slices.BinarySearchFunc(managed, id, hub.ID.Compare); known {
			members = append(members, managed[i].String())
		}
	})
	if err != nil {
		return pages, err
	}
	slices.Sort(members)
	l.found(ctx, asked.question, slices.Clip(slices.Compact(members)), began)
	return pages, nil
}

// pages shows who satisfies a condition, and rests between the pages.
func (l *looks) pages(ctx context.Context, asked finding, managed []hub.ID, seen func(hub.ID)) (pages int, err error) {
	for i, selection := range selections(asked, managed) {
		if i > 0 {
			if err := l.rest(ctx, asked.session); err != nil {
				return pages, err
			}
		}
		err := asked.session.FindIDs(ctx, selection, func(page []hub.ID) error {
			pages++
			l.goesOn(asked)
			for _, id := range page {
				seen(id)
			}
			if len(page) < hub.PageRows || len(selection.Batch) > 0 && selection.From == hub.Devices {
				return nil // it is the last one
			}
			return l.rest(ctx, asked.session)
		})
		if err != nil {
			return pages, err
		}
	}
	return pages, nil
}

// managed are the twins that have a DeviceTwin and may be selected, sorted.
func (l *looks) managed(ctx context.Context, asked finding) ([]hub.ID, error) {
	twins, err := fieldindex.TwinsAt(ctx, l.reader, asked.question.hub, asked.question.from)
	if err != nil {
		return nil, err
	}
	var ids []hub.ID
	for i := range twins {
		if asked.scope.Covers(twins[i].Spec.DeviceID) {
			ids = append(ids, fieldindex.IDOf(&twins[i]))
		}
	}
	slices.SortFunc(ids, hub.ID.Compare)
	return slices.Compact(ids), nil
}

// selections find the managed twins that satisfy a condition: by their ids, or in the
// whole answer where that has fewer pages.
func selections(asked finding, managed []hub.ID) []hub.Selection {
	whole := hub.Selection{From: asked.question.from, Where: asked.question.text}
	if len(managed) == 0 {
		return nil
	}
	var devices []string
	for _, id := range managed {
		devices = append(devices, id.Device)
	}
	batches := hub.Batches(slices.Compact(devices), whole.Where)
	if pages := (asked.said.count + hub.PageRows - 1) / hub.PageRows; len(batches) == 0 || pages < int64(len(batches)) {
		return []hub.Selection{whole}
	}
	var narrowed []hub.Selection
	for _, batch := range batches {
		narrowed = append(narrowed, hub.Selection{From: whole.From, Where: whole.Where, Batch: batch})
	}
	return narrowed
}

// rest waits as long as a page has to last. It is longer on a day whose messages have to
// last too.
func (l *looks) rest(ctx context.Context, session hub.Session) error {
	timer := l.timers.NewTimer(pause(session))
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func pause(session hub.Session) time.Duration {
	d := session.Dispatcher()
	return time.Duration(float64(time.Second)/(d.Rate(dispatch.Queries).PerSecond*lookShare)) * time.Duration(d.Stretch())
}
