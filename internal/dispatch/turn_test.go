package dispatch

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestAWaitEndsByTheClockOrWithTheContext(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{QueriesPerMinute: 2}, 0)
	ctx, cancel := context.WithCancel(t.Context())
	y.Expect(y.Turn(ctx, Queries)).To(Succeed())
	for _, class := range []Class{Reads, Updates, Registry} {
		y.Expect(y.Turn(ctx, class)).To(Succeed(), "classes do not share")
	}
	y.Expect(y.Idle()).To(BeFalse())

	waited := make(chan error, 1)
	wait := func() {
		go func() { waited <- y.Turn(ctx, Queries) }()
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

	y.Expect(y.Turn(t.Context(), Queries)).To(Succeed())
	y.leave(Queries, &waiter{}) // its turn came just as its context ended
	y.Expect(y.Idle()).To(BeTrue())
}

func TestAWaitThatWouldBeInVainIsNotBegun(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 0.01}, 0)
	y.Expect(y.Turn(t.Context(), Reads)).To(Succeed())
	ctx, cancel := context.WithDeadline(t.Context(), noon.Add(99*time.Second))
	defer cancel()
	y.Expect(y.Turn(ctx, Reads)).To(Equal(&NoRoomError{Class: Reads, RetryAfter: 100 * time.Second}))
}

// TestWhoHoldsAWorkerComesBeforeTheParked, and a grant pays for its own hub only.
func TestWhoHoldsAWorkerComesBeforeTheParked(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 1}, 0)
	granted := y.mustAsk("a", Look)
	y.Expect(y.ask("b", 100, Look)).To(BeNil())
	ctx := With(t.Context(), granted)
	y.Expect(y.Turn(ctx, Reads)).To(Succeed(), "it is paid for")
	waited := make(chan error, 1)
	go func() { waited <- y.Turn(ctx, Reads) }()
	y.Eventually(func() int {
		y.mu.Lock()
		defer y.mu.Unlock()
		return y.waiting[Reads].len()
	}).Should(Equal(1))
	y.after(time.Second)
	y.Eventually(waited).Should(Receive(BeNil()))
	y.Expect(y.woken).To(BeEmpty())
	y.after(time.Second)
	y.Expect(y.woken).To(Receive(Equal("b 100")))
	other := newYard(t, Limits{}, 0)
	stranger := other.mustAsk("x", Look)
	granted.Done()
	y.Forget("b")
	y.Expect(y.Turn(With(t.Context(), stranger), Reads)).To(Succeed())
	y.Expect(stranger.Has(Reads)).To(BeTrue())
}

// TestUrgentCallersTakeTurnsWithTheOthers: neither line waits for the whole of the other.
func TestUrgentCallersTakeTurnsWithTheOthers(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{QueriesPerMinute: 2}, 0)
	y.Expect(y.Turn(t.Context(), Queries)).To(Succeed())
	went := make(chan string, 10)
	call := func(ctx context.Context, name string) {
		waiting := func() int {
			y.mu.Lock()
			defer y.mu.Unlock()
			return y.waiting[Queries].len()
		}
		before := waiting()
		go func() {
			y.Turn(ctx, Queries)
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
	for class, want := range map[bool]int{true: 5, false: 5} {
		y.Expect(y.waiting[Queries].ahead(class)).To(Equal(want))
	}
	for _, want := range []string{"delta", "sweep", "batch", "query a", "query b"} {
		y.after(30 * time.Second)
		y.Eventually(went).Should(Receive(Equal(want)))
	}
	y.Expect((&callers{others: make([]*waiter, 9)}).ahead(true)).To(Equal(1))
	y.Expect((&callers{urgent: make([]*waiter, 9)}).ahead(false)).To(Equal(1))
}
