package readback

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// TestDocumentsThatNoObjectTakes make room for others: their objects read the hub itself when they come.
func TestDocumentsThatNoObjectTakes(t *testing.T) {
	t.Parallel()
	const stuck, all = maxPending, maxPending + 200
	now := clocktesting.NewFakeClock(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
	f := newFleetBy(t, now, hubemulator.Options{Devices: devices(all)},
		dispatch.Limits{QueriesPerMinute: 1e9, ReadsPerSecond: 1e6, UpdatesPerSecond: 1e6}, Settings{Interval: time.Second, FullSweep: time.Hour})
	f.manage(devices(all)...)
	f.mu.Lock()
	for _, device := range devices(stuck) {
		f.deaf[device] = true
	}
	f.mu.Unlock()
	f.look(devices(all)...)
	for _, device := range devices(all) {
		f.report(device, 1)
	}
	last := devices(all)[all-1]
	passed := time.Duration(0)
	f.Eventually(func() int {
		now.Step(time.Second)
		passed += time.Second
		return f.documents(last)
	}, patience, poll).Should(Equal(1), "an object that is in step")
	f.Expect(passed).To(BeNumerically("<", 200*pendingPatience))
	f.Expect(f.known(devices(all)[0]).Evidence().Doubt).To(BeTrue(), "an object that comes late reads the hub itself")
}

// TestAnObjectThatReadsTheHubNeedsNoDocument: what is in hand for it is dropped, unless it is newer.
func TestAnObjectThatReadsTheHubNeedsNoDocument(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		read int64
		left int
	}{"as new": {10, 0}, "newer": {11, 0}, "older": {9, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			b, _, now := wakes(t, 1)
			id := hub.ID{Device: "0"}
			b.compare(rowsOf(1, 10), true, time.Time{}, now)
			b.offer(&hub.Twin{ID: id, ETag: "e9", DeviceETag: "d", Version: 10}, now)
			b.dealt(&hub.Twin{ID: id, ETag: "e9", DeviceETag: "d", Version: tt.read}, true, now)
			g.Expect(b.pendingCount).To(Equal(tt.left))
		})
	}
}

// TestNothingIsLeftOfHubsAndTwinsThatWent, in whatever order they did.
func TestNothingIsLeftOfHubsAndTwinsThatWent(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	now := clocktesting.NewFakeClock(time.Now())
	group := NewGroup(now, Callbacks{})
	steps := map[string]func(key, name types.NamespacedName){
		"hub first":  func(key, name types.NamespacedName) { group.ForgetHub(key); group.Untrack(name) },
		"twin first": func(key, name types.NamespacedName) { group.Untrack(name); group.ForgetHub(key) },
		"another hub": func(key, name types.NamespacedName) {
			other := types.NamespacedName{Name: key.Name + "-other"}
			group.Track(name, other, hub.ID{Device: "d"})
			group.ForgetHub(key)
			group.Untrack(name)
		},
		"another device": func(key, name types.NamespacedName) {
			group.Track(name, key, hub.ID{Device: "e"})
			group.ForgetHub(key)
			group.Of(name).Want()
			group.Untrack(name)
		},
		"a hub that comes back": func(key, name types.NamespacedName) {
			group.ForgetHub(key)
			group.Track(name, key, hub.ID{Device: "d"})
			group.Untrack(name)
		},
	}
	for order, step := range steps {
		for i := range 10 {
			key, name := types.NamespacedName{Name: fmt.Sprint(order, i)}, types.NamespacedName{Name: fmt.Sprint("twin of ", order, i)}
			group.Serve(key, nil, Settings{})
			group.Track(name, key, hub.ID{Device: "d"})
			step(key, name)
		}
		g.Expect(group.names).To(BeEmpty(), order)
		g.Expect(group.hubs).To(BeEmpty(), order)
	}
}
