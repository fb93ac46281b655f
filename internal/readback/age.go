package readback

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// ages say when a hub's read-back was complete last: the query for what moved, with the reading of that, and the full
// sweep.
type ages struct {
	looked, swept map[hub.Source]time.Time
	managed       map[hub.Source]int
	// bySweep are the sources for which a full sweep tells what moved.
	bySweep map[hub.Source]bool
}

func newAges(now time.Time) ages {
	a := ages{
		looked: map[hub.Source]time.Time{}, swept: map[hub.Source]time.Time{},
		managed: map[hub.Source]int{}, bySweep: map[hub.Source]bool{},
	}
	for _, from := range sources {
		a.looked[from], a.swept[from] = now, now
	}
	return a
}

func (p *poller) polled(from hub.Source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ages.looked[from], p.ages.bySweep[from] = p.clock.Now(), false
}

// sweptAll notes a sweep that left nothing out.
func (p *poller) sweptAll(from hub.Source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	p.ages.looked[from], p.ages.swept[from] = now, now
}

// sweepTells notes that a full sweep of a source is to tell what moved.
func (p *poller) sweepTells(from hub.Source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ages.bySweep[from] = true
}

// progress notes that what is going on has come on by a page.
func (p *poller) progress(of ...*duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range of {
		d.progress = p.clock.Now()
	}
}

// manages notes how many twins of a source are managed: without any, nothing can be late.
func (p *poller) manages(from hub.Source, twins int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ages.managed[from] = twins
	if twins == 0 {
		now := p.clock.Now()
		p.ages.looked[from], p.ages.swept[from] = now, now
	}
}

const (
	// lateAfter is after how many intervals without an end a read-back is late.
	lateAfter = 3
	// lateSoonest is the shortest time that counts as late: an interval of a second or two is for tries, and is not worth
	// a condition that comes and goes.
	lateSoonest = 15 * time.Second
)

// Lateness says that a read-back is older than it should be.
type Lateness struct {
	// Since is when it was complete last.
	Since time.Time
	Cause Cause
	// Error is what the hub said last, with the cause Failing.
	Error string
}

// Cause is why a read-back is late.
type Cause string

// The causes of a Lateness.
const (
	// Failing: queries to the hub fail, or their answers cannot be used.
	Failing Cause = "Failing"
	// Blocked: a query to the hub has had no answer.
	Blocked Cause = "Blocked"
	// Slow: the queries take longer than they did.
	Slow Cause = "Slow"
)

// late tells whether the read-back is older than three of its intervals, whatever keeps it; how long these really are
// counts as far as a query that goes on has come. It has to be called with the lock held.
func (p *poller) late(planned Settings, now time.Time) *Lateness {
	late := &Lateness{Cause: Slow}
	note := func(last time.Time, every time.Duration, doing ...*duration) {
		if now.Sub(last) <= max(lateAfter*every, p.soonest) {
			return
		}
		if late.Since.IsZero() || last.Before(late.Since) {
			late.Since = last
		}
		for _, d := range doing {
			if d.rests(now) > every {
				late.Cause = Blocked
			}
		}
	}
	for _, from := range sources {
		if p.ages.managed[from] == 0 {
			continue
		}
		sweep, look := p.sweepTimes[from], &p.deltaTime
		every := max(planned.Interval, look.lasted(), p.readTime.lasted())
		if p.ages.bySweep[from] {
			every, look = max(every, sweep.lasted()), sweep
		}
		note(p.ages.looked[from], every, look, &p.deltaTime, &p.readTime)
		note(p.ages.swept[from], max(planned.FullSweep, sweep.lasted()), sweep)
	}
	switch {
	case late.Since.IsZero():
		return nil
	case p.err != nil:
		late.Cause, late.Error = Failing, textOf(p.err)
	}
	return late
}

// age is how long ago the read-back was complete; 0 while the hub is not followed.
func (p *poller) age() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		return 0
	}
	var age time.Duration
	for _, from := range sources {
		if p.ages.managed[from] > 0 {
			age = max(age, p.clock.Since(p.ages.looked[from]))
		}
	}
	return age
}

// lag is how late the hub's index was seen to show a write of late; 0 while the hub is not followed.
func (p *poller) lag() (lag time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		return 0
	}
	for _, from := range sources {
		lag = max(lag, p.lags[from])
	}
	return lag
}

// textOf is an error of one or more queries, each text once.
func textOf(err error) string {
	var texts []string
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			texts = append(texts, textOf(one))
		}
	} else {
		texts = []string{err.Error()}
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), "; ")
}

// oddRows remember which rows could not be used, to tell of each once.
type oddRows struct {
	mu    sync.Mutex
	names []string
}

// maxOdd bounds the names that are told of: the metric counts all.
const maxOdd = 20

func (o *oddRows) isNew(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.names) == maxOdd || slices.Contains(o.names, name) {
		return false
	}
	o.names = append(o.names, name)
	return true
}

// text names the first of them, empty for none.
func (o *oddRows) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	const named = 5
	text := strings.Join(o.names[:min(named, len(o.names))], ", ")
	if len(o.names) > named {
		text += ", ..."
	}
	return text
}

// unreadable is told of the rows that cannot be used.
func (p *poller) unreadable(ctx context.Context) func(hub.Unreadable) {
	return func(row hub.Unreadable) {
		managed := row.ID != (hub.ID{}) && p.fingerprints.compareUnreadable(row.ID, p.clock.Now())
		if p.odd.isNew(row.Name) {
			log.FromContext(ctx).Info("the hub's index shows a twin in a way that cannot be used; the others are read all the same",
				"twin", row.Name, "why", row.Why, "managed", managed)
		}
	}
}
