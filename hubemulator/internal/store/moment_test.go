package store_test

import (
	"encoding/json"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testclock "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// change moves everything that a moment holds of devices a and b, removes c, and registers d.
func change(t *testing.T, h *hub) {
	t.Helper()
	g := NewWithT(t)
	h.step(time.Minute)
	for _, id := range []store.ID{{Device: "a"}, {Device: "a", Module: "m1"}, {Device: "b"}} {
		_, err := h.PatchTwin(id, "", []byte(`{"tags":{"later":1},"properties":{"desired":{"later":1}}}`))
		g.Expect(err).NotTo(HaveOccurred())
	}
	_, err := h.PutIdentity(store.ID{Device: "a", Module: "m3"}, "", []byte("{}"))
	g.Expect(err).NotTo(HaveOccurred())
	_, err = h.Report(store.ID{Device: "a"}, []byte(`{"later":1}`))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(h.SendCommand("a", store.Command{Body: []byte("later")})).To(Succeed())
	h.remove(t, store.ID{Device: "a", Module: "m2"})
	h.remove(t, store.ID{Device: "c"})
	h.put(t, "d")
}

func populated(t *testing.T) *hub {
	t.Helper()
	h := newHub(t)
	h.put(t, "a", "m1", "m2")
	h.put(t, "b")
	h.put(t, "c", "m1")
	g := NewWithT(t)
	_, err := h.PatchTwin(store.ID{Device: "a"}, "", []byte(`{"tags":{"x":1},"properties":{"desired":{"y":{"z":1}}}}`))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(h.SendCommand("b", store.Command{Body: []byte("first")})).To(Succeed())
	return h
}

// Each twin is what it was, whatever happened to it meanwhile.
func TestRewind(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := populated(t)
	before, moment := saved(t, h), h.Moment()
	change(t, h)
	_, dropped := h.connect(t, "b")

	g.Expect(h.Rewind(moment)).To(Succeed())
	g.Expect(dropped).To(Receive(Equal(store.DropRestored)))
	g.Expect(h.connectionState(t, store.ID{Device: "b"})).To(Equal("Disconnected"))

	again := newHub(t)
	restore(t, again, before)
	for _, id := range []store.ID{{Device: "a"}, {Device: "a", Module: "m1"}, {Device: "a", Module: "m2"}, {Device: "c", Module: "m1"}} {
		was, err := again.Twin(id)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(h.Twin(id)).To(Equal(was))
	}
	for _, id := range []store.ID{{Device: "d"}, {Device: "a", Module: "m3"}} {
		g.Expect(h.Has(id)).To(BeFalse())
	}
}

// A moment is good for more than once: that a device was disconnected on the way back is no
// part of it.
func TestRewindTwice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := populated(t)
	before, moment := saved(t, h), h.Moment()
	h.step(time.Minute)
	h.connect(t, "b")
	g.Expect(h.Rewind(moment)).To(Succeed())
	g.Expect(saved(t, h)).NotTo(Equal(before), "when it was disconnected is told")
	g.Expect(h.Rewind(moment)).To(Succeed())
	g.Expect(string(saved(t, h))).To(Equal(string(before)))
}

func TestRewindOfOneDevice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := populated(t)
	moment := h.Moment()
	change(t, h)
	g.Expect(h.Rewind(moment, "a", "c")).To(Succeed())
	tags := func(id store.ID) any {
		twin, err := h.Twin(id)
		g.Expect(err).NotTo(HaveOccurred())
		return twin["tags"]
	}
	g.Expect(tags(store.ID{Device: "a"})).To(Equal(map[string]any{"x": json.Number("1")}))
	g.Expect(tags(store.ID{Device: "a", Module: "m1"})).To(BeNil())
	g.Expect(h.Has(store.ID{Device: "a", Module: "m3"})).To(BeFalse())
	g.Expect(h.Has(store.ID{Device: "c", Module: "m1"})).To(BeTrue())
	g.Expect(h.Has(store.ID{Device: "d"})).To(BeTrue(), "it was not asked for")
	g.Expect(tags(store.ID{Device: "b"})).NotTo(BeNil(), "it was not asked for")

	g.Expect(h.Rewind(moment, "b", "unknown")).To(MatchError(ContainSubstring("unknown")))
	g.Expect(tags(store.ID{Device: "b"})).NotTo(BeNil(), "a refused rewind changes nothing")
	g.Expect(h.Rewind(moment, "d")).To(Succeed())
	g.Expect(h.Has(store.ID{Device: "d"})).To(BeFalse())
}

func TestLateQueriesSeeARewindLate(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	clock := testclock.NewFakePassiveClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	h := &hub{Store: store.New(store.Options{HostNames: []string{host}, Clock: clock, QueryLag: time.Minute}), clock: clock}
	h.put(t, "a")
	moment := h.Moment()
	h.step(time.Hour)
	_, err := h.PatchTwin(store.ID{Device: "a"}, "", []byte(`{"tags":{"later":1}}`))
	g.Expect(err).NotTo(HaveOccurred())
	h.step(time.Hour)
	etags := func() (seen []string) {
		for _, twin := range h.Scan(store.Devices, store.ID{}) {
			seen = append(seen, twin.Etag())
		}
		return seen
	}
	later := etags()
	g.Expect(h.Rewind(moment)).To(Succeed())
	g.Expect(etags()).To(Equal(later))
	h.step(time.Minute)
	g.Expect(etags()).To(HaveLen(1))
	g.Expect(etags()).NotTo(Equal(later))
}
