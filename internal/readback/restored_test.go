package readback

import (
	"fmt"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// TestARestoredHubIsReadAgain, all of it, in two full sweeps: what was written since is gone, and every row
// looks late. More twins are read directly than one look may ask for in vain.
func TestARestoredHubIsReadAgain(t *testing.T) {
	t.Parallel()
	const many = 3 * maxRefuted
	for name, restored := range map[string][]string{"the whole hub": nil, "one device": {"device-0007"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, hubemulator.Options{Devices: devices(many)}, Settings{Interval: interval, FullSweep: time.Second})
			f.manage(devices(many)...)
			before := f.hub.Snapshot()
			for _, device := range devices(many) {
				f.tag(device, "our own")
			}
			f.look(devices(many)...)
			f.Expect(f.hub.Restore(before, restored...)).To(Succeed())
			affected := restored
			if affected == nil {
				affected = devices(many)
			}
			f.Eventually(func() bool {
				return !slices.ContainsFunc(affected, func(device string) bool { return f.reads(device) == 0 })
			}, patience, poll).Should(BeTrue())
			f.awaitSweeps(3)
			f.Expect(f.total(f.read)).To(Equal(len(affected)), "once each, and no other")
		})
	}
}

// awaitSweeps waits until all twins were looked at n more times.
func (f *fleet) awaitSweeps(n uint32) {
	f.Helper()
	book := f.group.hubs[f.key].fingerprints
	sweeps := func() uint32 {
		book.mu.Lock()
		defer book.mu.Unlock()
		return book.sweeps[hub.Devices]
	}
	before := sweeps()
	f.Eventually(func() uint32 { return sweeps() - before }, patience, poll).Should(BeNumerically(">=", n))
}

// TestDevicesThatAreGoneAfterARestoreAreFound, however many they are, and those that came back are no news of others.
func TestDevicesThatAreGoneAfterARestoreAreFound(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(1)}, Settings{Interval: interval, FullSweep: 500 * time.Millisecond})
	before := f.hub.Snapshot()
	for _, device := range devices(large)[1:] {
		_, err := f.hub.AddDevice(device)
		f.Expect(err).NotTo(HaveOccurred())
	}
	f.manage(devices(large)...)
	f.look(devices(large)...)
	f.Expect(f.hub.Restore(before)).To(Succeed())
	f.Eventually(func() int { return f.total(f.read) }, patience, poll).Should(Equal(large - 1))
}

// wakes is a book that tells who was woken.
func wakes(t *testing.T, n int) (b *fingerprints, woken func() []string, now time.Time) {
	t.Helper()
	now = time.Now()
	var names []string
	b = newFingerprints(func(name types.NamespacedName) { names = append(names, name.Name) }, now)
	for i := range n {
		id := hub.ID{Device: fmt.Sprint(i)}
		b.track(id, types.NamespacedName{Name: id.Device})
		b.dealt(&hub.Twin{ID: id, ETag: "e9", DeviceETag: "d", Version: 9}, true, now)
	}
	return b, func() []string {
		defer func() { names = nil }()
		return names
	}, now
}

func rowsOf(n int, version int64) []hub.IndexRow {
	page := make([]hub.IndexRow, n)
	for i := range page {
		page[i] = hub.IndexRow{ID: hub.ID{Device: fmt.Sprint(i)}, ETag: "e8", DeviceETag: "d", Version: version}
	}
	return page
}

// TestAnIndexThatWentBackInTimeIsRefutedByFewReads: only where they find the hub changed, others follow.
func TestAnIndexThatWentBackInTimeIsRefutedByFewReads(t *testing.T) {
	t.Parallel()
	const many = 3 * maxRefuted
	for name, restored := range map[string]bool{"the hub is as it was": false, "the hub was restored": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			b, woken, now := wakes(t, many)
			now = now.Add(maxLate)
			b.compare(rowsOf(many, 8), true, time.Time{}, now)
			read := 0
			for names := woken(); len(names) > 0; names = woken() {
				for _, name := range names {
					read++
					twin := &hub.Twin{ID: hub.ID{Device: name}, ETag: "e9", DeviceETag: "d", Version: 9}
					if restored {
						twin.ETag, twin.Version = "e8", 8
					}
					b.dealt(twin, true, now)
				}
			}
			if restored {
				g.Expect(read).To(Equal(many))
				g.Expect(b.waiting).To(BeEmpty())
				return
			}
			g.Expect(read).To(Equal(maxRefuted))
			b.compare(rowsOf(many, 8), true, time.Time{}, now.Add(maxLate-1))
			g.Expect(woken()).To(BeEmpty(), "within the bound")
			b.compare(rowsOf(many, 8), true, time.Time{}, now.Add(maxLate))
			g.Expect(woken()).To(HaveLen(maxRefuted), "others, or the same: doubt does not end for good")
			b.compare([]hub.IndexRow{{ID: hub.ID{Device: "0"}, ETag: "e9", DeviceETag: "d", Version: 9}}, true, time.Time{}, now.Add(maxLate))
			_, _, doubt := b.evidence(hub.ID{Device: "0"}, now)
			g.Expect(doubt).To(BeFalse(), "the index withdrew it")
		})
	}
}
