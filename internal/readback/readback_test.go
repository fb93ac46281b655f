package readback

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// large is more devices than one query can name, so that they are asked for by what
// was written.
const large = 250

func often() Settings { return Settings{Interval: interval, FullSweep: time.Hour} }

func TestWhatMovedIsReadAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{"a few": 3, "many": large} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, hubemulator.Options{Devices: devices(n)}, often())
			f.manage(devices(n)...)
			f.look(devices(n)...)
			f.awaitQueries(10)
			f.Expect(f.total(f.handed)+f.total(f.read)).To(BeZero(), "nothing has moved")
			f.report("device-0001", 1)
			f.Eventually(func() int { return f.documents("device-0001") }, patience, poll).Should(Equal(1))
			f.awaitQueries(10)
			f.Expect(f.total(f.handed)).To(Equal(1), "a write that is shown again is not news")
			f.Expect(f.total(f.read)).To(BeZero())
		})
	}
}

// TestWhatIsManagedIsCountedByItsSource, and what nothing is known of does not count.
func TestWhatIsManagedIsCountedByItsSource(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	b := newFingerprints(func(types.NamespacedName) {}, time.Now())
	for _, id := range []hub.ID{{Device: "a"}, {Device: "b"}, {Device: "c"}, {Device: "a", Module: "m"}} {
		b.track(id, types.NamespacedName{Name: id.String()})
		if id.Device != "c" {
			b.dealt(&hub.Twin{ID: id, Version: 2}, true, time.Now())
		}
	}
	g.Expect(b.count(hub.Devices)).To(Equal(2))
	g.Expect(b.count(hub.Modules)).To(Equal(1))
	g.Expect(b.beginSweep(hub.Devices, time.Now())).To(HaveLen(2))
	b.untrack(hub.ID{Device: "a"}, types.NamespacedName{Name: "another"})
	g.Expect(b.count(hub.Devices)).To(Equal(2), "it is of another object")
	b.untrack(hub.ID{Device: "a"}, types.NamespacedName{Name: "a"})
	g.Expect(b.count(hub.Devices)).To(Equal(1))
}

// TestARestartReadsEachDocumentOnce: in batches, and none by itself.
func TestARestartReadsEachDocumentOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(large)}, Settings{Interval: time.Hour, FullSweep: time.Hour})
	f.manage(devices(large)...)
	f.known("device-0000").Want() // before or amid the first question
	f.Eventually(func() int { return f.total(f.handed) }, patience, poll).Should(Equal(1))
	before := f.queries()
	for _, device := range devices(large) {
		f.known(device).Want()
	}
	f.Eventually(func() int { return f.total(f.handed) }, patience, poll).Should(Equal(large))
	f.Expect(f.total(f.read)).To(BeZero())
	f.Expect(f.queries()-before).To(BeNumerically("<=", 5), "of 100 documents each")
	f.Expect(f.hub.Counters().Operations["getTwin"].Calls).To(BeZero())
}

// TestTagsAndDeletionsAreFoundBySweeps, which have no time of their own.
func TestTagsAndDeletionsAreFoundBySweeps(t *testing.T) {
	t.Parallel()
	settings := Settings{Interval: interval, FullSweep: 2 * time.Second}
	hubs := clocktesting.NewFakeClock(time.Now().Add(-30 * time.Minute))
	f := newFleet(t, hubemulator.Options{Devices: devices(large), Clock: hubs}, settings)
	hubs.Step(20 * time.Minute) // so that what was written since is little
	f.manage(devices(large)...)
	f.look(devices(large)...)
	f.report("device-0000", 1)
	f.Eventually(func() int { return f.documents("device-0000") }, patience, poll).Should(Equal(1))
	f.awaitQueries(10)
	f.tag("device-0100", "by another")
	f.Expect(f.hub.RemoveDevice("device-0200")).To(Succeed())
	f.Eventually(func() int { return f.documents("device-0100") }, patience, poll).Should(Equal(1))
	f.Eventually(func() int { return f.reads("device-0200") }, patience, poll).Should(Equal(1))
	f.awaitQueries(100)
	f.Expect(f.total(f.read)).To(Equal(1), "what the hub itself says is gone is not asked for again")
}

// TestAFewOnALargeHubAreAskedForById, not looked for page by page.
func TestAFewOnALargeHubAreAskedForById(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(1000)}, Settings{Interval: time.Hour, FullSweep: time.Hour})
	f.manage(devices(3)...)
	f.look(devices(3)...)
	keeper := f.keeper(Settings{Interval: time.Hour, FullSweep: time.Hour})
	for i := range 3 {
		f.tag("device-0002", i) // which no time tells of
		before := f.queries()
		f.Expect(keeper.cycle(t.Context(), f.session, often())).To(Succeed())
		f.Eventually(func() int { return f.documents("device-0002") }, patience, poll).Should(Equal(i + 1))
		f.Expect(f.queries()-before).To(Equal(int64(2)), "one to look, one to read what moved")
	}
	f.manage(devices(150)...)
	f.look(devices(150)...)
	before := f.queries()
	keeper.fingerprints.beginSweep(hub.Devices, time.Now())
	f.Expect(keeper.sweep(t.Context(), f.session, "devices", [][]string{devices(150)[:100], devices(150)[100:]}, false).err).To(Succeed())
	f.Expect(f.queries()-before).To(Equal(int64(3)), "one to count all, two by their ids")
}

// TestALateIndexIsNotBelieved: it shows a twin as it was before our own write.
func TestALateIndexIsNotBelieved(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(2)}, often())
	f.manage(devices(2)...)
	f.look(devices(2)...)
	stall := f.fault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultIndexStall})
	f.tag("device-0000", "our own")
	f.look("device-0000")
	f.awaitQueries(10)
	f.Expect(f.hits(stall)).To(BeNumerically(">", 5))
	f.Expect(f.total(f.handed) + f.total(f.read)).To(BeZero())
	f.report("device-0001", 1)
	f.hub.RemoveFault(stall)
	f.Eventually(func() int { return f.documents("device-0001") }, patience, poll).Should(Equal(1))
	f.awaitQueries(5)
	f.Expect(f.documents("device-0000") + f.reads("device-0000")).To(BeZero())
}

// TestAGhostIsAskedForOnce: the index lists a device that the hub does not have.
func TestAGhostIsAskedForOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(2), QueryGhosts: time.Hour}, often())
	f.manage(devices(2)...)
	f.look(devices(2)...)
	f.Expect(f.hub.RemoveDevice("device-0000")).To(Succeed())
	f.look("device-0000") // a visit finds out
	f.awaitQueries(10)
	f.Expect(f.total(f.handed)+f.total(f.read)).To(BeZero(), "the ghost is no news")
	_, err := f.hub.AddDevice("device-0000")
	f.Expect(err).NotTo(HaveOccurred())
	f.look("device-0000")
	f.report("device-0000", 1)
	f.Eventually(func() int { return f.documents("device-0000") }, patience, poll).Should(Equal(1))
}

// TestADeviceThatWasMadeAgainIsReadFromTheHub: its counters start anew, so that the
// index seems to be late.
func TestADeviceThatWasMadeAgainIsReadFromTheHub(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(2)}, often())
	f.manage(devices(2)...)
	f.tag("device-0000", 1)
	f.tag("device-0000", 2)
	f.look(devices(2)...)
	f.Expect(f.hub.RemoveDevice("device-0000")).To(Succeed())
	_, err := f.hub.AddDevice("device-0000")
	f.Expect(err).NotTo(HaveOccurred())
	f.Eventually(func() int { return f.reads("device-0000") }, patience, poll).Should(BeNumerically(">=", 1))
	f.awaitQueries(10)
	reads := f.reads("device-0000")
	f.awaitQueries(10)
	f.Expect(f.reads("device-0000")).To(Equal(reads), "what the hub itself told is not doubted")
	f.Expect(f.documents("device-0000")).To(BeZero())
}

// TestTheHubsClockIsItsOwn: what was written since is asked by the hub's time.
func TestTheHubsClockIsItsOwn(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"ahead": 20 * time.Minute, "behind": -20 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hubs := clocktesting.NewFakeClock(time.Now().Add(skew))
			f := newFleet(t, hubemulator.Options{Devices: devices(large), Clock: hubs}, often())
			f.manage(devices(large)...)
			f.look(devices(large)...)
			f.awaitQueries(5)
			for i := range 3 {
				hubs.Step(time.Minute)
				f.report("device-0007", i)
				f.Eventually(func() int { return f.documents("device-0007") }, patience, poll).Should(Equal(i + 1))
			}
		})
	}
}

// TestAnIndexThatLostEverything does not have the whole fleet read at once.
func TestAnIndexThatLostEverything(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{}, Settings{Interval: time.Hour, FullSweep: time.Hour})
	stall := f.fault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultIndexStall})
	for _, device := range devices(large) {
		_, err := f.hub.AddDevice(device)
		f.Expect(err).NotTo(HaveOccurred())
	}
	f.manage(devices(large)...)
	f.look(devices(large)...)
	keeper := f.keeper(Settings{Interval: time.Hour, FullSweep: time.Hour})
	f.Expect(keeper.cycle(t.Context(), f.session, often())).To(Succeed())
	f.Eventually(func() int { return f.total(f.read) }, patience, poll).Should(Equal(maxRefuted))
	f.Expect(f.hits(stall)).To(BeNumerically(">", 0))
	f.Consistently(func() int { return f.total(f.read) }, 5*interval, poll).Should(Equal(maxRefuted))
}

// TestPagesThatChangeWhileTheyAreRead lose no twin and invent none.
func TestPagesThatChangeWhileTheyAreRead(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(large)}, Settings{Interval: time.Hour, FullSweep: time.Hour})
	f.manage(devices(large)...)
	f.look(devices(large)...)
	keeper := f.keeper(Settings{Interval: time.Hour, FullSweep: time.Hour})
	batches := [][]string{devices(large)[:100], devices(large)[100:200], devices(large)[200:]}
	// The first question counts the twins; the second page is held back.
	f.fault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultDelay, Delay: time.Millisecond, Count: 2})
	held := f.fault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultHold})
	keeper.fingerprints.beginSweep(hub.Devices, time.Now())
	swept := make(chan error, 1)
	go func() { swept <- keeper.sweep(t.Context(), f.session, "devices", batches, false).err }()
	f.Eventually(func() int { return f.hits(held) }, patience, poll).Should(Equal(1))
	f.Expect(f.hub.RemoveDevice("device-0000")).To(Succeed()) // seen before it went
	f.Expect(f.hub.RemoveDevice("device-0249")).To(Succeed()) // gone before it was seen
	_, err := f.hub.AddDevice("device-0000a")                 // on a page that was read
	f.Expect(err).NotTo(HaveOccurred())
	f.hub.RemoveFault(held)
	f.Expect(<-swept).To(Succeed())
	f.Eventually(func() int { return f.reads("device-0249") }, patience, poll).Should(Equal(1))
	f.Expect(f.total(f.read)).To(Equal(1))
	f.Expect(f.total(f.handed)).To(BeZero())
}

// TestAHubThatDoesNotAnswerIsTold once, and the read-back goes on when it does.
func TestAHubThatDoesNotAnswerIsTold(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(2)}, often())
	f.manage(devices(2)...)
	f.look(devices(2)...)
	f.awaitQueries(2)
	down := f.fault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultStatus, Status: 503})
	f.report("device-0001", 1)
	f.Eventually(func() string { return f.group.State(f.key).Failing }, patience, poll).Should(ContainSubstring("503"))
	f.awaitQueries(5)
	f.mu.Lock()
	f.Expect(f.failing).To(Equal(1))
	f.mu.Unlock()
	f.Expect(f.hits(down)).To(BeNumerically(">", 4))
	f.hub.RemoveFault(down)
	f.Eventually(func() int { return f.documents("device-0001") }, patience, poll).Should(Equal(1))
	f.Eventually(func() string { return f.group.State(f.key).Failing }, patience, poll).Should(BeEmpty())
}
