package membership

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/sessions"
)

// TestAnAnswerGoesWithItsLastUser: with its last TwinQuery that asks it.
func TestAnAnswerGoesWithItsLastUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newSmall(hub.ID{Device: "d1"})
	s.asked = make(chan string, 1)
	asked := func(name, text string) {
		t.Helper()
		f.asks(name, hubKey, s, text)
		f.Expect(s.asked).To(Receive(Equal(text)))
	}
	shared := func(name, text string) {
		t.Helper()
		f.asks(name, hubKey, s, text)
		f.Expect(s.asked).NotTo(Receive())
	}
	asked("a", "true")
	shared("a", "true")
	shared("b", "true")
	asked("a", "false")
	shared("c", "true")
	f.Forget(t.Context(), named("c"))
	shared("b", "false")
	asked("c", "true")
	f.Forget(t.Context(), named("c"))
	f.Forget(t.Context(), named("a"))
	f.Forget(t.Context(), named("a"))
	f.Expect(f.records).To(HaveLen(1))
	shared("b", "false")
	f.Forget(t.Context(), named("b"))
	f.Expect(f.records).To(BeEmpty())
	f.Expect(f.users).To(BeEmpty())
}

// TestAnAnswerThatIsDroppedSelectsStill, and is asked for again.
func TestAnAnswerThatIsDroppedSelectsStill(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newSmall(hub.ID{Device: "d1"})
	s.asked = make(chan string, 1)
	f.asks("a", hubKey, s, "true")
	f.Expect(s.asked).To(Receive())
	f.Drop(named("a"))
	f.Expect(f.of()).To(Equal([]string{"a"}))
	f.asks("a", hubKey, s, "true")
	f.Expect(s.asked).To(Receive())
	f.Forget(t.Context(), named("a"))
	f.Drop(named("a"))
	f.Expect(f.records).To(BeEmpty())
	f.Expect(f.users).To(BeEmpty())
}

// TestNothingIsLeftOfAQueryThatWasNotSetYet: of what it asks, and of what it shows since before.
func TestNothingIsLeftOfAQueryThatWasNotSetYet(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newSmall(hub.ID{Device: "d1"})
	s.asked = make(chan string, 10)
	evaluated := func(text string) Evaluation {
		found, err := f.evaluate("a", hubKey, s, text)
		f.Expect(err).NotTo(HaveOccurred())
		return found
	}
	evaluated("true")
	f.Expect(f.records).To(HaveLen(1))
	f.Drop(named("a"))
	f.Expect(f.records).To(BeEmpty())
	f.Expect(f.users).To(BeEmpty())

	f.asks("a", hubKey, s, "true")
	found := evaluated("false")
	f.Expect(f.records).To(HaveLen(2))
	f.Set(t.Context(), named("a"), found)
	f.Expect(f.records).To(HaveLen(1), "it shows what it asks")
	evaluated("true")
	f.Forget(t.Context(), named("a"))
	f.Expect(f.records).To(BeEmpty())
	f.Expect(f.users).To(BeEmpty())
}

// endless is a hub with answers that are too large to list, whose scan goes on until it is
// called off.
type endless struct {
	sessions.Session
	asked, ended chan struct{}
}

func newEndless() endless {
	return endless{sessions.To("h", dispatch.New(dispatch.Options{}).Share(dispatch.S1())), make(chan struct{}, 1), make(chan struct{}, 1)}
}

func (endless) Count(context.Context, hub.Source, string) (int64, error) { return 100_000, nil }

func (e endless) FindIDs(ctx context.Context, selection hub.Selection, seen func([]hub.ID) error) error {
	for len(selection.Batch) == 0 {
		if err := seen(nil); err != nil {
			return err
		}
	}
	e.asked <- struct{}{}
	<-ctx.Done()
	e.ended <- struct{}{}
	return ctx.Err()
}

// scans has a TwinQuery ask through a HubConnection, and its answer scanned.
func (f *fixture) scans(name string, conn types.NamespacedName, s endless) {
	f.Helper()
	found := f.asks(name, conn, s, "true")
	f.Expect(found.Large).To(BeTrue())
	f.Scan(found, time.Minute, false)
}

// scanning are the queries of which there is a scan, and at how many HubConnections.
func (f *fixture) scanning() (queries, hubs int) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, q := range f.records {
		if q.scan != nil {
			queries++
		}
	}
	return queries, len(f.Memberships.scanning)
}

// TestAScanEndsWithWhatItIsFor: its last TwinQuery, or its HubConnection, whether it goes on
// or waits.
func TestAScanEndsWithWhatItIsFor(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*fixture){
		"TwinQuery":      func(f *fixture) { f.Forget(f.Context(), named("a")) },
		"TwinQuery void": func(f *fixture) { f.Drop(named("a")) },
		"HubConnection":  func(f *fixture) { f.ForgetHub(hubKey) },
	} {
		for started, start := range map[string]bool{" going on": true, " waiting": false} {
			t.Run(name+started, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				s := newEndless()
				stop := func() {}
				if start {
					stop = f.start()
				}
				f.scans("a", hubKey, s)
				if start {
					f.Eventually(s.asked).Should(Receive())
				}
				end(f)
				if start {
					f.Eventually(s.ended).Should(Receive())
				} else {
					stop = f.start()
				}
				f.Eventually(func() int { _, hubs := f.scanning(); return hubs }).Should(BeZero())
				queries, _ := f.scanning()
				f.Expect(queries).To(BeZero())
				stop()
				f.Expect(s.asked).NotTo(Receive())
			})
		}
	}
}

// TestScansEndWithTheManager, and then none begins.
func TestScansEndWithTheManager(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stop, s := f.start(), newEndless()
	f.scans("a", hubKey, s)
	f.Eventually(s.asked).Should(Receive())
	stop()
	f.Expect(s.ended).To(Receive())
	f.scans("b", types.NamespacedName{Namespace: "plant", Name: "second"}, s)
	f.Expect(s.asked).NotTo(Receive())
}

// TestAScanThatHangsHoldsUpNoOtherHubConnection, though both lead to one hub. Those of its own
// wait in the queue.
func TestAScanThatHangsHoldsUpNoOtherHubConnection(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stop := f.start()
	second := types.NamespacedName{Namespace: "plant", Name: "second"}
	hangs, goesOn, waits, waitsLonger := newEndless(), newEndless(), newEndless(), newEndless()
	f.scans("a", hubKey, hangs)
	f.Eventually(hangs.asked).Should(Receive())
	f.Scan(f.asks("c", hubKey, waits, "false"), time.Minute, false)
	f.Scan(f.asks("d", hubKey, waitsLonger, "1 = 1"), time.Minute, false)
	f.scans("b", second, goesOn)
	f.Eventually(goesOn.asked).Should(Receive())
	f.Expect(waits.asked).NotTo(Receive())
	f.Forget(t.Context(), named("a"))
	f.Eventually(waits.asked).Should(Receive())
	f.Expect(waitsLonger.asked).NotTo(Receive())
	f.Forget(t.Context(), named("b"))
	f.Forget(t.Context(), named("c"))
	f.Eventually(waitsLonger.asked).Should(Receive())
	f.Forget(t.Context(), named("d"))
	f.Eventually(func() int { _, hubs := f.scanning(); return hubs }).Should(BeZero())
	stop()
	f.Expect(f.records).To(BeEmpty())
}
