package dispatch

import (
	"fmt"
	"math"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
)

// crowd plays owners of permits, in random order: through a share that rules the hub, and
// through another one, which comes and goes.
type crowd struct {
	now        *clocktesting.FakeClock
	host, lane *Dispatcher
	shares     [2]*Share
	held       map[string]*Permit
	// waits are those who were parked and not woken since.
	waits map[string]bool
	// used at the hub: all together, and by the share that is held to its own limits.
	used, usedByOther [classes][]time.Time
}

func newCrowd(t *rapid.T) *crowd {
	c := &crowd{now: clocktesting.NewFakeClock(noon), held: map[string]*Permit{}, waits: map[string]bool{}}
	limits := func(name string) Limits {
		return Limits{
			ReadsPerSecond:   rapid.Float64Range(0.5, 100).Draw(t, name+" reads"),
			UpdatesPerSecond: rapid.Float64Range(0.5, 50).Draw(t, name+" updates"),
		}
	}
	options := Options{Limits: limits("hub's"), MaxInFlight: rapid.IntRange(1, 20).Draw(t, "places"), Clock: byHand{c.now}}
	c.host, c.lane = New(options), New(options)
	c.shares = [2]*Share{c.host.Share(options.Limits), c.host.Share(limits("other's"))}
	c.host.Rule(c.shares[0])
	return c
}

// TestNothingIsLeakedAndNoRateIsExceeded: whatever comes in whatever order, the uses
// in any window stay within the rate, a burst, and what was granted before; no request is
// lost when its share moves; and once all is given back the dispatchers are as they were.
func TestNothingIsLeakedAndNoRateIsExceeded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t)
		keys := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"})
		t.Repeat(map[string]func(*rapid.T){
			"": c.check,
			"admit": func(t *rapid.T) {
				need := rapid.SampledFrom([]Need{ReadNeed, WriteNeed, {Updates: 1}}).Draw(t, "need")
				c.admit(keys.Draw(t, "key"), rapid.IntRange(-1, 1).Draw(t, "priority"), need)
			},
			"use": func(t *rapid.T) {
				c.use(keys.Draw(t, "key"), rapid.SampledFrom([]Class{Reads, Updates}).Draw(t, "class"))
			},
			"done": func(t *rapid.T) { c.done(keys.Draw(t, "key")) },
			"forget": func(t *rapid.T) {
				key := keys.Draw(t, "key")
				c.host.Forget(key)
				c.lane.Forget(key)
				delete(c.waits, key)
			},
			"answer": func(t *rapid.T) {
				a := Answer{Class: Reads, Status: rapid.SampledFrom([]int{0, 200, 404, 429, 500}).Draw(t, "status")}
				a.Own = a.Status == 0 && rapid.Bool().Draw(t, "own")
				c.shares[rapid.IntRange(0, 1).Draw(t, "share")].Answered(a)
			},
			"move": func(t *rapid.T) {
				c.shares[1].Move(rapid.SampledFrom([]*Dispatcher{c.host, c.lane}).Draw(t, "to"))
			},
			"time": func(t *rapid.T) {
				c.now.Step(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
				c.host.tick()
				c.lane.tick()
			},
		})
		c.leave(t)
	})
}

func (c *crowd) admit(key string, priority int, need Need) {
	if c.held[key] != nil {
		return // an object is looked at by one worker at a time
	}
	kind := Reconciles
	switch { // an object has one kind of turn for good
	case key > "h":
		kind = Questions
	case key > "f":
		kind = Evaluations
	}
	c.waits[key] = true
	g, ok := c.shares[key[0]%2].Admit(Request{
		Key: key, Namespace: string('x' + rune(key[0]%3)), Priority: priority, Kind: kind, Need: need,
		Wake: func(int) { delete(c.waits, key) },
	})
	if ok {
		c.held[key] = g
		delete(c.waits, key)
	}
}

func (c *crowd) use(key string, class Class) {
	g := c.held[key]
	if !g.Has(class) || !g.use(class) || g.dispatcher != c.host {
		return
	}
	c.used[class] = append(c.used[class], c.now.Now())
	if g.Share == c.shares[1] {
		c.usedByOther[class] = append(c.usedByOther[class], c.now.Now())
	}
}

func (c *crowd) done(key string) {
	c.held[key].Done()
	delete(c.held, key)
}

func (c *crowd) check(t *rapid.T) {
	held, parked := len(c.held), map[string]bool{}
	for _, d := range []*Dispatcher{c.host, c.lane} {
		held -= c.checkOne(t, d)
		for _, lot := range d.queues {
			for key := range lot.byKey {
				parked[key] = true
			}
		}
	}
	if held != 0 {
		t.Fatalf("%d grants are counted too few", held)
	}
	for key := range c.waits {
		if !parked[key] {
			t.Fatalf("%s is lost", key)
		}
	}
	places := 0
	for _, own := range c.host.places {
		places += own
	}
	within(t, "the hub", c.host.limits, c.used, places)
	within(t, "the other share", c.shares[1].limits, c.usedByOther, places)
}

// checkOne holds a dispatcher's books against each other, and returns how many of the
// permits that are in use are its own.
func (c *crowd) checkOne(t *rapid.T, d *Dispatcher) (held int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for kind := range kinds {
		if d.inFlight[kind] > d.places[kind] {
			t.Fatalf("%d in flight of %d", d.inFlight, d.places)
		}
		if d.guests[kind] > d.inFlight[kind] || d.guests[kind] < 0 {
			t.Fatalf("%d guests of %d", d.guests, d.inFlight)
		}
	}
	for _, lot := range d.queues {
		parked, inRounds := 0, 0
		var total Need
		for common, own := range lot.heaps {
			parked += own.Len()
			for class := range common.need {
				total[class] += common.need[class] * own.Len()
			}
			if common.share.at.Load() != d {
				t.Fatalf("%d wait through a share that has left", own.Len())
			}
		}
		for _, round := range lot.rounds {
			inRounds += round.parked
		}
		if parked != len(lot.byKey) || parked != inRounds || total != lot.total {
			t.Fatalf("%d in line, %d by key, %d by namespace, %v needed, %v counted", parked, len(lot.byKey), inRounds, total, lot.total)
		}
	}
	for class, b := range d.buckets {
		if b.tokens < -whole || b.tokens > b.size()+whole || b.factor < lowestFactor || b.factor > 1 {
			t.Fatalf("%v: %+v", Class(class), b)
		}
	}
	return d.held() - len(d.pending)
}

// within holds uses against limits.
func within(t *rapid.T, who string, limits Limits, uses [classes][]time.Time, places int) {
	rates, windows := limits.rates()
	for class, used := range uses {
		for i, from := range used {
			window := used[len(used)-1].Sub(from).Seconds()
			allowed := rates[class]*window + max(1, rates[class]*windows[class]) + float64(places) + whole
			if n := len(used) - i; float64(n) > allowed {
				t.Fatalf("%s: %d of %v within %v s, %v allowed", who, n, Class(class), window, allowed)
			}
		}
	}
}

// leave gives everything back, and waits for the rates to be as declared again.
func (c *crowd) leave(t *rapid.T) {
	g := NewWithT(t)
	for key := range c.held {
		c.done(key)
	}
	for _, d := range []*Dispatcher{c.host, c.lane} {
		for i := range 10 {
			d.Forget(string(rune('a' + i)))
		}
	}
	for _, s := range c.shares {
		s.Answered(Answer{Class: Registry, Status: 200})
	}
	c.now.Step(time.Hour)
	for _, d := range []*Dispatcher{c.host, c.lane} {
		g.Expect(d.Idle()).To(BeTrue(), fmt.Sprintf("%+v", d.snapshot()))
		g.Expect(math.Abs(d.buckets[Reads].tokens - d.buckets[Reads].size())).To(BeNumerically("<", whole))
	}
}
