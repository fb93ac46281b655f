package store_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testclock "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// newLateHub is newHub whose queries are late.
func newLateHub(lag, ghosts time.Duration) *hub {
	clock := testclock.NewFakePassiveClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	return &hub{Store: store.New(store.Options{HostNames: []string{host}, Clock: clock, QueryLag: lag, QueryGhosts: ghosts}), clock: clock}
}

func (h *hub) put(t *testing.T, deviceID string, moduleIDs ...string) {
	t.Helper()
	for _, moduleID := range append([]string{""}, moduleIDs...) {
		if _, err := h.PutIdentity(store.ID{Device: deviceID, Module: moduleID}, "", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
}

func (h *hub) tag(t *testing.T, deviceID string, value int) {
	t.Helper()
	if _, err := h.PatchTwin(store.ID{Device: deviceID}, "", fmt.Appendf(nil, `{"tags":{"a":%d}}`, value)); err != nil {
		t.Fatal(err)
	}
}

func (h *hub) remove(t *testing.T, id store.ID) {
	t.Helper()
	if err := h.DeleteIdentity(id, "*"); err != nil {
		t.Fatal(err)
	}
}

func (h *hub) step(d time.Duration) { h.clock.SetTime(h.clock.Now().Add(d)) }

// seen lists the devices that queries find, with their tag.
func (h *hub) seen() map[string]string {
	found := map[string]string{}
	for id, twin := range h.Scan(store.Devices, store.ID{}) {
		tag, _ := twin.Property([]string{"tags", "a"})
		found[id.Device] = fmt.Sprint(tag)
	}
	return found
}

func scanned(twins iter.Seq2[store.ID, *store.Snapshot]) []store.ID {
	ids := []store.ID{}
	for id := range twins {
		ids = append(ids, id)
	}
	return ids
}

func TestScanIsInOrder(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]*hub{"live": newHub(t), "late": newLateHub(0, time.Minute)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h.put(t, "b", "z", "m")
			h.put(t, "a")
			h.put(t, "B", "m")
			g.Expect(scanned(h.Scan(store.Devices, store.ID{}))).To(Equal([]store.ID{{Device: "B"}, {Device: "a"}, {Device: "b"}}))
			g.Expect(scanned(h.Scan(store.Devices, store.ID{Device: "a"}))).To(Equal([]store.ID{{Device: "b"}}))
			g.Expect(scanned(h.Scan(store.Devices, store.ID{Device: "aa"}))).To(Equal([]store.ID{{Device: "b"}}))
			g.Expect(scanned(h.Scan(store.Devices, store.ID{Device: "b"}))).To(BeEmpty())
			g.Expect(scanned(h.Scan(store.Modules, store.ID{}))).To(Equal([]store.ID{
				{Device: "B", Module: "m"}, {Device: "b", Module: "m"}, {Device: "b", Module: "z"},
			}))
			g.Expect(scanned(h.Scan(store.Modules, store.ID{Device: "b", Module: "m"}))).To(Equal([]store.ID{{Device: "b", Module: "z"}}))
		})
	}
}

// Whatever came and went in whatever order, all that is left is found in order,
// over several batches, and by lists as well.
func TestOrderAfterManyCameAndWent(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t)
	random := rand.New(rand.NewPCG(1, 2))
	left := []store.ID{}
	for _, i := range random.Perm(1200) {
		id := store.ID{Device: fmt.Sprintf("d%04d", i)}
		h.put(t, id.Device, "m")
		if i%2 == 0 {
			left = append(left, id)
		}
	}
	for _, i := range random.Perm(1200) {
		if i%2 == 1 {
			h.remove(t, store.ID{Device: fmt.Sprintf("d%04d", i)})
		}
	}
	slices.SortFunc(left, store.ID.Compare)
	g.Expect(scanned(h.Scan(store.Devices, store.ID{}))).To(Equal(left))
	listed := []store.ID{}
	for _, document := range h.Identities(1000) {
		listed = append(listed, store.ID{Device: document["deviceId"].(string)})
	}
	g.Expect(listed).To(Equal(left))
	for i := range left {
		left[i].Module = "m"
	}
	g.Expect(scanned(h.Scan(store.Modules, store.ID{}))).To(Equal(left))
}

// A snapshot's properties are those of its document, wherever they come from.
func TestSnapshotProperties(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.put(t, "d1", "m1")
	h.put(t, "plain")
	for _, id := range []store.ID{{Device: "d1"}, {Device: "d1", Module: "m1"}} {
		_, err := h.PatchTwin(id, "", []byte(`{"tags":{"a":{"b":[1]}},"properties":{"desired":{"x":{"y":1,"z":{}},"$lastly":null}}}`))
		NewWithT(t).Expect(err).To(HaveOccurred(), "names with $ are refused")
		h.step(time.Second)
		_, err = h.PatchTwin(id, "", []byte(`{"tags":{"a":{"b":[1]}},"properties":{"desired":{"x":{"y":1,"z":{}}}}}`))
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		_, err = h.Report(id, []byte(`{"r":{"s":"t"}}`))
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
	}
	for _, source := range []store.Source{store.Devices, store.Modules} {
		for id, twin := range h.Scan(source, store.ID{}) {
			g := NewWithT(t)
			g.Expect(h.Twin(id)).To(BeEquivalentTo(twin.Document()))
			expectSameJSON(t, twin)
			whole, defined := twin.Property(nil)
			g.Expect(defined).To(BeTrue())
			checkProperties(g, twin, nil, whole)
			for _, missing := range [][]string{
				{"nothing"}, {"deviceId", "below"}, {"tags", "nothing"}, {"tags", "a", "b", "c"}, {"configurations", "x", "status"},
				{"properties", "other"}, {"properties", "desired", "nothing"}, {"properties", "desired", "$version", "below"},
				{"properties", "desired", "$metadata", "nothing"}, {"properties", "desired", "$metadata", "$lastUpdated", "below"},
				{"properties", "desired", "$metadata", "$lastUpdatedVersion", "below"},
				{"properties", "reported", "$metadata", "$lastUpdatedVersion"}, {"properties", "reported", "$metadata", "r", "$lastUpdatedVersion"},
			} {
				_, defined := twin.Property(missing)
				g.Expect(defined).To(BeFalse(), "%v", missing)
			}
		}
	}
}

func TestEmptiedSectionHasNoVersionOfItsOwn(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1")
	h.tag(t, "d1", 1)
	_, err := h.ReplaceTwin(store.ID{Device: "d1"}, "", []byte(`{}`))
	g.Expect(err).NotTo(HaveOccurred())
	for _, twin := range h.Scan(store.Devices, store.ID{}) {
		checkProperties(g, twin, nil, twin.Document())
		expectSameJSON(t, twin)
		for _, missing := range [][]string{{"properties", "desired", "$metadata", "$lastUpdatedVersion"}, {"tags"}, {"tags", "a"}} {
			_, defined := twin.Property(missing)
			g.Expect(defined).To(BeFalse(), "%v", missing)
		}
	}
}

func TestScanLeavesOutWhatIsDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t)
	for i := range 600 {
		h.put(t, fmt.Sprintf("d%03d", i))
	}
	last := ""
	for id := range h.Scan(store.Devices, store.ID{}) {
		if last == "" {
			h.remove(t, store.ID{Device: "d599"})
		}
		last = id.Device
	}
	g.Expect(last).To(Equal("d598"))
}

func checkProperties(g *WithT, twin *store.Snapshot, path []string, want any) {
	got, defined := twin.Property(path)
	g.Expect(defined).To(BeTrue(), "%v", path)
	wanted, err := json.Marshal(want)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(json.Marshal(got)).To(MatchJSON(wanted), "%v", path)
	if object, isObject := want.(map[string]any); isObject {
		for name, value := range object {
			checkProperties(g, twin, append(slices.Clone(path), name), value)
		}
	}
}

// Going on behind the last id, one sees everything that stays exactly once,
// however the rest changes.
func TestScanUnderConcurrentWrites(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]*hub{"live": newHub(t), "late": newLateHub(time.Minute, time.Hour)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stay := []string{}
			for i := range 600 {
				stay = append(stay, fmt.Sprintf("d%03d", i))
				h.put(t, stay[i])
			}
			h.step(time.Minute)
			var group sync.WaitGroup
			stop := make(chan struct{})
			group.Go(func() { comeAndGo(t, h, stop) })
			found := []string{}
			for after := (store.ID{}); ; {
				page := 0
				for id := range h.Scan(store.Devices, after) {
					after = id
					if len(id.Device) == 4 {
						found = append(found, id.Device)
					}
					if page++; page == 50 {
						break
					}
				}
				if page < 50 {
					break
				}
			}
			close(stop)
			group.Wait()
			NewWithT(t).Expect(found).To(Equal(stay))
		})
	}
}

// comeAndGo creates, changes and deletes devices between those that stay.
func comeAndGo(t *testing.T, h *hub, stop <-chan struct{}) {
	t.Helper()
	for i := 0; ; i = (i + 7) % 600 {
		select {
		case <-stop:
			return
		default:
		}
		passing, staying := store.ID{Device: fmt.Sprintf("d%03dx", i)}, store.ID{Device: fmt.Sprintf("d%03d", i)}
		if _, err := h.PutIdentity(passing, "", []byte("{}")); err != nil {
			t.Error(err)
			return
		}
		if _, err := h.PatchTwin(staying, "", []byte(`{"tags":{"a":1}}`)); err != nil {
			t.Error(err)
			return
		}
		if err := h.DeleteIdentity(passing, "*"); err != nil {
			t.Error(err)
			return
		}
	}
}
