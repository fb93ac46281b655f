package hubemulator_test

import (
	"net/http"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func TestRestoreOfASnapshot(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHubWith(t, hubemulator.Options{DataDir: t.TempDir()})
	ids := h.populate(t)
	h.ok(t, http.MethodPut, "/configurations/c1", `{"content":{"deviceContent":{"properties.desired.x":1}},"targetCondition":"tags.none = 1"}`)
	before, snapshot := h.everything(t, ids...), h.server.Snapshot()

	h.ok(t, http.MethodPatch, "/twins/own-keys", `{"tags":{"a":null,"b":1}}`)
	h.ok(t, http.MethodPut, "/devices/late", `{}`)
	for _, path := range []string{"/devices/leaf", "/configurations/c1"} {
		g.Expect(h.call(t, http.MethodDelete, path, "", "If-Match", "*").status).To(Equal(http.StatusNoContent))
	}
	g.Expect(h.server.Restore(snapshot)).To(Succeed())
	g.Expect(h.everything(t, ids...)).To(Equal(before))
	g.Expect(h.call(t, http.MethodGet, "/devices/late", "").status).To(Equal(http.StatusNotFound))
	g.Expect(h.call(t, http.MethodGet, "/configurations/c1", "").status).To(Equal(http.StatusOK))
}

func TestSnapshotsByTheAdminAPI(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2")
	status, text := h.admin(t, http.MethodPost, "/snapshots", "")
	g.Expect(status).To(Equal(http.StatusCreated), text)
	path := "/snapshots/" + decode[object](t, text)["id"].(string)
	tag := func(device string) any {
		return h.ok(t, http.MethodGet, "/twins/"+device, "")["tags"]
	}
	write := func() {
		for _, device := range []string{"d1", "d2"} {
			h.ok(t, http.MethodPatch, "/twins/"+device, `{"tags":{"a":1}}`)
		}
	}
	write()
	status, text = h.admin(t, http.MethodPost, path+"/restore", `{"devices":["d1"]}`)
	g.Expect(status).To(Equal(http.StatusNoContent), text)
	g.Expect(tag("d1")).To(BeNil())
	g.Expect(tag("d2")).NotTo(BeNil())

	write()
	status, text = h.admin(t, http.MethodPost, path+"/restore", "")
	g.Expect(status).To(Equal(http.StatusNoContent), text)
	g.Expect(tag("d1")).To(BeNil())
	g.Expect(tag("d2")).To(BeNil())

	for body, want := range map[string]int{
		`{"devices":["unknown"]}`: http.StatusNotFound, `{"device":"d1"}`: http.StatusBadRequest, `{`: http.StatusBadRequest,
	} {
		status, text = h.admin(t, http.MethodPost, path+"/restore", body)
		g.Expect(status).To(Equal(want), body+": "+text)
	}
	status, _ = h.admin(t, http.MethodDelete, path, "")
	g.Expect(status).To(Equal(http.StatusNoContent))
	for method, path := range map[string]string{http.MethodDelete: path, http.MethodPost: path + "/restore"} {
		status, _ = h.admin(t, method, path, "")
		g.Expect(status).To(Equal(http.StatusNotFound))
	}
}
