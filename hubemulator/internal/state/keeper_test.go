package state_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	testclock "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kept is a keeper that runs, with a part that counts how often it is saved.
type kept struct {
	*state.Keeper
	clock *testclock.FakeClock
	saves chan struct{}

	mu       sync.Mutex
	revision uint64
	takes    time.Duration // how long saving takes
	fails    bool
}

func (k *kept) part() state.Part {
	inner := &list{name: "some", content: []any{"a"}}
	part := inner.part()
	part.Revision = func() uint64 {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.revision
	}
	inner.saving = func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		inner.content = []any{"a"}
		if k.fails {
			inner.content = []any{make(chan int)}
		}
		k.clock.Step(k.takes)
		k.saves <- struct{}{}
	}
	return part
}

func (k *kept) change() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.revision++
}

// step lets time pass once the keeper waits for it.
func (k *kept) step(t *testing.T, d time.Duration) {
	t.Helper()
	NewWithT(t).Eventually(k.clock.HasWaiters).Should(BeTrue())
	k.clock.Step(d)
}

func keep(t *testing.T) *kept {
	t.Helper()
	k := &kept{clock: testclock.NewFakeClock(time.Now()), saves: make(chan struct{}, 10)}
	k.Keeper = &state.Keeper{
		File: open(t, t.TempDir()), Parts: []state.Part{k.part()}, Clock: k.clock, Logger: slog.New(slog.DiscardHandler),
	}
	if err := k.Load(); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kept) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { k.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestSavesWhatChanged(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	k := keep(t)
	g.Expect(k.Save()).To(Succeed())
	g.Expect(k.saves).To(Receive(), "there was no file at all")
	g.Expect(k.Save()).To(Succeed())
	g.Expect(k.saves).NotTo(Receive(), "nothing changed since")
	k.run(t)

	k.change()
	k.step(t, state.Interval-1)
	g.Consistently(k.saves, "50ms").ShouldNot(Receive())
	k.step(t, 1)
	g.Eventually(k.saves).Should(Receive())
	k.step(t, state.Interval)
	g.Eventually(k.clock.HasWaiters).Should(BeTrue())
	g.Expect(k.saves).NotTo(Receive(), "nothing changed since")
	k.change() // what comes last is saved by Close
}

func TestClose(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	k := keep(t)
	g.Expect(k.Close()).To(Succeed())
	g.Expect(k.saves).To(Receive())
	k.change()
	g.Expect(k.Save()).To(Succeed())
	g.Expect(k.saves).NotTo(Receive(), "the file may be another hub's by now")
}

func TestSavingIsNotAllThatItDoes(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	k := keep(t)
	k.takes = 3 * time.Second
	k.run(t)
	k.step(t, state.Interval)
	g.Eventually(k.saves).Should(Receive())
	k.change()
	k.step(t, 30*time.Second-1)
	g.Consistently(k.saves, "50ms").ShouldNot(Receive())
	k.step(t, 1)
	g.Eventually(k.saves).Should(Receive())
}

func TestSavingIsTriedAgain(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	k := keep(t)
	k.fails = true
	g.Expect(k.Save()).NotTo(Succeed())
	g.Expect(k.saves).To(Receive())
	k.run(t)
	k.step(t, state.Interval)
	g.Eventually(k.saves).Should(Receive())
	k.mu.Lock()
	k.fails = false
	k.mu.Unlock()
	k.step(t, state.Interval)
	g.Eventually(k.saves).Should(Receive())
	k.step(t, state.Interval)
	g.Eventually(k.clock.HasWaiters).Should(BeTrue())
	g.Expect(k.saves).NotTo(Receive(), "it is saved now")
}
