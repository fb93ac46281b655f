package store_test

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

type tags = map[string]string

func TestQueriesSeeTwinsLate(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newLateHub(10*time.Second, 0)
	h.put(t, "d1")
	g.Expect(h.seen()).To(BeEmpty())
	h.step(6 * time.Second)
	h.tag(t, "d1", 1)
	h.step(3 * time.Second)
	h.tag(t, "d1", 2)
	h.put(t, "d2")
	g.Expect(h.seen()).To(BeEmpty())
	h.step(time.Second) // 10 s after the creation
	g.Expect(h.seen()).To(Equal(tags{"d1": "<nil>"}))
	g.Expect(h.seen()).To(Equal(tags{"d1": "<nil>"}), "a query changes nothing")
	h.step(6 * time.Second) // 10 s after the first change
	g.Expect(h.seen()).To(Equal(tags{"d1": "1"}))
	h.remove(t, store.ID{Device: "d1"})
	h.step(3 * time.Second) // 10 s after the second
	g.Expect(h.seen()).To(Equal(tags{"d1": "2", "d2": "<nil>"}))
	h.step(7*time.Second - time.Nanosecond)
	g.Expect(h.seen()).To(HaveLen(2))
	h.step(time.Nanosecond) // 10 s after the deletion
	g.Expect(h.seen()).To(Equal(tags{"d2": "<nil>"}))
}

// Everything a twin shows is late, whichever client changes it.
func TestAllChangesAreSeenLate(t *testing.T) {
	t.Parallel()
	h := newLateHub(time.Second, 0)
	h.put(t, "d1", "m1")
	device, module := store.ID{Device: "d1"}, store.ID{Device: "d1", Module: "m1"}
	var session *store.Session
	for _, step := range []struct {
		name   string
		change func() error
	}{
		{"tags", func() error { h.tag(t, "d1", 1); return nil }},
		{"reported", func() error { _, err := h.Report(device, []byte(`{"a":1}`)); return err }},
		{"identity", func() error { _, err := h.PutIdentity(device, "*", []byte(`{"statusReason":"x"}`)); return err }},
		{"module", func() error { _, err := h.PatchTwin(module, "", []byte(`{"tags":{"a":1}}`)); return err }},
		{"connected", func() error { session, _ = h.connect(t, "d1"); return nil }},
	} {
		g := NewWithT(t)
		before := h.documents()
		g.Expect(step.change()).To(Succeed())
		g.Expect(h.documents()).To(Equal(before), step.name)
		h.step(time.Second)
		after := h.documents()
		g.Expect(after).NotTo(Equal(before), step.name)
		g.Expect(after).To(Equal(h.current(t, device, module)), step.name)
	}
	g := NewWithT(t)
	before := h.documents()
	session.Close()
	g.Expect(h.documents()).To(Equal(before))
	h.step(time.Second)
	g.Expect(h.documents()).To(Equal(h.current(t, device, module)))
}

func (h *hub) documents() map[store.ID]map[string]any {
	found := map[store.ID]map[string]any{}
	for _, source := range []store.Source{store.Devices, store.Modules} {
		for id, twin := range h.Scan(source, store.ID{}) {
			found[id] = twin.Document()
		}
	}
	return found
}

func (h *hub) current(t *testing.T, ids ...store.ID) map[store.ID]map[string]any {
	t.Helper()
	found := map[store.ID]map[string]any{}
	for _, id := range ids {
		twin, err := h.Twin(id)
		if err != nil {
			t.Fatal(err)
		}
		found[id] = twin
	}
	return found
}

func TestGhosts(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newLateHub(0, time.Minute)
	h.put(t, "d1", "m1")
	h.tag(t, "d1", 1)
	g.Expect(h.seen()).To(Equal(tags{"d1": "1"}), "without a lag, a query sees what there is")
	h.remove(t, store.ID{Device: "d1"})
	h.step(time.Minute - time.Nanosecond)
	g.Expect(h.seen()).To(Equal(tags{"d1": "1"}))
	g.Expect(scanned(h.Scan(store.Modules, store.ID{}))).To(HaveLen(1), "its modules are deleted with it")
	_, err := h.Twin(store.ID{Device: "d1"})
	g.Expect(refusal(t, err).Status).To(Equal(404), "only queries see ghosts")
	h.step(time.Nanosecond)
	g.Expect(h.seen()).To(BeEmpty())
	g.Expect(scanned(h.Scan(store.Modules, store.ID{}))).To(BeEmpty())
}

func TestGhostIsReplacedByItsSuccessor(t *testing.T) {
	t.Parallel()
	for _, between := range []time.Duration{0, time.Second} {
		g := NewWithT(t)
		h := newLateHub(0, time.Minute)
		h.put(t, "d1")
		h.tag(t, "d1", 1)
		h.remove(t, store.ID{Device: "d1"})
		h.step(between)
		h.put(t, "d1")
		g.Expect(h.seen()).To(Equal(tags{"d1": "<nil>"}))
		h.step(time.Hour)
		g.Expect(h.seen()).To(Equal(tags{"d1": "<nil>"}), "the end of the ghost is none of its successor's")
		h.remove(t, store.ID{Device: "d1"})
		h.step(time.Minute)
		g.Expect(h.seen()).To(BeEmpty())
	}
}

// With both, a deletion is seen when the longer of the two is over.
func TestLagAndGhosts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ lag, ghosts time.Duration }{{time.Second, time.Minute}, {time.Minute, time.Second}} {
		g := NewWithT(t)
		h := newLateHub(tt.lag, tt.ghosts)
		h.put(t, "d1")
		h.step(time.Hour)
		h.remove(t, store.ID{Device: "d1"})
		h.step(time.Minute - 1)
		g.Expect(h.seen()).To(HaveLen(1))
		h.step(1)
		g.Expect(h.seen()).To(BeEmpty())
	}
}

// However many changes there are within the lag, queries go on to see newer
// and newer ones, and never one that is too new.
func TestManyChangesWithinTheLag(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newLateHub(10*time.Second, 0)
	h.put(t, "d1")
	h.step(time.Hour)
	newest, different := 0, 0
	for i := 1; i <= 1000; i++ { // ten a second
		h.tag(t, "d1", i)
		h.step(100 * time.Millisecond)
		var value int
		if _, err := fmt.Sscan(h.seen()["d1"], &value); err == nil {
			g.Expect(value).To(BeNumerically(">=", newest))
			if value > newest {
				different++
			}
			newest = value
		}
		g.Expect(newest).To(BeNumerically("<=", max(0, i+1-100)))
	}
	g.Expect(newest).To(BeNumerically(">=", 700))
	g.Expect(different).To(BeNumerically("<=", 400), "no more than 32 at a time are remembered")
	h.step(10 * time.Second)
	g.Expect(h.seen()).To(Equal(tags{"d1": "1000"}), "the last one counts in the end")
}

func TestTheOldestGhostsAreForgottenFirst(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newLateHub(0, time.Hour)
	const most = 10_000
	for i := range most + 5 {
		id := fmt.Sprintf("d%05d", i)
		h.put(t, id)
		h.remove(t, store.ID{Device: id})
	}
	ghosts := scanned(h.Scan(store.Devices, store.ID{}))
	g.Expect(ghosts).To(HaveLen(most))
	g.Expect(ghosts[0].Device).To(Equal("d00005"))
}
