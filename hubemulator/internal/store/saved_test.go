package store_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// saved is a hub as a file would keep it.
func saved(t *testing.T, h *hub) []byte {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	g := NewWithT(t)
	g.Expect(encoder.Encode(h.SavedHub())).To(Succeed())
	for record := range h.Saved() {
		g.Expect(encoder.Encode(record)).To(Succeed())
	}
	return text.Bytes()
}

// restore fills an empty hub.
func restore(t *testing.T, into *hub, text []byte) {
	t.Helper()
	g := NewWithT(t)
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var first store.SavedHub
	g.Expect(decoder.Decode(&first)).To(Succeed())
	g.Expect(into.RestoreHub(first)).To(Succeed())
	for decoder.More() {
		var record store.SavedIdentity
		g.Expect(decoder.Decode(&record)).To(Succeed())
		g.Expect(into.Restore(record)).To(Succeed())
	}
}

func TestRestoreIsWhatWasSaved(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t)
	h.put(t, "a", "m2", "m1")
	h.put(t, "b")
	h.put(t, "gone")
	h.remove(t, store.ID{Device: "gone"})
	h.step(time.Second + 123456789)
	_, err := h.PatchTwin(store.ID{Device: "a", Module: "m1"}, "", []byte(`{"tags":{"a":[1.0,"<é>"]},"properties":{"desired":{"x":{"y":{}},"z":1e3}}}`))
	g.Expect(err).NotTo(HaveOccurred())
	h.step(time.Second)
	for _, name := range []string{"n", "o"} { // later, at one time
		_, err = h.PatchTwin(store.ID{Device: "a", Module: "m1"}, "", fmt.Appendf(nil, `{"properties":{"desired":{"x":{%q:1}}}}`, name))
		g.Expect(err).NotTo(HaveOccurred())
	}
	_, err = h.Report(store.ID{Device: "b"}, []byte(`{"r":{"s":true,"t":false}}`))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(h.SendCommand("b", store.Command{Body: []byte{0, 255}, Properties: map[string]string{"p": "q"}})).To(Succeed())
	session, _ := h.connect(t, "b")
	session.AnnounceModel("dtmi:x;1")
	session.KeepSubscription("devices/b/messages/devicebound/#", 1)
	session.SubscribeCommands(true, func(store.Command) {}) // it never acknowledges
	session.Close()
	text := saved(t, h)
	g.Expect(string(text)).To(ContainSubstring(`"deliveries":1`))

	again := newHub(t)
	restore(t, again, text)
	g.Expect(string(saved(t, again))).To(Equal(string(text)))
	for _, id := range []store.ID{{Device: "a"}, {Device: "a", Module: "m1"}, {Device: "a", Module: "m2"}, {Device: "b"}} {
		before, err := h.Twin(id)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(again.Twin(id)).To(Equal(before))
	}
	g.Expect(again.Policies()).To(Equal(h.Policies()))
	g.Expect(again.Seal([]byte("x"))).To(Equal(h.Seal([]byte("x"))), "queries go on where they were")
	again.put(t, "new")
	ticks := func(id store.ID) string { return must(again.Identity(id)).Document["generationId"].(string) }
	g.Expect(ticks(store.ID{Device: "new"}) > ticks(store.ID{Device: "a"})).To(BeTrue())
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err) // the test's own set-up
	}
	return value
}

func TestRefusedRestore(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "a")
	g.Expect(h.RestoreHub(store.SavedHub{})).To(MatchError("there is no policy"))
	g.Expect(h.Restore(store.SavedIdentity{})).To(MatchError("a device without an id"))
	g.Expect(h.Restore(store.SavedIdentity{DeviceID: "a"})).To(MatchError(`device "a", module "": it is there twice`))
	g.Expect(h.Restore(store.SavedIdentity{DeviceID: "b", ModuleID: "m"})).To(MatchError(`device "b", module "m": the device is not there`))
	g.Expect(h.Restore(store.SavedIdentity{DeviceID: "b", GenerationID: "first"})).To(
		MatchError(`device "b", module "": the generation id is no number of ticks`))
	for _, twin := range []string{
		`{"desired":{"values":{"a":1}}}`,
		`{"desired":{"values":{"a":1},"meta":{"c":{"b":{}}}}}`,
		`{"reported":{"values":{"a":{"b":1}},"meta":{"c":{"a":{}}}}}`,
		`{"reported":{"values":{"a":1},"meta":{"c":{"a":{"c":{"b":{}}}}}}}`,
		`{"reported":{"meta":{"c":{"a":{}}}}}`,
	} {
		record := store.SavedIdentity{DeviceID: "c"}
		g.Expect(json.Unmarshal([]byte(twin), &record.Twin)).To(Succeed())
		g.Expect(h.Restore(record)).To(MatchError(`device "c", module "": the metadata is not that of the twin's properties`), twin)
	}
	g.Expect(h.Has(store.ID{Device: "c"})).To(BeFalse())
}

func TestConnectedDevicesAreRestoredDisconnected(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1")
	h.connect(t, "d1")
	text := saved(t, h)
	again := newHub(t)
	again.step(time.Hour)
	restore(t, again, text)
	document := must(again.Identity(store.ID{Device: "d1"})).Document
	g.Expect(document["connectionState"]).To(Equal("Disconnected"))
	g.Expect(document["connectionStateUpdatedTime"]).To(Equal("2026-11-20T11:00:00Z"), "when the hub noticed")
	g.Expect(document["lastActivityTime"]).To(Equal("2026-11-20T10:00:00Z"))
}

func TestLateQueriesSeeWhatWasRestored(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "a")
	h.tag(t, "a", 1)
	again := newLateHub(time.Minute, 0)
	restore(t, again, saved(t, h))
	g.Expect(again.seen()).To(Equal(map[string]string{"a": "1"}))
	again.tag(t, "a", 2)
	g.Expect(again.seen()).To(Equal(map[string]string{"a": "1"}))
	again.step(time.Minute)
	g.Expect(again.seen()).To(Equal(map[string]string{"a": "2"}))
}

// The hub is at work while it is saved. A device that is there all the time is
// saved once; a change is saved whole or not at all, and no change has to wait
// for the end.
func TestSavedUnderChanges(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t)
	const devices = 1000
	for n := range devices {
		h.put(t, fmt.Sprintf("d%04d", n))
	}
	var ids []string
	for record := range h.Saved() {
		ids = append(ids, record.DeviceID)
		n := len(ids)
		if n == 1 {
			h.remove(t, store.ID{Device: "d0999"})
			h.put(t, "d0500a")
		}
		if n%10 == 0 && n < devices/2 {
			h.tag(t, fmt.Sprintf("d%04d", devices/2+n), n)
			h.put(t, fmt.Sprintf("new%04d", n))
		}
	}
	g.Expect(slices.IsSorted(ids)).To(BeTrue())
	g.Expect(slices.Compact(slices.Clone(ids))).To(Equal(ids), "nothing twice")
	for n := range devices - 1 {
		_, found := slices.BinarySearch(ids, fmt.Sprintf("d%04d", n))
		g.Expect(found).To(BeTrue(), "d%04d", n)
	}
}

// seenNow are all twins, each with everything that is in it.
func (h *hub) seenNow() map[*store.Snapshot]string {
	seen := map[*store.Snapshot]string{}
	for _, source := range []store.Source{store.Devices, store.Modules} {
		for _, twin := range h.Scan(source, store.ID{}) {
			seen[twin] = fmt.Sprintf("%+v", *twin)
		}
	}
	return seen
}

// target applies a configuration to all devices.
func (h *hub) target(t *testing.T, id string, priority int) error {
	t.Helper()
	body := fmt.Appendf(nil, `{"targetCondition":"*","priority":%d,"content":{"deviceContent":{"properties.desired.c":2}}}`, priority)
	if _, err := h.PutConfiguration(id, "", body); err != nil {
		return err
	}
	_, err := h.EvaluateConfigurations(t.Context())
	return err
}

// A change is one of what is saved, and none of what was seen before.
func TestRevisionMovesWithEveryChange(t *testing.T) {
	t.Parallel()
	h := newHub(t, "d1")
	d1, m1 := store.ID{Device: "d1"}, store.ID{Device: "d1", Module: "m1"}
	var session *store.Session
	var taken store.LockedCommand
	moment := h.Moment()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"create", func() error { _, err := h.PutIdentity(m1, "", []byte("{}")); return err }},
		{"update", func() error { _, err := h.PutIdentity(d1, "*", []byte("{}")); return err }},
		{"patch", func() error { _, err := h.PatchTwin(d1, "", []byte(`{"tags":{"a":1}}`)); return err }},
		{"replace", func() error { _, err := h.ReplaceTwin(d1, "", []byte(`{}`)); return err }},
		{"report", func() error { _, err := h.Report(d1, []byte(`{"a":1}`)); return err }},
		{"bulk", func() error {
			_, err := h.Bulk([]byte(`[{"id":"d1","importMode":"updateTwin","tags":{"b":1}}]`))
			return err
		}},
		{"target", func() error { return h.target(t, "high", 2) }},
		{"target in vain", func() error { return h.target(t, "low", 1) }},
		{"target no more", func() error { return h.DeleteConfiguration("high", "") }},
		{"renew a key", func() error {
			_, err := h.RegenerateKeys([]byte(`{"policyKey":"primaryKey","devices":[{"id":"d1"}]}`))
			return err
		}},
		{"activity over HTTPS", func() error { return h.DeviceActive("d1") }},
		{"send over HTTPS", func() error { return h.SendCommand("d1", store.Command{Body: []byte("x")}) }},
		{"take over HTTPS", func() error { taken, _, _ = h.TakeCommand("d1"); return nil }},
		{"settle over HTTPS", func() error { return h.SettleCommand("d1", taken.Token, false) }},
		{"import", func() error { return h.Import(store.Import{ID: store.ID{Device: "d2"}, Identity: []byte("{}")}) }},
		{"delete", func() error { return h.DeleteIdentity(m1, "*") }},
		{"connect", func() error { session, _ = h.connect(t, "d1"); return nil }},
		{"model", func() error { session.AnnounceModel("dtmi:a;1"); return nil }},
		{"twin GET of the device", func() error { _, err := session.Twin(); return err }},
		{"activity", func() error { session.Active(); return nil }},
		{"send", func() error { return h.SendCommand("d1", store.Command{Body: []byte("x")}) }},
		{"deliver", func() error { session.SubscribeCommands(true, func(store.Command) {}); return nil }},
		{"subscribe", func() error { session.KeepSubscription("#", 1); return nil }},
		{"complete", func() error { session.CompleteCommand(store.Command{}); return nil }},
		{"unsubscribe", func() error { session.DropSubscription("#"); return nil }},
		{"subscribe again", func() error { session.KeepSubscription("#", 1); return nil }},
		{"forget", func() error { session.ForgetSubscriptions(); return nil }},
		{"purge", func() error { _, err := h.PurgeCommands("d1"); return err }},
		{"disconnect", func() error { session.Close(); return nil }},
		{"connect again", func() error { session, _ = h.connect(t, "d1"); return nil }},
		{"cut", func() error { h.CutConnections("d1"); return nil }},
		{"disable", func() error { _, err := h.PutIdentity(d1, "*", []byte(`{"status":"disabled"}`)); return err }},
		{"go back", func() error { return h.Rewind(moment) }},
	} {
		g := NewWithT(t)
		before, text, seen := h.Revision(), string(saved(t, h)), h.seenNow()
		h.step(time.Second)
		g.Expect(step.do()).To(Succeed(), step.name)
		g.Expect(h.Revision()).To(BeNumerically(">", before), step.name)
		g.Expect(string(saved(t, h))).NotTo(Equal(text), step.name)
		for twin, was := range seen {
			g.Expect(fmt.Sprintf("%+v", *twin)).To(Equal(was), step.name)
		}
	}
	g := NewWithT(t)
	before := h.Revision()
	_, err := h.Twin(d1)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = h.PatchTwin(d1, `"stale"`, []byte(`{"tags":{"a":1}}`))
	g.Expect(err).To(HaveOccurred())
	g.Expect(h.Revision()).To(Equal(before), "reading and refusing change nothing")
}

// FuzzRestore takes any record that there may be in a file; what the hub took
// it saves again as it is.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"deviceId":"a","writes":1,"twin":{"tags":{"a":[1.0]},"desired":{"values":{"x":{"y":1}},"meta":{"t":"2026-11-20T10:00:00.1Z","v":2,"c":{"x":{"c":{"y":{}}}}},"version":2},"reported":{}}}`))
	f.Add([]byte(`{"deviceId":"a","connected":true,"commands":{"last":3,"pending":[{"Body":"AA==","sequence":3,"expires":"2026-11-20T10:00:00Z"}]},"subscriptions":{"#":1}}`))
	f.Add([]byte(`{"deviceId":"a","twin":{"desired":{"meta":{"c":{"x":null}},"values":{"x":null}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var record store.SavedIdentity
		if decoder.Decode(&record) != nil {
			return
		}
		h := newHub(t)
		if h.Restore(record) != nil {
			return
		}
		again := newHub(t)
		if err := again.RestoreHub(h.SavedHub()); err != nil {
			t.Fatal(err)
		}
		first := saved(t, h)
		restore(t, again, first)
		if second := saved(t, again); !bytes.Equal(first, second) {
			t.Fatalf("%s\nbecame\n%s", first, second)
		}
		if _, err := h.Twin(store.ID{Device: record.DeviceID}); err != nil {
			t.Fatal(err)
		}
	})
}

// Saving must not need memory for the whole hub again. This test is alone in
// its process while it runs: it is not parallel.
func TestSavingNeedsNoMemoryForTheWholeHub(t *testing.T) {
	g := NewWithT(t)
	h := newHub(t)
	for n := range 5000 {
		g.Expect(h.Bulk(fmt.Appendf(nil, `[{"id":"device-%d","importMode":"create","tags":{"location":{"plant":"Redmond43","floor":3}},
			"properties":{"desired":{"a":{"b":{"c":1}},"d":"eeeeeeeeeeeeeeeeeeeeeeeeeeeeee","f":[1,2,3]}}}]`, n))).
			To(HaveField("IsSuccessful", true))
	}
	before, records, most := liveMemory(), 0, uint64(0)
	encoder := json.NewEncoder(io.Discard)
	for record := range h.Saved() {
		g.Expect(encoder.Encode(record)).To(Succeed())
		if records++; records%500 == 0 {
			most = max(most, liveMemory())
		}
	}
	g.Expect(records).To(Equal(5000))
	g.Expect(most).To(BeNumerically("<", before+before/5), "%d bytes before", before)
}

func liveMemory() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
