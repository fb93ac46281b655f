package readback

import (
	"context"
	"fmt"
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
