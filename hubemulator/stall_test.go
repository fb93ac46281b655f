package hubemulator_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// found is what queries find of the devices: their ids with a tag.
func (h *hub) found(t *testing.T) map[string]any {
	t.Helper()
	rows, _ := h.query(t, `SELECT deviceId, tags.a FROM devices`)
	tags := map[string]any{}
	for _, row := range rows {
		tags[row["deviceId"].(string)] = row["a"]
	}
	return tags
}

func (h *hub) change(t *testing.T) {
	t.Helper()
	h.ok(t, http.MethodPut, "/devices/d", `{}`)
	h.ok(t, http.MethodPut, "/devices/a/modules/m2", `{}`)
	h.ok(t, http.MethodPatch, "/twins/a", `{"tags":{"a":2}}`)
	h.call(t, http.MethodDelete, "/devices/b", "", "If-Match", "*")
}

func TestFaultIndexStall(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "a", "b", "c")
	h.ok(t, http.MethodPut, "/devices/a/modules/m1", `{}`)
	h.ok(t, http.MethodPatch, "/twins/a", `{"tags":{"a":1}}`)
	pageOf := []string{"x-ms-max-item-count", "1"}
	_, header := h.query(t, `SELECT deviceId FROM devices`, pageOf...)
	status, text := h.admin(t, http.MethodPost, "/faults", `{"operation":"query","action":"indexStall"}`)
	g.Expect(status).To(Equal(http.StatusCreated), text)
	before := map[string]any{"a": json.Number("1"), "b": nil, "c": nil}
	g.Expect(h.found(t)).To(Equal(before))

	h.change(t)
	h.clock.Step(time.Hour - time.Second)
	g.Expect(h.found(t)).To(Equal(before))
	rows, _ := h.query(t, `SELECT COUNT() AS n FROM devices WHERE tags.a = 1`)
	g.Expect(rows).To(Equal([]object{{"n": json.Number("1")}}))
	rows, _ = h.query(t, `SELECT moduleId FROM devices.modules`)
	g.Expect(rows).To(Equal([]object{{"moduleId": "m1"}}))
	rows, header = h.query(t, `SELECT deviceId FROM devices`, append(pageOf, "x-ms-continuation", header.Get("x-ms-continuation"))...)
	g.Expect(idsOf(rows)).To(Equal([]string{"b"}), "pages go on in the old index")
	h.ok(t, http.MethodGet, "/twins/d", "")
	g.Expect(h.call(t, http.MethodGet, "/twins/b", "").status).To(Equal(http.StatusNotFound), "only queries stall")

	status, _ = h.admin(t, http.MethodDelete, "/faults/1", "")
	g.Expect(status).To(Equal(http.StatusNoContent))
	g.Expect(h.found(t)).To(Equal(map[string]any{"a": json.Number("2"), "c": nil, "d": nil}))
	rows, _ = h.query(t, `SELECT moduleId FROM devices.modules`)
	g.Expect(rows).To(HaveLen(2))
	rows, _ = h.query(t, `SELECT deviceId FROM devices`, append(pageOf, "x-ms-continuation", header.Get("x-ms-continuation"))...)
	g.Expect(idsOf(rows)).To(Equal([]string{"c"}))
}

// What stalls is the index as queries see it, late and with ghosts. It does not
// get older or newer while it does, and is as late afterwards as it was before.
func TestFaultIndexStallOfALateIndex(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHubWith(t, hubemulator.Options{
		Devices: []string{"a", "b", "c", "ghost"}, QueryLag: 2 * time.Second, QueryGhosts: 10 * time.Minute,
	})
	h.ok(t, http.MethodPatch, "/twins/a", `{"tags":{"a":1}}`)
	g.Expect(h.server.RemoveDevice("ghost")).To(Succeed())
	h.clock.Step(2 * time.Second)
	h.ok(t, http.MethodPatch, "/twins/c", `{"tags":{"a":3}}`) // not seen yet
	id := h.fault(t, hubemulator.Fault{Operation: "query", Action: hubemulator.FaultIndexStall})
	h.change(t)
	before := map[string]any{"a": json.Number("1"), "b": nil, "c": nil, "ghost": nil}
	for range 3 {
		g.Expect(h.found(t)).To(Equal(before))
		h.clock.Step(15 * time.Minute)
	}
	h.ok(t, http.MethodPatch, "/twins/a", `{"tags":{"a":4}}`)
	h.server.RemoveFault(id)
	after := map[string]any{"a": json.Number("2"), "c": json.Number("3"), "d": nil}
	g.Expect(h.found(t)).To(Equal(after))
	h.clock.Step(2 * time.Second)
	after["a"] = json.Number("4")
	g.Expect(h.found(t)).To(Equal(after))
}

// Each stall has its own moment; as with all faults, the oldest wins.
func TestFaultIndexStallsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "a")
	write := func(tag string) { h.ok(t, http.MethodPatch, "/twins/a", `{"tags":{"a":`+tag+`}}`) }
	seen := func() any { return h.found(t)["a"] }
	write("1")
	h.fault(t, hubemulator.Fault{Operation: "query", Action: hubemulator.FaultIndexStall, Count: 1})
	write("2")
	h.fault(t, hubemulator.Fault{Operation: "query", Action: hubemulator.FaultIndexStall})
	write("3")
	g.Expect(seen()).To(Equal(json.Number("1")))
	g.Expect(seen()).To(Equal(json.Number("2")), "the first one has had its one query")
	h.server.RemoveFault("2")
	g.Expect(seen()).To(Equal(json.Number("3")))
}

func TestRefusedIndexStalls(t *testing.T) {
	t.Parallel()
	h := startHub(t, "a")
	for _, rule := range []string{
		`{"operation":"getTwin","action":"indexStall"}`,
		`{"operation":"*","action":"indexStall"}`,
		`{"operation":"query","deviceId":"a","action":"indexStall"}`,
	} {
		g := NewWithT(t)
		status, text := h.admin(t, http.MethodPost, "/faults", rule)
		g.Expect(status).To(Equal(http.StatusBadRequest), rule)
		g.Expect(decode[object](t, text)["error"]).To(Equal(`action "indexStall" is for queries, which are about no single device; use the operation "query" and no deviceId`))
	}
}
