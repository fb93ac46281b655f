package readback

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// TestOddTwinsHarmNoOthers: whatever the hub holds of one device, managed or not, reports and tags of the others show.
func TestOddTwinsHarmNoOthers(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{"a few": 3, "many": large} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, hubemulator.Options{Devices: devices(n)}, Settings{Interval: interval, FullSweep: 300 * time.Millisecond})
			f.manage(devices(n)...)
			f.look(devices(n)...)
			for _, odd := range []string{"..", "."} {
				_, err := f.hub.AddDevice(odd)
				f.Expect(err).NotTo(HaveOccurred())
			}
			f.awaitSweeps(2)
			f.tag("device-0001", "by another")
			f.report("device-0002", 1)
			for _, device := range []string{"device-0001", "device-0002"} {
				f.Eventually(func() int { return f.documents(device) }, patience, poll).Should(Equal(1))
			}
			f.Expect(f.group.State(f.key).Failing).To(BeEmpty())
			if n == large {
				f.Expect(f.group.State(f.key).Unreadable).To(And(ContainSubstring(".."), ContainSubstring(", ")))
			}
		})
	}
}

// TestLargeTwinsAreReadInSmallerPages: a hundred of them are more than one answer may hold.
func TestLargeTwinsAreReadInSmallerPages(t *testing.T) {
	t.Parallel()
	const many = 110
	f := newFleet(t, hubemulator.Options{Devices: devices(many)}, Settings{Interval: time.Hour, FullSweep: time.Hour})
	large := map[string]any{}
	for i := range 900 {
		large[fmt.Sprintf("setting-%04d", i)] = strings.Repeat("v", 20)
	}
	for _, device := range devices(many) {
		twin, err := f.session.GetTwin(context.Background(), hub.ID{Device: device})
		f.Expect(err).NotTo(HaveOccurred())
		_, err = f.session.PatchTwin(context.Background(), hub.ID{Device: device}, twin.ETag, hub.Patch{Desired: large})
		f.Expect(err).NotTo(HaveOccurred())
	}
	f.manage(devices(many)...)
	for _, device := range devices(many) {
		f.known(device).Want()
	}
	f.Eventually(func() int { return f.total(f.handed) }, 3*patience, poll).Should(Equal(many))
	f.Expect(f.total(f.read)).To(BeZero())
}

// spoiling is a session to which one device's batch is answered with what no IoT Hub gives.
type spoiling struct {
	hub.Session

	device string
}

func (s spoiling) answer(batch []string) error {
	if slices.Contains(batch, s.device) {
		return &hub.Error{Reason: hub.ReasonUnexpectedAnswer}
	}
	return nil
}

func (s spoiling) FindRows(ctx context.Context, look hub.RowSelection, seen func([]hub.IndexRow) error) error {
	if err := s.answer(look.Batch); err != nil {
		return err
	}
	return s.Session.FindRows(ctx, look, seen)
}

func (s spoiling) FindTwins(ctx context.Context, from hub.Source, batch []string, found func(*hub.Twin), unreadable func(hub.Unreadable)) error {
	if err := s.answer(batch); err != nil {
		return err
	}
	return s.Session.FindTwins(ctx, from, batch, found, unreadable)
}

// TestABatchThatCannotBeReadHarmsNoOther: its twins are read one by one, others by their batches, and what is gone is
// found; but the sweep is not complete.
func TestABatchThatCannotBeReadHarmsNoOther(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(1000)}, Settings{Interval: time.Hour, FullSweep: time.Hour})
	f.manage(devices(large)...)
	f.look(devices(large)...)
	keeper := f.keeper(Settings{Interval: time.Hour, FullSweep: time.Hour})
	bad := spoiling{f.session, "device-0001"}
	moved := make([]hub.IndexRow, large)
	for i, device := range devices(large) {
		moved[i] = hub.IndexRow{ID: hub.ID{Device: device}, Version: 99}
	}
	keeper.fingerprints.compare(moved, false, time.Time{}, time.Now())
	f.report("device-0001", 1)
	f.report("device-0201", 1)
	f.Expect(keeper.read(t.Context(), bad, hub.Devices, &keeper.deltaTime)).NotTo(Succeed())
	f.Eventually(func() int { return f.total(f.read) }, patience, poll).Should(Equal(hub.PageRows))
	f.Expect(f.reads("device-0001")).To(Equal(1))
	f.Eventually(func() int { return f.documents("device-0201") }, patience, poll).Should(Equal(1))

	f.Expect(f.hub.RemoveDevice("device-0200")).To(Succeed())
	result := keeper.sweep(t.Context(), bad, hub.Devices, keeper.batches(hub.Devices), false)
	f.Expect(result.err).NotTo(HaveOccurred())
	f.Expect(result.spoilt).To(HaveOccurred())
	f.Eventually(func() int { return f.reads("device-0200") }, patience, poll).Should(Equal(1))
	f.Expect(f.total(f.read)).To(Equal(hub.PageRows+1), "what was not looked at is not missing")
	before := keeper.ages.swept[hub.Devices]
	f.Expect(keeper.finish(result)).NotTo(Succeed())
	f.Expect(keeper.ages.swept[hub.Devices]).To(Equal(before))
}

// pageless is a session to a hub in front of which something else answers.
type pageless struct{ hub.Session }

func (pageless) FindTwins(context.Context, hub.Source, []string, func(*hub.Twin), func(hub.Unreadable)) error {
	return &hub.Error{Reason: hub.ReasonUnexpectedAnswer}
}

func (pageless) Count(context.Context, hub.Source, string) (int64, error) {
	return 0, &hub.Error{Reason: hub.ReasonUnexpectedAnswer}
}

// TestAPageInFrontOfTheHubHasNoTwinReadDirectly: no twin is to blame, so none is asked for on its own; all are read once
// the hub answers again.
func TestAPageInFrontOfTheHubHasNoTwinReadDirectly(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(large)}, Settings{Interval: time.Hour, FullSweep: time.Hour})
	f.manage(devices(large)...)
	keeper := f.keeper(Settings{Interval: time.Hour, FullSweep: time.Hour})
	for _, device := range devices(large) {
		keeper.fingerprints.want(hub.ID{Device: device})
	}
	f.Expect(keeper.read(t.Context(), pageless{f.session}, hub.Devices, &keeper.deltaTime)).NotTo(Succeed())
	f.Expect(keeper.fingerprints.wantedOf(hub.Devices)).To(HaveLen(large), "none is given up")
	f.Expect(keeper.read(t.Context(), f.session, hub.Devices, &keeper.deltaTime)).To(Succeed())
	f.Eventually(func() int { return f.total(f.handed) }, patience, poll).Should(Equal(large))
	f.Expect(f.total(f.read)).To(BeZero())
}
