package readback

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// TestADeltaThatCostsMoreThanASweepIsGivenUp: a few managed twins among many devices that write all the time.
func TestADeltaThatCostsMoreThanASweepIsGivenUp(t *testing.T) {
	t.Parallel()
	const many, managed = 1500, 150
	f := newFleet(t, hubemulator.Options{Devices: devices(many)}, Settings{Interval: time.Hour, FullSweep: time.Hour})
	f.manage(devices(managed)...)
	f.look(devices(managed)...)
	keeper := f.keeper(Settings{Interval: time.Hour, FullSweep: time.Hour})
	cycle := func() int64 {
		before := f.queries()
		f.Expect(keeper.cycle(t.Context(), f.session, keeper.settings)).To(Succeed())
		for len(keeper.sweeping) > 0 {
			<-keeper.ended
			f.Expect(keeper.readAgain(t.Context(), 0)).To(BeTrue())
		}
		return f.queries() - before
	}
	cycle()         // the first look at all
	const sweep = 3 // one to count all, two by their ids
	deltas := 0
	for i := range 20 {
		for _, device := range devices(many) {
			f.report(device, i)
		}
		cost := cycle()
		f.Expect(cost).To(BeNumerically("<=", 3+2*(sweep+2)), "a delta up to its bound, a sweep, and what it and one before wants read")
		f.Eventually(func() int { return f.documents("device-0042") }, patience, poll).Should(BeNumerically(">=", i+1))
		if keeper.watermarks[hub.Devices].rest > 0 {
			deltas++
		}
	}
	f.Expect(keeper.watermarks[hub.Devices].strikes).To(BeNumerically("<", 10), "it is tried ever more seldom")
	f.Expect(keeper.state().Late).To(BeNil())

	before := f.queries()
	for range maxRest + 1 {
		cycle()
	}
	f.Expect(keeper.watermarks[hub.Devices].strikes).To(BeNumerically(">", 0), "the writes are still within the overlap")
	f.Expect(f.queries() - before).To(BeNumerically(">", 0))
}

// TestModulesAreLookedAtBesideDevices, however long a full sweep devices takes, and also when the module that wrote
// last was deleted.
func TestModulesAreLookedAtBesideDevices(t *testing.T) {
	t.Parallel()
	for name, deleted := range map[string]bool{"": false, "the newest module was deleted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, hubemulator.Options{Devices: devices(large)}, Settings{Interval: time.Hour, FullSweep: time.Hour})
			f.manage(devices(large)...)
			f.look(devices(large)...)
			for i := range 3 {
				f.manageModule(fmt.Sprintf("device-%04d", i))
			}
			keeper := f.keeper(Settings{Interval: time.Hour, FullSweep: time.Hour})
			held := f.fault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultHold, Count: 1})
			keeper.startSweep(t.Context(), f.session, hub.Devices, keeper.batches(hub.Devices), true)
			f.Eventually(func() int { return f.hits(held) }, patience, poll).Should(Equal(1))
			if deleted {
				f.report("device-0002", 1)
				_, err := f.hub.ReportModule("device-0002", "m", []byte(`{"last":1}`))
				f.Expect(err).NotTo(HaveOccurred())
				f.Expect(f.hub.RemoveDevice("device-0002")).To(Succeed())
			}
			for i := range 2 * maxSilent {
				_, err := f.hub.ReportModule("device-0000", "m", fmt.Appendf(nil, `{"reported":%d}`, i))
				f.Expect(err).NotTo(HaveOccurred())
				f.Expect(keeper.cycle(t.Context(), f.session, keeper.settings)).To(Succeed())
				f.Eventually(func() int { return f.documents("device-0000/m") }, patience, poll).Should(Equal(i + 1))
			}
			f.hub.RemoveFault(held)
		})
	}
}

// manageModule has an object manage the module m of a device, and be in step with it.
func (f *fleet) manageModule(device string) {
	f.Helper()
	_, err := f.hub.AddModule(device, "m")
	f.Expect(err).NotTo(HaveOccurred())
	id := hub.ID{Device: device, Module: "m"}
	name := types.NamespacedName{Namespace: "ns", Name: id.String()}
	f.group.Track(name, f.key, id)
	twin, err := f.session.GetTwin(f.Context(), id)
	f.Expect(err).NotTo(HaveOccurred())
	f.group.Of(name).Dealt(twin, true)
}
