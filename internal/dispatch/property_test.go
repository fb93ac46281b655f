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

// crowd plays owners of grants, in random order.
type crowd struct {
	*Dispatcher
	now    *clocktesting.FakeClock
	limits Limits
	held   map[string]*Grant
	used   [classes][]time.Time
}

// TestNothingIsLeakedAndNoRateIsExceeded: whatever comes in whatever order, the uses
// in any window stay within the rate, a burst, and what was granted before; and once
// all is given back the dispatcher is as it was.
func TestNothingIsLeakedAndNoRateIsExceeded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := clocktesting.NewFakeClock(noon)
		limits := Limits{
			ReadsPerSecond:   rapid.Float64Range(0.5, 100).Draw(t, "reads"),
			UpdatesPerSecond: rapid.Float64Range(0.5, 50).Draw(t, "updates"),
		}
		c := &crowd{
			Dispatcher: New(Options{Limits: limits, MaxInFlight: rapid.IntRange(1, 20).Draw(t, "places"), Clock: now}),
			now:        now, limits: limits.Or(S1()), held: map[string]*Grant{},
		}
		keys := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"})
		t.Repeat(map[string]func(*rapid.T){
			"": c.check,
			"admit": func(t *rapid.T) {
				need := rapid.SampledFrom([]Need{Look, LookAndWrite, {Updates: 1}}).Draw(t, "need")
				c.admit(keys.Draw(t, "key"), rapid.IntRange(-1, 1).Draw(t, "priority"), need)
			},
			"use": func(t *rapid.T) {
				c.use(keys.Draw(t, "key"), rapid.SampledFrom([]Class{Reads, Updates}).Draw(t, "class"))
			},
			"done":   func(t *rapid.T) { c.done(keys.Draw(t, "key")) },
			"forget": func(t *rapid.T) { c.Forget(keys.Draw(t, "key")) },
			"answer": func(t *rapid.T) {
				c.Answered(Answer{Class: Reads, Status: rapid.SampledFrom([]int{0, 200, 404, 429, 500}).Draw(t, "status")})
			},
			"time": func(t *rapid.T) {
				c.now.Step(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
				c.tick()
			},
		})
		c.leave(t)
	})
}

func (c *crowd) admit(key string, priority int, need Need) {
	if c.held[key] != nil {
		return // an object is looked at by one worker at a time
	}
	kind := Visits
	if key > "g" { // an object has one kind of turn for good
		kind = Questions
	}
	if g, ok := c.Admit(Request{Key: key, Priority: priority, Kind: kind, Need: need, Wake: func(int) {}}); ok {
		c.held[key] = g
	}
}

func (c *crowd) use(key string, class Class) {
	if g := c.held[key]; g.Has(class) && g.use(class) {
		c.used[class] = append(c.used[class], c.now.Now())
	}
}

func (c *crowd) done(key string) {
	c.held[key].Done()
	delete(c.held, key)
}

func (c *crowd) check(t *rapid.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Dispatcher.held() != len(c.held)+len(c.pending) || c.inFlight[Visits] > c.places[Visits] || c.inFlight[Questions] > c.places[Questions] {
		t.Fatalf("%d in flight of %d, %d held, %d pending", c.inFlight, c.places, len(c.held), len(c.pending))
	}
	for _, lot := range c.lots {
		parked := 0
		var total Need
		for need, own := range lot.lines {
			parked += own.Len()
			for class := range need {
				total[class] += need[class] * own.Len()
			}
		}
		if parked != len(lot.byKey) || total != lot.total {
			t.Fatalf("%d in line, %d by key, %v needed, %v counted", parked, len(lot.byKey), total, lot.total)
		}
	}
	for class, b := range c.buckets {
		if b.tokens < -whole || b.tokens > b.size()+whole || b.factor < lowestFactor || b.factor > 1 {
			t.Fatalf("%v: %+v", Class(class), b)
		}
	}
	rates, windows := c.limits.rates()
	for class, used := range c.used {
		for i, from := range used {
			window := used[len(used)-1].Sub(from).Seconds()
			allowed := rates[class]*window + max(1, rates[class]*windows[class]) + float64(c.places[Visits]+c.places[Questions]) + whole
			if n := len(used) - i; float64(n) > allowed {
				t.Fatalf("%d of %v within %v s, %v allowed", n, Class(class), window, allowed)
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
	for i := range 10 {
		c.Forget(string(rune('a' + i)))
	}
	c.Answered(Answer{Class: Registry, Status: 200})
	c.now.Step(time.Hour)
	g.Expect(c.Idle()).To(BeTrue(), fmt.Sprintf("%+v", c.snapshot()))
	c.mu.Lock()
	defer c.mu.Unlock()
	g.Expect(math.Abs(c.buckets[Reads].tokens - c.buckets[Reads].size())).To(BeNumerically("<", whole))
}
