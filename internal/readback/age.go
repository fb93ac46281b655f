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

// ages say when a hub's read-back was complete last: the question what moved, with the reading of that, and the look at
// all twins.
type ages struct {
	looked, swept map[hub.Source]time.Time
	managed       map[hub.Source]int
	// bySweep are the sources for which a look at all tells what moved.
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

func (k *keeper) looked(from hub.Source) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ages.looked[from], k.ages.bySweep[from] = k.clock.Now(), false
}

// sweptAll notes a sweep that left nothing out.
func (k *keeper) sweptAll(from hub.Source) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock.Now()
	k.ages.looked[from], k.ages.swept[from] = now, now
}

// sweepTells notes that a look at all twins of a source is to tell what moved.
func (k *keeper) sweepTells(from hub.Source) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ages.bySweep[from] = true
}

// progress notes that what is going on has come on by a page.
func (k *keeper) progress(of ...*duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range of {
		d.progress = k.clock.Now()
	}
}

// manages notes how many twins of a source there are to look at: without any, nothing can be late.
func (k *keeper) manages(from hub.Source, twins int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ages.managed[from] = twins
	if twins == 0 {
		now := k.clock.Now()
		k.ages.looked[from], k.ages.swept[from] = now, now
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
	// Failing: questions to the hub fail, or their answers cannot be used.
	Failing Cause = "Failing"
	// Blocked: a question to the hub has had no answer.
	Blocked Cause = "Blocked"
	// Slow: the looks take longer than they did.
	Slow Cause = "Slow"
)

// late tells whether the read-back is older than three of its intervals, whatever keeps it; how long these really are
// counts as far as a look that goes on has come. It has to be called with the lock held.
func (k *keeper) late(planned Settings, now time.Time) *Lateness {
	late := &Lateness{Cause: Slow}
	note := func(last time.Time, every time.Duration, doing ...*duration) {
		if now.Sub(last) <= max(lateAfter*every, k.soonest) {
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
		if k.ages.managed[from] == 0 {
			continue
		}
		sweep, look := k.sweepTimes[from], &k.lookTime
		every := max(planned.Interval, look.lasted(), k.readTime.lasted())
		if k.ages.bySweep[from] {
			every, look = max(every, sweep.lasted()), sweep
		}
		note(k.ages.looked[from], every, look, &k.lookTime, &k.readTime)
		note(k.ages.swept[from], max(planned.FullSweep, sweep.lasted()), sweep)
	}
	switch {
	case late.Since.IsZero():
		return nil
	case k.err != nil:
		late.Cause, late.Error = Failing, textOf(k.err)
	}
	return late
}

// age is how long ago the read-back was complete; 0 while the hub is not followed.
func (k *keeper) age() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.session == nil {
		return 0
	}
	var age time.Duration
	for _, from := range sources {
		if k.ages.managed[from] > 0 {
			age = max(age, k.clock.Since(k.ages.looked[from]))
		}
	}
	return age
}

// textOf is an error of one or more questions, each text once.
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
func (k *keeper) unreadable(ctx context.Context) func(hub.Unreadable) {
	return func(row hub.Unreadable) {
		managed := row.ID != (hub.ID{}) && k.book.lookUnreadable(row.ID, k.clock.Now())
		if k.odd.isNew(row.Name) {
			log.FromContext(ctx).Info("the hub's index shows a twin in a way that cannot be used; the others are read all the same",
				"twin", row.Name, "why", row.Why, "managed", managed)
		}
	}
}
