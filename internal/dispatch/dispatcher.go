package dispatch

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// pickUp is how long a permit waits for the caller that it woke: a worker that is free takes it
// in milliseconds, and one who never comes must not keep it from others.
const pickUp = 10 * time.Second

// placesKept is the part of the places in flight, a quarter, that only the share that
// rules a hub may hold.
const placesKept = 4

// Request asks for a permit at the hub.
type Request struct {
	// Key tells who asks; each has one permit at a time.
	Key string
	// Priority orders those of one namespace who wait, the highest first; the oldest first
	// among equals.
	Priority int
	Kind     Kind
	Need     Need
	// Namespace of the object that asks: namespaces alternate, however much each of them
	// has to do.
	Namespace string
	// Share that it asks through; Admit fills it in.
	Share *Share
	// Wake is called once a caller that was parked has a permit, with the priority it
	// has. It is called without any lock held and must not block.
	Wake func(priority int)
}

// Options are what a dispatcher is made of.
type Options struct {
	// Limits of the hub; those of a whole S1 hub where they are not set.
	Limits Limits
	// MaxInFlight bounds the permits that are held at once, whatever the limits would
	// allow, so that a hub that hangs cannot hold most of the workers; 0 means no bound.
	MaxInFlight int
	// Clock is the real one when nil.
	Clock clock.WithDelayedExecution
}

// Dispatcher hands out permits at one hub, through the shares of those who use it. It is
// safe for concurrent use.
type Dispatcher struct {
	clock clock.WithDelayedExecution

	mu      sync.Mutex
	max     int // of permits in flight, by the options
	limits  Limits
	places  [kinds]int
	buckets [classes]*bucket
	breaker breaker
	meter   meter
	planner planner
	// inUse counts who waits and the permits that are given, to be read without the lock.
	inUse  atomic.Int64
	queues [kinds]waitQueue
	seq    uint64
	// ruler is the share whose limits hold for the hub; nil while no share has the say.
	ruler *Share
	// pending are the permits that were given and not picked up yet.
	pending  map[string]*Permit
	inFlight [kinds]int
	// guests are those of them that shares hold which do not rule the hub.
	guests [kinds]int
	// woken are those of them whose owners are to be told.
	woken []*Permit
	// rings are the shares with callers that wait for a class, which alternate.
	rings [classes][]*Share
	timer clock.Timer
	due   time.Time // when the timer fires
	count Counts
}

// Counts are what happened since the start.
type Counts struct {
	Granted, Expired int64
	// Billed are the messages that requests of each class cost.
	Billed [classes]int64
}

// New returns a dispatcher at its full rate.
func New(options Options) *Dispatcher {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	d := &Dispatcher{clock: options.Clock, max: options.MaxInFlight, queues: newWaitQueues(), pending: map[string]*Permit{}}
	now := d.clock.Now()
	d.limits = options.Limits.Or(S1())
	rates, windows := d.limits.rates()
	for class := range d.buckets {
		d.buckets[class] = newBucket(rates[class], windows[class], now)
	}
	d.apply(now)
	return d
}

func (d *Dispatcher) apply(now time.Time) {
	rates, _ := d.limits.rates()
	for class, b := range d.buckets {
		b.fill(now)
		b.rate = rates[class]
		b.tokens = min(b.tokens, b.size())
	}
	d.places = [kinds]int{Reconciles: d.limits.inFlight(), Evaluations: evaluationsInFlight, Questions: questionsInFlight}
	if d.max > 0 {
		for kind := range d.places {
			d.places[kind] = min(d.places[kind], d.max)
		}
	}
	d.meter.limit, d.meter.size = d.limits.DailyMessages, d.limits.MessageBytes
	d.meter.startDay(now)
}

// Admit returns a permit at once if there is room for what is needed and a place in
// flight, and no other request comes before. Otherwise the request is parked, once, and
// its caller woken when there is a permit for it, to ask again; that permit waits for it a while.
func (s *Share) Admit(request Request) (granted *Permit, ok bool) {
	request.Share = s
	s.locked(func(d *Dispatcher, now time.Time) {
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
		d.queues[request.Kind].add(request, seq)
		d.schedule(now)
		if g := d.pending[request.Key]; g != nil {
			g.pick()
			granted = g
		}
	})
	return granted, granted != nil
}

// Forget drops a request whose caller is gone, and gives back what waits for it.
func (d *Dispatcher) Forget(key string) {
	d.locked(func(time.Time) { d.forget(key) })
}

func (d *Dispatcher) forget(key string) {
	if g := d.pending[key]; g != nil {
		d.revoke(g)
	}
	for kind := range d.queues {
		if p := d.queues[kind].byKey[key]; p != nil {
			d.queues[kind].remove(p)
		}
	}
}

// InUse tells, without waiting for anything, whether requests wait or permits are given.
func (d *Dispatcher) InUse() bool { return d.inUse.Load() > 0 }

// Drain drops every caller that is parked, and the permits that wait for one: none
// is to talk to the hub any more. Permits in use can still be given back.
func (d *Dispatcher) Drain() {
	d.locked(func(time.Time) {
		d.queues = newWaitQueues()
		for _, g := range d.pending {
			d.revoke(g)
		}
	})
}

// locked does something to the state, lets those go on that can after that, and wakes
// them once the lock is free again.
func (d *Dispatcher) locked(do func(now time.Time)) {
	d.mu.Lock()
	now := d.clock.Now()
	for _, b := range d.buckets {
		b.fill(now)
	}
	d.expire(now)
	do(now)
	d.schedule(now)
	d.arm(now)
	d.inUse.Store(int64(d.parked() + d.held()))
	woken := d.woken
	d.woken = nil
	d.mu.Unlock()
	for _, g := range woken {
		g.Wake(g.Priority)
	}
}

// schedule lets those go on that can: those who wait with a worker first, then those who are
// parked, the best first.
func (d *Dispatcher) schedule(now time.Time) {
	d.serve(now)
	for kind := range d.queues {
		d.pumpKind(Kind(kind), now)
	}
}

func (d *Dispatcher) pumpKind(kind Kind, now time.Time) {
	for d.inFlight[kind] < d.places[kind] && d.breaker.lets(now) {
		best := d.queues[kind].best(func(of heapKey) bool {
			return d.room(of.need, now) && d.seats(kind, of.share) && of.share.has(d, of.need, now)
		})
		if best == nil {
			return
		}
		d.queues[kind].served(best)
		d.permit(best, now)
	}
}

// seats tells whether a share may hold one more place. Some are kept for the share that
// rules the hub: another one may have to wait by its own limits while it holds a place.
func (d *Dispatcher) seats(kind Kind, s *Share) bool {
	kept := (d.places[kind] + placesKept - 1) / placesKept
	return !s.limited(d) || d.guests[kind] < max(1, d.places[kind]-kept)
}

func (d *Dispatcher) room(need Need, now time.Time) bool {
	for class, n := range need {
		if !d.buckets[class].has(n, now) {
			return false
		}
	}
	return true
}

func (d *Dispatcher) permit(p *parked, now time.Time) {
	p.Share.take(d, p.Need)
	g := &Permit{Request: p.Request, dispatcher: d, guest: p.Share.limited(d), seq: p.seq, left: p.Need, expires: now.Add(pickUp)}
	d.pending[p.Key] = g
	d.woken = append(d.woken, g)
	d.inFlight[g.Kind]++
	if g.guest {
		d.guests[g.Kind]++
	}
	d.count.Granted++
	g.Share.begun(d, g)
}

// expire takes back the permits that were not picked up.
func (d *Dispatcher) expire(now time.Time) {
	for _, g := range d.pending {
		if !now.Before(g.expires) {
			d.revoke(g)
			d.count.Expired++
		}
	}
}

// revoke takes a permit back with all that is left of it.
func (d *Dispatcher) revoke(g *Permit) {
	if g.over {
		return
	}
	g.over = true
	d.drop(g)
	d.inFlight[g.Kind]--
	if g.guest {
		d.guests[g.Kind]--
	}
	g.Share.ended(d, g)
	g.Share.refund(d, g.left)
	g.left = Need{}
}

// drop takes a permit off those that wait for a caller, which need not be woken then.
func (d *Dispatcher) drop(g *Permit) {
	if d.pending[g.Key] == g {
		delete(d.pending, g.Key)
	}
	d.woken = slices.DeleteFunc(d.woken, func(other *Permit) bool { return other == g })
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
	for class, ring := range d.rings {
		one := one(Class(class))
		for _, s := range ring {
			consider(now.Add(max(d.buckets[class].wait(1, now), s.wait(d, one, now))))
		}
	}
	for _, g := range d.pending {
		consider(g.expires)
	}
	for kind := range d.queues {
		if d.inFlight[kind] >= d.places[kind] || d.breaker.trying != nil {
			continue // whichever ends lets the next one go on
		}
		for of := range d.queues[kind].heaps {
			if of.share.trouble.trying != nil || !d.seats(Kind(kind), of.share) {
				continue
			}
			wait := max(d.breaker.wait(now), of.share.wait(d, of.need, now))
			for class, n := range of.need {
				wait = max(wait, d.buckets[class].wait(n, now))
			}
			consider(now.Add(wait))
		}
	}
	return due
}
