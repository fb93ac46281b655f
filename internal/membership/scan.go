package membership

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/perkey"
)

// longestScan is how many intervals of a TwinQuery lie between two scans for it at
// most, as far as the hub's rate allows: a scan of fewer pages is due as much sooner.
const longestScan = 10

// scan finds out which DeviceTwins belong to an answer that is too large to list, beside all
// else and gently. The record is kept from one scan of a query to the next.
type scan struct {
	found   Evaluation         // that it is for
	stop    context.CancelFunc // nil before it began
	running bool               // or waiting in the queue
	wanted  bool               // again, by another one who asked while it was running
	began   time.Time          // of one that succeeded, zero for none
	pages   int
	// failed is why the last one was not answered, and failing when the first of those
	// that failed in a row began.
	failed  error
	failing time.Time
}

// scanQueue let one scan at a time pass for each HubConnection: one with a small share of a hub
// must not have another one's scans wait for it.
type scanQueue struct {
	waiting []*record
	// moved is when the scan that is under way got on last.
	moved time.Time
}

// Start implements manager.Runnable: it scans until ctx ends, and returns when the scans have
// ended.
func (m *Memberships) Start(ctx context.Context) error {
	perkey.Run(ctx, m.due, m.scanNext)
	return nil
}

// Scan finds out which DeviceTwins belong to an answer that is too large to list, if that is
// due after an interval, wanted now, or was never done.
func (m *Memberships) Scan(found Evaluation, interval time.Duration, wanted bool) {
	if !found.Large {
		return
	}
	of := found.key()
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.records[of]
	if q == nil {
		return // it was forgotten meanwhile
	}
	if q.scan == nil {
		q.scan = &scan{}
	}
	one := q.scan
	wanted = wanted || !q.listed()
	if one.running {
		one.wanted = one.wanted || wanted
		return
	}
	if !wanted && m.opts.Clock.Since(one.began) < one.every(interval) {
		return
	}
	one.running, one.found = true, found
	at := m.scanning[q.hub]
	if at == nil {
		at = &scanQueue{moved: m.opts.Clock.Now()}
		m.scanning[q.hub] = at
	}
	at.waiting = append(at.waiting, q)
	m.due.Add(q.hub)
}

// every is how long it is to the next scan at least. The intervals of TwinQueries
// have jitter, both ways.
func (s *scan) every(interval time.Duration) time.Duration {
	return interval*time.Duration(min(max(s.pages, 1), longestScan)) - time.Duration(outcome.IntervalJitter*float64(interval))
}

// endScan ends the scan of a query that is not asked any more, or whose HubConnection is
// gone. It has to be called with the lock held.
func (m *Memberships) endScan(q *record) {
	if q.scan == nil {
		return
	}
	if q.scan.stop != nil {
		q.scan.stop()
	}
	q.scan = nil
	if at := m.scanning[q.hub]; at != nil {
		at.waiting = slices.DeleteFunc(at.waiting, func(one *record) bool { return one == q })
	}
}

// scanNext makes the next scan at a HubConnection, and rests after it.
func (m *Memberships) scanNext(ctx context.Context, conn types.NamespacedName) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer m.leaveQueue(conn)
	q, one := m.nextScan(conn, stop)
	if one == nil {
		return
	}
	found, began := one.found, m.opts.Clock.Now()
	members, pages, err := m.scan(ctx, found)
	if ctx.Err() != nil {
		return // the error is our own end
	}
	if err == nil {
		m.listManaged(ctx, q, members, began)
	} else {
		log.FromContext(ctx).Error(err, "who belongs to a TwinQuery is not told; it is asked again after its interval",
			"hubConnection", conn.String())
	}
	m.mu.Lock()
	one.end(began, pages, err)
	m.mu.Unlock()
	if pages > 0 {
		_ = m.rest(ctx, found.Hub.Session) // it fails at our end only
	}
}

// nextScan returns the next scan at a HubConnection, nil for none, and has it
// ended by stop.
func (m *Memberships) nextScan(conn types.NamespacedName, stop context.CancelFunc) (*record, *scan) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.scanning[conn]
	if at == nil || len(at.waiting) == 0 {
		return nil, nil
	}
	q := at.waiting[0]
	at.waiting = at.waiting[1:]
	at.moved = m.opts.Clock.Now()
	q.scan.stop = stop
	return q, q.scan
}

// leaveQueue has the next scan at a HubConnection begin.
func (m *Memberships) leaveQueue(conn types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := m.scanning[conn]; at == nil || len(at.waiting) == 0 {
		delete(m.scanning, conn)
		return
	}
	m.due.Add(conn)
}

// end notes what came of a scan.
func (s *scan) end(began time.Time, pages int, err error) {
	if s.running = false; err == nil {
		s.began, s.pages = began, pages
	} else if s.failed == nil {
		s.failing = began
	}
	s.failed = err
	if s.wanted {
		s.began, s.wanted = time.Time{}, false // by another one who came too late for this one
	}
}
