package dispatch

import (
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// pickUp is how long a grant waits for whoever it woke: a worker that is free takes it
// in milliseconds, and one who never comes must not keep it from others.
const pickUp = 10 * time.Second

// Request asks for a turn at the hub.
type Request struct {
	// Key tells who asks; each has one turn at a time.
	Key string
	// Priority orders those who wait, the highest first; the oldest first among equals.
	Priority int
	Kind     Kind
	Need     Need
	// Wake is called once the turn of who was parked has come, with the priority it
	// has. It is called without any lock held and must not block.
	Wake func(priority int)
}

// Options are what a dispatcher is made of.
type Options struct {
	// Limits of the hub; those of a whole S1 hub where they are not set.
	Limits Limits
	// MaxInFlight bounds the grants that are held at once, whatever the limits would
	// allow, so that a hub that hangs cannot hold most of the workers; 0 means no bound.
	MaxInFlight int
	// Clock is the real one when nil.
	Clock clock.WithDelayedExecution
}

// Dispatcher hands out turns at one hub. It is safe for concurrent use.
type Dispatcher struct {
	clock clock.WithDelayedExecution

	mu      sync.Mutex
	max     int // of grants in flight, by the options
	limits  Limits
	places  [kinds]int
	buckets [classes]*bucket
	breaker breaker
	meter   meter
	planner planner
	lots    [kinds]lot
	seq     uint64
	// pending are the grants that were given and not picked up yet.
	pending  map[string]*Grant
	inFlight [kinds]int
	// woken are those of them whose owners are to be told.
	woken   []*Grant
	waiting [classes]callers
	timer   clock.Timer
	due     time.Time // when the timer fires
	count   Counts
}

// Counts are what happened since the start.
type Counts struct {
	Granted, Expired int64
}

// New returns a dispatcher at its full rate.
func New(options Options) *Dispatcher {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	d := &Dispatcher{clock: options.Clock, max: options.MaxInFlight, lots: newLots(), pending: map[string]*Grant{}}
	now := d.clock.Now()
	d.limits = options.Limits.Or(S1())
	rates, windows := d.limits.rates()
	for class := range d.buckets {
		d.buckets[class] = newBucket(rates[class], windows[class], now)
	}
	d.apply(now)
	return d
}

// SetLimits changes how much of the hub may be used. What is used already counts.
func (d *Dispatcher) SetLimits(limits Limits) {
	d.locked(func(now time.Time) {
		d.limits = limits.Or(S1())
		d.apply(now)
	})
}

func (d *Dispatcher) apply(now time.Time) {
	rates, _ := d.limits.rates()
	for class, b := range d.buckets {
		b.fill(now)
		b.rate = rates[class]
		b.tokens = min(b.tokens, b.size())
	}
	d.places = [kinds]int{Visits: d.limits.inFlight(), Questions: questionsInFlight}
	if d.max > 0 {
		for kind := range d.places {
			d.places[kind] = min(d.places[kind], d.max)
		}
	}
	d.meter.limit, d.meter.size = d.limits.DailyMessages, d.limits.MessageBytes
	d.meter.turn(now)
}

// Admit returns a grant at once if there is room for what is needed and a place in
// flight, and nobody comes before. Otherwise whoever asks is parked, once, and woken
// when its turn has come, to ask again; that grant waits for it a while.
func (d *Dispatcher) Admit(request Request) (granted *Grant, ok bool) {
	d.locked(func(now time.Time) {
		seq := d.seq
		if g := d.pending[request.Key]; g != nil {
			if g.left.covers(request.Need) {
				g.pick()
				granted = g
				return
			}
			// It was granted too little: it asks anew, and keeps its age.
			seq = g.seq
			d.revoke(g)
		} else {
			d.seq++
		}
		d.lots[request.Kind].add(request, seq)
		d.pump(now)
		if g := d.pending[request.Key]; g != nil {
			g.pick()
			granted = g
		}
	})
	return granted, granted != nil
}

// Forget drops whoever asked for a turn and is gone, and gives back what waits for it.
func (d *Dispatcher) Forget(key string) {
	d.locked(func(time.Time) {
		if g := d.pending[key]; g != nil {
			d.revoke(g)
		}
		for kind := range d.lots {
			if p := d.lots[kind].byKey[key]; p != nil {
				d.lots[kind].remove(p)
			}
		}
	})
}

// Drain drops everybody who is parked, and the grants that wait for somebody: nobody
// is to talk to the hub any more. Grants in use can still be given back.
func (d *Dispatcher) Drain() {
	d.locked(func(time.Time) {
		d.lots = newLots()
		for _, g := range d.pending {
			d.revoke(g)
		}
	})
}

// locked does something to the state, lets go on whoever can after that, and wakes
// them once the lock is free again.
func (d *Dispatcher) locked(do func(now time.Time)) {
	d.mu.Lock()
	now := d.clock.Now()
	for _, b := range d.buckets {
		b.fill(now)
	}
	d.expire(now)
	do(now)
	d.pump(now)
	d.arm(now)
	woken := d.woken
	d.woken = nil
	d.mu.Unlock()
	for _, g := range woken {
		g.wake(g.priority)
	}
}

// pump lets go on whoever can: those who wait with a worker first, then those who are
// parked, the best first.
func (d *Dispatcher) pump(now time.Time) {
	d.serve(now)
	for kind := range d.lots {
		d.pumpKind(Kind(kind), now)
	}
}

func (d *Dispatcher) pumpKind(kind Kind, now time.Time) {
	for d.inFlight[kind] < d.places[kind] && d.breaker.lets(now) {
		best := d.lots[kind].best(func(need Need) bool { return d.room(need, now) })
		if best == nil {
			return
		}
		d.lots[kind].remove(best)
		d.grant(best, now)
	}
}

func (d *Dispatcher) room(need Need, now time.Time) bool {
	for class, n := range need {
		if !d.buckets[class].has(n, now) {
			return false
		}
	}
	return true
}

func (d *Dispatcher) grant(p *parked, now time.Time) {
	for class, n := range p.Need {
		d.buckets[class].take(n)
	}
	g := &Grant{
		dispatcher: d, key: p.Key, kind: p.Kind, priority: p.Priority, wake: p.Wake,
		seq: p.seq, left: p.Need, expires: now.Add(pickUp),
	}
	d.pending[p.Key] = g
	d.woken = append(d.woken, g)
	d.inFlight[g.kind]++
	d.count.Granted++
	d.breaker.begun(g)
}

// expire takes back the grants that nobody picked up.
func (d *Dispatcher) expire(now time.Time) {
	for _, g := range d.pending {
		if !now.Before(g.expires) {
			d.revoke(g)
			d.count.Expired++
		}
	}
}

// revoke takes a grant back with all that is left of it.
func (d *Dispatcher) revoke(g *Grant) {
	if g.over {
		return
	}
	g.over = true
	d.drop(g)
	d.inFlight[g.kind]--
	d.breaker.ended(g)
	for class, n := range g.left {
		d.buckets[class].refund(n)
	}
	g.left = Need{}
}

// drop takes a grant off those that wait for somebody, who need not be woken then.
func (d *Dispatcher) drop(g *Grant) {
	if d.pending[g.key] == g {
		delete(d.pending, g.key)
	}
	d.woken = slices.DeleteFunc(d.woken, func(other *Grant) bool { return other == g })
}

// arm sets the timer to the moment at which something can go on by itself.
func (d *Dispatcher) arm(now time.Time) {
	due := d.next(now)
	if d.timer != nil && due.Equal(d.due) {
		return
	}
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if due.IsZero() {
		return
	}
	d.due = due
	// In a goroutine of its own: a clock may call back with its own lock held.
	d.timer = d.clock.AfterFunc(due.Sub(now), func() { go d.tick() })
}

func (d *Dispatcher) tick() {
	d.locked(func(time.Time) { d.due = time.Time{} })
}

// next is when something can go on by itself; zero when nothing can.
func (d *Dispatcher) next(now time.Time) time.Time {
	var due time.Time
	consider := func(at time.Time) {
		if due.IsZero() || at.Before(due) {
			due = at
		}
	}
	for class := range d.waiting {
		if d.waiting[class].len() > 0 {
			consider(now.Add(d.buckets[class].wait(1, now)))
		}
	}
	for _, g := range d.pending {
		consider(g.expires)
	}
	for kind := range d.lots {
		if d.inFlight[kind] >= d.places[kind] || d.breaker.trying != nil {
			continue // whoever ends lets the next one go on
		}
		for need := range d.lots[kind].lines {
			wait := d.breaker.wait(now)
			for class, n := range need {
				wait = max(wait, d.buckets[class].wait(n, now))
			}
			consider(now.Add(wait))
		}
	}
	return due
}
