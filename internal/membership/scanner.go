package membership

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
	// scanShare is what all scans at a hub take of its rate of queries: what moved and
	// the TwinQueries themselves have the rest.
	scanShare = 0.1
	// longestScan is how many intervals of a TwinQuery lie between two scans for it at
	// most, as far as the hub's rate allows: a scan of fewer pages is due as much sooner.
	longestScan = 10
)

// scanner finds out which DeviceTwins belong to the answers that are too large to list,
// beside all else and gently.
type scanner struct {
	ctx    context.Context
	timers clock.Clock
	clock  clock.PassiveClock
	reader client.Reader
	// found is told who satisfies a condition, sorted, and when that was asked.
	found func(ctx context.Context, q key, devices []string, asked time.Time)

	wait  sync.WaitGroup
	mu    sync.Mutex
	known map[key]*scan
	// hubs let one scan at a time pass for each HubConnection: one with a small share of a
	// hub must not have another one's scans wait for it.
	hubs map[types.NamespacedName]*gate
	// ended tells that no scan begins any more.
	ended bool
}

// scan is the last one for a question.
type scan struct {
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

// gate lets one scan at a time pass.
type gate struct {
	turn  chan struct{}
	users int // scans that go on or wait
	// moved is when the scan that has its turn got on last.
	moved time.Time
}

func newScanner(
	ctx context.Context, timers clock.Clock, c clock.PassiveClock, reader client.Reader,
	found func(context.Context, key, []string, time.Time),
) *scanner {
	return &scanner{
		ctx: ctx, timers: timers, clock: c, reader: reader, found: found,
		known: map[key]*scan{}, hubs: map[types.NamespacedName]*gate{},
	}
}

// Start implements manager.Runnable: it ends when the scans have ended.
func (s *scanner) Start(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.wait.Wait()
	return nil
}

// scan starts a scan for a question that was asked, if one is due or wanted now.
func (s *scanner) scan(asked Evaluation, interval time.Duration, wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.known[asked.question]
	if one == nil {
		one = &scan{}
		one.ctx, one.stop = context.WithCancel(s.ctx)
		s.known[asked.question] = one
	}
	if one.running {
		one.wanted = one.wanted || wanted
		return
	}
	if s.ended || one.ctx.Err() != nil || (!wanted && s.clock.Since(one.began) < one.every(interval)) {
		return
	}
	one.running = true
	through := s.enter(asked.question.hub)
	s.wait.Go(func() {
		defer s.exit(asked.question.hub)
		s.run(asked, one, through.turn)
	})
}

// enter returns the gate of a HubConnection. It has to be called with the lock held.
func (s *scanner) enter(key types.NamespacedName) *gate {
	through := s.hubs[key]
	if through == nil {
		through = &gate{turn: make(chan struct{}, 1), moved: s.clock.Now()}
		s.hubs[key] = through
	}
	through.users++
	return through
}

func (s *scanner) exit(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	through := s.hubs[key]
	if through.users--; through.users == 0 {
		delete(s.hubs, key)
	}
}

// forget ends the scans for a question that no TwinQuery asks any more.
func (s *scanner) forget(q key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.known[q]; one != nil {
		one.stop()
		delete(s.known, q)
	}
}

// forgetHub ends the scans through a HubConnection that is gone.
func (s *scanner) forgetHub(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for q, one := range s.known {
		if q.hub == key {
			one.stop()
			delete(s.known, q)
		}
	}
}

// every is how long it is to the next scan at least. The intervals of the questions
// have jitter, both ways.
func (o *scan) every(interval time.Duration) time.Duration {
	return interval*time.Duration(min(max(o.pages, 1), longestScan)) - time.Duration(outcome.IntervalJitter*float64(interval))
}

// inTurn scans when the scans before at the same hub have ended, and have rested.
func (s *scanner) run(asked Evaluation, one *scan, turn chan struct{}) {
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-one.ctx.Done():
		return
	}
	s.progress(asked)
	began := s.clock.Now()
	pages, err := s.members(one.ctx, asked, began)
	if one.ctx.Err() != nil {
		return // the error is our own end
	}
	if err != nil {
		log.FromContext(one.ctx).Error(err, "who belongs to a TwinQuery is not told; it is asked again after its interval",
			"hubConnection", asked.question.hub.String())
	}
	s.mu.Lock()
	if one.running = false; err == nil {
		one.began, one.pages = began, pages
	} else if one.failed == nil {
		one.failing = began
	}
	one.failed = err
	if one.wanted {
		one.began, one.wanted = time.Time{}, false // by another one who came too late for this one
	}
	s.mu.Unlock()
	if pages > 0 {
		_ = s.rest(one.ctx, asked.Hub.Session) // it fails at our end only
	}
}

// members tells who satisfies a condition, and returns how many pages that took.
func (s *scanner) members(ctx context.Context, asked Evaluation, began time.Time) (pages int, err error) {
	managed, err := s.managed(ctx, asked)
	if err != nil {
		return 0, err
	}
	members := make([]string, 0, len(managed))
	pages, err = s.pages(ctx, asked, managed, func(id hub.ID) {
		if i, known := slices.BinarySearchFunc(managed, id, hub.ID.Compare); known {
			members = append(members, managed[i].String())
		}
	})
	if err != nil {
		return pages, err
	}
	slices.Sort(members)
	s.found(ctx, asked.question, slices.Clip(slices.Compact(members)), began)
	return pages, nil
}

// pages shows who satisfies a condition, and rests between the pages.
func (s *scanner) pages(ctx context.Context, asked Evaluation, managed []hub.ID, seen func(hub.ID)) (pages int, err error) {
	for i, selection := range selections(hub.Selection{From: asked.From, Where: asked.question.text}, asked.Count, managed) {
		if i > 0 {
			if err := s.rest(ctx, asked.Hub.Session); err != nil {
				return pages, err
			}
		}
		err := asked.Hub.Session.FindIDs(ctx, selection, func(page []hub.ID) error {
			pages++
			s.progress(asked)
			for _, id := range page {
				seen(id)
			}
			if len(page) < hub.PageRows || len(selection.Batch) > 0 && selection.From == hub.Devices {
				return nil // it is the last one
			}
			return s.rest(ctx, asked.Hub.Session)
		})
		if err != nil {
			return pages, err
		}
	}
	return pages, nil
}

// managed are the twins that have a DeviceTwin and may be selected, sorted.
func (s *scanner) managed(ctx context.Context, asked Evaluation) ([]hub.ID, error) {
	twins, err := fieldindex.TwinsAt(ctx, s.reader, asked.question.hub, asked.question.from)
	if err != nil {
		return nil, err
	}
	var ids []hub.ID
	for i := range twins {
		if asked.Hub.Scope.Covers(twins[i].Spec.DeviceID) {
			ids = append(ids, fieldindex.IDOf(&twins[i]))
		}
	}
	slices.SortFunc(ids, hub.ID.Compare)
	return slices.Compact(ids), nil
}

// selections find the managed twins that satisfy a condition: by their ids, or in the
// whole answer where that has fewer pages.
func selections(whole hub.Selection, count int64, managed []hub.ID) []hub.Selection {
	if len(managed) == 0 {
		return nil
	}
	var devices []string
	for _, id := range managed {
		devices = append(devices, id.Device)
	}
	batches := hub.Batches(slices.Compact(devices), whole.Where)
	if pages := (count + hub.PageRows - 1) / hub.PageRows; len(batches) == 0 || pages < int64(len(batches)) {
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
func (s *scanner) rest(ctx context.Context, session hub.Session) error {
	timer := s.timers.NewTimer(pause(session))
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
	return time.Duration(float64(time.Second)/(d.Rate(dispatch.Queries).PerSecond*scanShare)) * time.Duration(d.Stretch())
}
