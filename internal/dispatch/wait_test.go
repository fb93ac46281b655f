package dispatch

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestAWaitEndsByTheClockOrWithTheContext(t *testing.T) {
	t.Parallel()
	y := newYardByItself(t, Limits{QueriesPerMinute: 2}, 0)
	ctx, cancel := context.WithCancel(t.Context())
	y.Expect(y.Wait(ctx, Queries)).To(Succeed())
	for _, class := range []Class{Reads, Updates, Registry} {
		y.Expect(y.Wait(ctx, class)).To(Succeed(), "classes do not share")
	}
	y.Expect(y.Idle()).To(BeFalse())

	waited := make(chan error, 1)
	wait := func() {
		go func() { waited <- y.Wait(ctx, Queries) }()
		y.Eventually(y.now.HasWaiters).Should(BeTrue())
	}
	wait()
	y.now.Step(29 * time.Second)
	y.Expect(waited).NotTo(Receive())
	y.now.Step(time.Second)
	y.Eventually(waited).Should(Receive(BeNil()))

	wait()
	cancel()
	y.Eventually(waited).Should(Receive(MatchError(context.Canceled)))
	y.after(30 * time.Second)
	y.Expect(y.Idle()).To(BeTrue(), "who gave up waiting gives the token back")

	y.Expect(y.Wait(t.Context(), Queries)).To(Succeed())
	y.leave(Queries, &waiter{share: y.Share}) // its turn came just as its context ended
	y.Expect(y.Idle()).To(BeTrue())
}

func TestAWaitThatWouldBeInVainIsNotBegun(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 0.01}, 0)
	y.Expect(y.Wait(t.Context(), Reads)).To(Succeed())
	ctx, cancel := context.WithDeadline(t.Context(), noon.Add(99*time.Second))
	defer cancel()
	y.Expect(y.Wait(ctx, Reads)).To(Equal(&NoRoomError{Class: Reads, RetryAfter: 100 * time.Second}))
}

// TestWhoHoldsAWorkerComesBeforeTheParked, and a permit pays for its own hub only.
func TestWhoHoldsAWorkerComesBeforeTheParked(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: oneAtOnce}, 0)
	granted := y.mustAsk("a", ReadNeed)
	y.Expect(y.ask("b", 100, ReadNeed)).To(BeNil())
	ctx := With(t.Context(), granted)
	y.Expect(y.Wait(ctx, Reads)).To(Succeed(), "it is paid for")
	waited := make(chan error, 1)
	go func() { waited <- y.Wait(ctx, Reads) }()
	y.Eventually(func() int {
		y.mu.Lock()
		defer y.mu.Unlock()
		return y.waiting[Reads].len()
	}).Should(Equal(1))
	y.after(nextOne)
	y.Eventually(waited).Should(Receive(BeNil()))
	y.Expect(y.woken).To(BeEmpty())
	y.after(nextOne)
	y.Expect(y.woken).To(Receive(Equal("b 100")))
	other := newYard(t, Limits{}, 0)
	stranger := other.mustAsk("x", ReadNeed)
	granted.Done()
	y.Forget("b")
	y.Expect(y.Wait(With(t.Context(), stranger), Reads)).To(Succeed())
	y.Expect(stranger.Has(Reads)).To(BeTrue())
}

// TestLinesTakeTurns: none waits for the whole of another.
func TestLinesTakeTurns(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{QueriesPerMinute: 2}, 0)
	y.Expect(y.Wait(t.Context(), Queries)).To(Succeed())
	went := make(chan string, 10)
	call := func(ctx context.Context, name string) {
		waiting := func() int {
			y.mu.Lock()
			defer y.mu.Unlock()
			return y.waiting[Queries].len()
		}
		before := waiting()
		go func() {
			y.Wait(ctx, Queries)
			went <- name
		}()
		y.Eventually(waiting).Should(Equal(before + 1))
	}
	for _, name := range []string{"sweep", "query a", "query b"} {
		call(t.Context(), name)
	}
	for _, name := range []string{"delta", "batch"} {
		call(Urgent(t.Context()), name)
	}
	for _, name := range []string{"person a", "person b"} {
		call(Asked(t.Context()), name)
	}
	for of, want := range map[line]int{urgent: 5, asked: 7, background: 7} {
		y.Expect(y.waiting[Queries].ahead(of)).To(Equal(want))
	}
	for _, want := range []string{"delta", "person a", "batch", "sweep", "person b", "query a", "query b"} {
		y.after(30 * time.Second)
		y.Eventually(went).Should(Receive(Equal(want)))
	}
	many := make([]*waiter, 9)
	y.Expect((&callers{waiting: [lines][]*waiter{background: many}}).ahead(urgent)).To(Equal(1))
	y.Expect((&callers{waiting: [lines][]*waiter{background: many}}).ahead(asked)).To(Equal(1))
	y.Expect((&callers{waiting: [lines][]*waiter{urgent: many}}).ahead(background)).To(Equal(1))
	y.Expect((&callers{waiting: [lines][]*waiter{urgent: many, background: many}}).ahead(asked)).To(Equal(3))
}

// TestCallersAreTurnedAwayFromAHubThatDoesNotAnswer: they hold a worker each.
func TestCallersAreTurnedAwayFromAHubThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{QueriesPerMinute: 2, RegistryPerMinute: 1e4}, 0)
	y.Expect(y.Wait(t.Context(), Queries)).To(Succeed())
	waited := make(chan error, 1)
	go func() { waited <- y.Wait(t.Context(), Queries) }()
	y.Eventually(y.now.HasWaiters).Should(BeTrue())
	last := errors.New("no answer came in time")
	for range breakAfter {
		y.Expect(y.Broken()).To(BeFalse())
		y.Answered(Answer{Class: Queries, Failure: last})
	}
	broken := &BrokenError{Last: last, RetryAfter: minBreak}
	y.Eventually(waited).Should(Receive(Equal(broken)))
	y.Expect(y.Wait(t.Context(), Registry)).To(Equal(broken))
	y.Expect(y.Broken()).To(BeTrue())

	y.after(minBreak)
	y.Expect(y.Broken()).To(BeFalse())
	y.Expect(y.Wait(t.Context(), Registry)).To(Succeed(), "one tries")
	y.Expect(y.Wait(t.Context(), Registry)).To(Equal(broken), "and no other meanwhile")
	y.CalledOff()
	y.Expect(y.Wait(t.Context(), Registry)).To(Succeed(), "nothing was heard of the first")
	y.Answered(Answer{Class: Registry})
	y.Expect(y.Wait(t.Context(), Registry)).To(Equal(&BrokenError{RetryAfter: 2 * minBreak}))

	y.after(2 * minBreak)
	granted := y.mustAsk("a", ReadNeed)
	y.Expect(y.Wait(With(t.Context(), granted), Registry)).To(Succeed(), "a caller that tries may make more than one request")
	y.CalledOff()
	y.Expect(y.Wait(t.Context(), Registry)).NotTo(Succeed(), "a grant tries until it is given back")
	granted.Done()
	ctx, cancel := context.WithCancel(t.Context())
	y.spend(Reads)
	go func() { waited <- y.Wait(ctx, Reads) }()
	y.Eventually(y.Broken).Should(BeTrue(), "it tries")
	cancel()
	y.Eventually(waited).Should(Receive(MatchError(context.Canceled)))
	y.Expect(y.Wait(t.Context(), Registry)).To(Succeed())
	y.Answered(Answer{Class: Registry, Status: 200})
	y.Expect(y.Wait(t.Context(), Registry)).To(Succeed())
}

// TestQuestionsHavePlacesOfTheirOwn, so that no reconcile waits for an answer of many pages.
func TestQuestionsHavePlacesOfTheirOwn(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{}, 0)
	ask := func(key string) bool {
		_, ok := y.Admit(Request{Key: key, Kind: Evaluations, Wake: func(int) { y.woken <- key }})
		return ok
	}
	for i := range evaluationsInFlight {
		y.Expect(ask(fmt.Sprint(i))).To(BeTrue())
	}
	y.Expect(ask("more")).To(BeFalse())
	y.Expect(y.Backlog()).To(Equal(Backlog{Parked: 1}))
	y.mustAsk("visit", WriteNeed).Done()
	y.Expect(y.woken).To(BeEmpty())
	y.Forget("more")
	y.Expect(y.Backlog()).To(Equal(Backlog{}))
	small := newYard(t, Limits{}, 1)
	_, ok := small.Admit(Request{Key: "a", Kind: Evaluations})
	small.Expect(ok).To(BeTrue())
	_, ok = small.Admit(Request{Key: "b", Kind: Evaluations})
	small.Expect(ok).To(BeFalse(), "the bound of all holds for them too")
}
