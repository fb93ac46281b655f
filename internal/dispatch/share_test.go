package dispatch

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func (y *yard) askOf(s *Share, kind Kind, namespace, key string, priority int) *Permit {
	granted, _ := s.Admit(Request{Key: key, Namespace: namespace, Kind: kind, Priority: priority, Need: ReadNeed, Wake: func(int) { y.woken <- key }})
	return granted
}

// TestNamespacesTakeTurns: a thousand requests of one namespace hold up none of another,
// and within each the priority counts.
func TestNamespacesTakeTurns(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]Kind{"reconciles": Reconciles, "evaluations": Evaluations, "questions": Questions} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newYard(t, Limits{ReadsPerSecond: 1e6}, 1)
			held := y.askOf(y.Share, kind, "busy", "held", 0)
			for i := range 1000 {
				y.askOf(y.Share, kind, "busy", fmt.Sprintf("busy-%d", i), 100)
			}
			next := func(want string) {
				held.Done()
				y.Expect(y.woken).To(Receive(Equal(want)))
				held = y.askOf(y.Share, kind, "", want, 0)
			}
			y.askOf(y.Share, kind, "ours", "read back", -100)
			y.askOf(y.Share, kind, "ours", "edit", 100)
			y.askOf(y.Share, kind, "third", "news", 0)
			for _, want := range []string{"busy-0", "edit", "news", "busy-1", "read back", "busy-2", "busy-3"} {
				next(want)
			}
			y.askOf(y.Share, kind, "ours", "again", 0)
			next("busy-4")
			y.askOf(y.Share, kind, "third", "news", 0)
			next("again")
			y.askOf(y.Share, kind, "ours", "once more", 0)
			for _, want := range []string{"busy-5", "news", "once more", "busy-6"} {
				next(want) // who comes again and again comes behind those who wait
			}
		})
	}
}

// TestAShareIsHeldToItsOwnLimits beside those of the hub, and waits for nothing but them.
func TestAShareIsHeldToItsOwnLimits(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 40}, 0)
	small := y.Dispatcher.Share(Limits{ReadsPerSecond: oneAtOnce, QueriesPerMinute: 2})
	first := y.askOf(small, Reconciles, "small", "first", 0)
	y.Expect(first).NotTo(BeNil())
	y.Expect(y.askOf(small, Reconciles, "small", "second", 100)).To(BeNil())
	y.Expect(small.Backlog()).To(Equal(Backlog{Parked: 1, EndsIn: nextOne}))
	y.Expect(y.Backlog()).To(Equal(Backlog{}))
	y.mustAsk("ours", ReadNeed).Done()
	y.Expect(small.Wait(t.Context(), Queries)).To(Succeed())
	ctx, cancel := context.WithDeadline(t.Context(), noon.Add(time.Second))
	defer cancel()
	y.Expect(small.Wait(ctx, Queries)).To(Equal(&NoRoomError{Class: Queries, RetryAfter: 30 * time.Second}))
	y.Expect(y.Wait(t.Context(), Queries)).To(Succeed())
	first.Done()
	y.Expect(y.woken).To(Receive(Equal("second")), "what was not used is given back to the share too")
	y.askOf(small, Reconciles, "small", "second", 0).use(Reads)
	y.Expect(y.askOf(small, Reconciles, "small", "third", 0)).To(BeNil())
	y.after(nextOne - time.Millisecond)
	y.Expect(y.woken).To(BeEmpty())
	y.after(time.Millisecond)
	y.Expect(y.woken).To(Receive(Equal("third")))

	y.Rule(small)
	y.Expect(y.Rate(Reads).PerSecond).To(BeNumerically("~", oneAtOnce, 1e-9))
	y.Rule(y.Share)
	y.Expect(small.Rate(Reads).PerSecond).To(BeNumerically("~", oneAtOnce, 1e-9))
	y.Expect(y.Rate(Reads).PerSecond).To(BeEquivalentTo(40))
	small.SetLimits(Limits{ReadsPerSecond: 1000})
	y.Expect(small.Rate(Reads).PerSecond).To(BeEquivalentTo(40))
}

// TestSomePlacesAreTheRulersOwn: those who wait by their own limits hold the others.
func TestSomePlacesAreTheRulersOwn(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{}, 0) // ten places, and four for queries
	other := y.Dispatcher.Share(Limits{RegistryPerMinute: 0.01})
	for kind, want := range map[Kind]int{Reconciles: 7, Evaluations: 3} {
		held := []*Permit{}
		for i := range 20 {
			if g := y.askOf(other, kind, "a", fmt.Sprint(kind, "-", i), 0); g != nil {
				held = append(held, g)
			}
		}
		y.Expect(held).To(HaveLen(want))
		y.Expect(y.askOf(y.Share, kind, "b", fmt.Sprint(kind, " ours"), 0)).NotTo(BeNil())
		held[0].Done()
		y.Expect(y.woken).To(Receive(HavePrefix(fmt.Sprint(kind, "-"))))
		y.Expect(y.woken).To(BeEmpty())
	}
	y.after(time.Second)
}

// TestAShareReadsBackAsItsOwnMessagesAllow, or less often when the hub's run out.
func TestAShareReadsBackAsItsOwnMessagesAllow(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{DailyMessages: 1000}, 0)
	small := y.Dispatcher.Share(Limits{DailyMessages: 10})
	for range 10 {
		small.Answered(Answer{Class: Reads, Status: 200})
	}
	y.Expect(small.Stretch()).To(Equal(64))
	y.Expect(small.Messages()).To(And(HaveField("Used", BeEquivalentTo(10)), HaveField("Pressure", MessagesUsed)))
	y.Expect(y.Stretch()).To(Equal(1))
	y.Expect(y.Messages()).To(And(HaveField("Used", BeEquivalentTo(10)), HaveField("Pressure", NoPressure)))
	large := y.Dispatcher.Share(Limits{DailyMessages: 1e6})
	y.Answered(Answer{Class: Reads, Status: 403, QuotaExceeded: true})
	y.Expect(large.Stretch()).To(Equal(64))
	y.Expect(large.Messages()).To(And(HaveField("Pressure", QuotaExceeded), HaveField("PerHour", BeZero())))
}

// TestTheTroubleOfAShareIsItsOwn: it is tried by one at a time, and the others go on.
func TestTheTroubleOfAShareIsItsOwn(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{QueriesPerMinute: 2}, 0)
	other := y.Dispatcher.Share(Limits{})
	trouble := errors.New("no trusted authority signed it")
	y.Expect(y.Wait(t.Context(), Queries)).To(Succeed())
	waited := make(chan error, 1)
	go func() { waited <- other.Wait(t.Context(), Queries) }()
	y.Eventually(func() int {
		y.mu.Lock()
		defer y.mu.Unlock()
		return other.waiting[Queries].len()
	}).Should(Equal(1))
	fail := func() { other.Answered(Answer{Class: Reads, Own: true, Failure: trouble}) }
	for range breakAfter {
		y.Expect(other.Broken()).To(BeFalse())
		fail()
	}
	broken := &BrokenError{Own: true, Last: trouble, RetryAfter: minBreak}
	y.Eventually(waited).Should(Receive(Equal(broken)), "it does not wait for what would fail")
	y.Expect(other.Wait(t.Context(), Registry)).To(Equal(broken))
	y.Expect(y.askOf(other, Reconciles, "a", "a", 0)).To(BeNil())
	y.Expect(y.askOf(other, Reconciles, "a", "b", 0)).To(BeNil())
	y.Expect(y.Broken()).To(BeFalse())
	y.mustAsk("ours", ReadNeed).Done()
	y.Expect(y.Wait(t.Context(), Registry)).To(Succeed())

	y.after(minBreak)
	y.Expect(y.woken).To(Receive(Equal("a")))
	y.Expect(y.woken).To(BeEmpty(), "one tries")
	a := y.askOf(other, Reconciles, "a", "a", 0)
	y.Expect(other.Wait(With(t.Context(), a), Registry)).To(Succeed(), "and may make more than one request")
	y.Expect(other.Wait(t.Context(), Registry)).NotTo(Succeed())
	fail()
	a.Done()
	y.Expect(y.woken).To(BeEmpty())
	y.after(2 * minBreak)
	y.Expect(y.woken).To(Receive(Equal("b")))
	other.Answered(Answer{Class: Reads, Status: 200})
	y.Expect(y.askOf(other, Reconciles, "a", "c", 0)).NotTo(BeNil())
}

// TestCallersOfSharesTakeTurns for what the hub allows.
func TestCallersOfSharesTakeTurns(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{QueriesPerMinute: 2}, 0)
	other := y.Dispatcher.Share(Limits{})
	y.Expect(y.Wait(t.Context(), Queries)).To(Succeed())
	went := make(chan string, 10)
	call := func(s *Share, name string, n int) {
		go func() {
			_ = s.Wait(t.Context(), Queries)
			went <- name
		}()
		y.Eventually(func() int {
			y.mu.Lock()
			defer y.mu.Unlock()
			return s.waiting[Queries].len()
		}).Should(Equal(n))
	}
	for i := range 3 {
		call(y.Share, fmt.Sprintf("ours %d", i), i+1)
	}
	call(other, "other", 1)
	for _, want := range []string{"ours 0", "other", "ours 1", "ours 2"} {
		y.after(30 * time.Second)
		y.Eventually(went).Should(Receive(Equal(want)))
	}
}

// TestAShareMovesWithAllWhoWait, and leaves nothing behind.
func TestAShareMovesWithAllWhoWait(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 1, QueriesPerMinute: 2}, 3)
	other := y.Dispatcher.Share(Limits{})
	lane := New(Options{Limits: Limits{ReadsPerSecond: 1e3, QueriesPerMinute: 1e6}, MaxInFlight: 2, Clock: byHand{y.now}})
	used := y.askOf(other, Reconciles, "a", "used", 0)
	y.Expect(used).NotTo(BeNil())
	y.spend(Reads)
	y.Expect(y.Wait(t.Context(), Queries)).To(Succeed())
	for i := range 4 {
		y.Expect(y.askOf(other, Reconciles, "a", fmt.Sprint(i), 0)).To(BeNil())
	}
	waited := make(chan error, 1)
	go func() { waited <- other.Wait(t.Context(), Queries) }()
	y.Eventually(func() int {
		y.mu.Lock()
		defer y.mu.Unlock()
		return len(y.rings[Queries])
	}).Should(Equal(1))
	y.after(time.Second)
	y.Expect(y.woken).To(Receive(Equal("0")), "and it is not picked up yet")

	other.Move(lane)
	y.Eventually(waited).Should(Receive(BeNil()), "there is room")
	y.Expect(y.woken).To(Receive(Equal("0")))
	y.Expect(y.woken).To(Receive(Equal("1")), "the oldest first")
	y.Expect(y.woken).To(BeEmpty(), "there are two places")
	y.Expect(y.askOf(other, Reconciles, "a", "0", 0)).NotTo(BeNil())
	y.Expect(lane.held()).To(Equal(2))
	y.Expect(y.Dispatcher.parked() + len(y.rings[Queries])).To(BeZero())
	y.Expect(y.Dispatcher.held()).To(Equal(1), "what is in use is given back where it came from")
	used.Done()
	y.Expect(y.Dispatcher.held()).To(BeZero())
	y.after(time.Hour)
	y.Expect(y.Idle()).To(BeTrue())
}

// TestATryIsNotTakenAlong: a share that moves while it tries a hub that did not answer
// leaves the try to the others.
func TestATryIsNotTakenAlong(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{}, 0)
	other := y.Dispatcher.Share(Limits{})
	y.fail(breakAfter)
	y.after(minBreak)
	y.Expect(other.Wait(t.Context(), Reads)).To(Succeed())
	y.Expect(y.Broken()).To(BeTrue(), "it tries")
	other.Move(New(Options{Clock: byHand{y.now}}))
	y.Expect(y.Broken()).To(BeFalse())
	other.Answered(Answer{Class: Reads, Status: 401})
	y.Expect(y.snapshot().breaker).To(Equal(HalfOpen), "what it hears there says nothing here")
}
