package dispatch

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func (y *yard) fail(times int) {
	for range times {
		y.Answered(Answer{Class: Reads})
	}
}

func (y *yard) paused(class Class) time.Duration {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.buckets[class].paused.Sub(y.now.Now())
}

func TestAHubThatDoesNotAnswerIsTriedByOneAtATime(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{}, 10)
	y.fail(4)
	y.Answered(Answer{Class: Reads, Status: 404})
	y.fail(3)
	y.Answered(Answer{Class: Reads, Status: 503})
	y.mustAsk("before", ReadNeed).Done()
	y.fail(1)
	y.Expect(y.snapshot().breaker).To(Equal(Open))
	y.fail(3) // from before it opened
	for i := range 3 {
		y.Expect(y.ask(fmt.Sprint(i), 0, ReadNeed)).To(BeNil())
	}
	y.Expect(y.Backlog().EndsIn).To(Equal(time.Second))
	for i, pause := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		y.after(time.Duration(pause)*time.Second - time.Millisecond)
		y.Expect(y.woken).To(BeEmpty(), "%d", i)
		y.after(time.Millisecond)
		y.Expect(y.snapshot().breaker).To(Equal(HalfOpen))
		var key string
		var priority int
		y.Expect(y.woken).To(HaveLen(1), "one alone")
		_, err := fmt.Sscan(<-y.woken, &key, &priority)
		y.Expect(err).NotTo(HaveOccurred())
		trying := y.mustAsk(key, ReadNeed)
		y.fail(1)
		trying.Done()
		y.Expect(y.ask(key, 0, ReadNeed)).To(BeNil())
	}
	y.after(time.Minute)
	y.Expect(y.woken).To(HaveLen(1))
	<-y.woken
	y.after(pickUp)
	y.Expect(y.woken).To(HaveLen(1), "who does not come lets another one try")
	y.Answered(Answer{Class: Queries, Status: 401})
	y.Expect(y.snapshot().breaker).To(Equal(Closed))
	y.Expect(y.woken).To(HaveLen(2), "the rest goes on: one of three did not come")
}

func TestARefusalPausesAndHalvesItsClass(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 40, UpdatesPerSecond: 20}, 0)
	y.spend(Reads)
	for range 5 { // those that were under way are refused together
		y.Answered(Answer{Class: Reads, Status: 429, RetryAfter: 3 * time.Second})
	}
	y.Expect(y.Rate(Reads)).To(Equal(Rate{PerSecond: 20, Factor: 0.5}))
	y.Expect(y.Rate(Updates).Factor).To(Equal(1.0))
	y.Expect(y.ask("r", 0, ReadNeed)).To(BeNil())
	y.after(3*time.Second + 49*time.Millisecond)
	y.Expect(y.woken).To(BeEmpty(), "nothing came in during the pause")
	y.after(time.Millisecond)
	y.Expect(y.woken).To(Receive())
	y.after(recoveryStep - 50*time.Millisecond)
	y.Expect(y.Rate(Reads).Factor).To(BeNumerically("~", 0.55, 1e-9), "it recovers by steps")
	y.after(8 * recoveryStep)
	y.Expect(y.Rate(Reads).Factor).To(BeNumerically("~", 0.95, 1e-9))
	y.after(time.Minute)
	y.Expect(y.Rate(Reads).Factor).To(Equal(1.0))

	for range 20 {
		y.Answered(Answer{Class: Reads, Status: 429})
		pause := y.paused(Reads)
		y.Expect(pause).To(And(BeNumerically(">=", 10*time.Second), BeNumerically("<=", 15*time.Second)))
		y.after(pause)
	}
	y.Expect(y.Rate(Reads)).To(Equal(Rate{PerSecond: 2, Factor: lowestFactor}), "and never stops")
}

func TestSlowAnswersSlowTheirClassDown(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{}, 0)
	y.Answered(Answer{Class: Updates, Status: 200, Took: 50 * time.Millisecond})
	y.Answered(Answer{Class: Updates, Status: 200, Took: 3 * time.Second})
	y.Expect(y.Rate(Updates).Factor).To(Equal(1.0), "one of them says nothing")
	for range 10 {
		y.Answered(Answer{Class: Updates, Status: 200, Took: 3 * time.Second})
	}
	y.Expect(y.Rate(Updates).Factor).To(Equal(slowFactor), "within a second, by one step")
	y.Expect(y.Rate(Reads).Factor).To(Equal(1.0))
	for range 100 {
		y.after(slowStep)
		y.Answered(Answer{Class: Updates, Status: 200, Took: 3 * time.Second})
	}
	y.Expect(y.Rate(Updates).Factor).To(Equal(lowestFactor))
	for range 200 {
		y.after(slowStep)
		y.Answered(Answer{Class: Updates, Status: 200, Took: 50 * time.Millisecond})
	}
	y.Expect(y.Rate(Updates).Factor).To(Equal(1.0))
	y.Answered(Answer{Class: Updates, Status: 200, Took: 50 * time.Second})
	y.after(forgetAfter + 2*recoveryStep)
	y.Expect(y.Rate(Updates).Factor).To(Equal(1.0))
	y.Answered(Answer{Class: Updates, Status: 200, Took: 900 * time.Millisecond})
	y.Expect(y.Rate(Updates).Factor).To(Equal(1.0), "what was a minute ago does not count")
}

// TestOneRequestTriesAfterARefusal: a hub, or a proxy, that asks for a day stops nothing
// for longer than a minute, and is not met by a burst then.
func TestOneRequestTriesAfterARefusal(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 40}, 0)
	y.Answered(Answer{Class: Reads, Status: 429, RetryAfter: 24 * time.Hour})
	y.Expect(y.paused(Reads)).To(Equal(maxPause))
	names := []string{"a", "b", "c"}
	for _, name := range names {
		y.Expect(y.ask(name, 0, ReadNeed)).To(BeNil())
	}
	tries := func() *Permit {
		y.Expect(y.woken).To(HaveLen(1), "one alone")
		var key string
		var priority int
		_, err := fmt.Sscan(<-y.woken, &key, &priority)
		y.Expect(err).NotTo(HaveOccurred())
		return y.mustAsk(key, ReadNeed)
	}
	y.after(maxPause)
	permit := tries()
	y.Expect(permit.use(Reads)).To(BeTrue())
	y.after(3 * time.Second)
	y.Answered(Answer{Class: Reads, Status: 200, Took: 4 * time.Second}) // asked before the trial
	y.Expect(y.woken).To(BeEmpty())

	// Refused again: the next pause, and the next try.
	y.Answered(Answer{Class: Reads, Status: 429, RetryAfter: 3 * time.Second})
	permit.Done()
	y.after(3*time.Second + 200*time.Millisecond) // no token came in during the pause
	permit = tries()
	y.after(trialPatience - time.Millisecond)
	y.Expect(y.woken).To(BeEmpty())
	permit.Done()
	y.Expect(y.woken).To(HaveLen(1), "one that did not ask lets another one try")
	permit = tries()
	y.Expect(permit.use(Reads)).To(BeTrue())
	y.after(time.Second)
	y.Expect(y.ask("d", 0, ReadNeed)).To(BeNil())
	y.Answered(Answer{Class: Reads, Status: 404, Took: time.Second})
	y.after(time.Second)
	y.Expect(y.woken).To(HaveLen(1), "at its rate from now on")
}
