package hubemulator_test

import (
	"fmt"
	"net/http"
	"testing"

	. "github.com/onsi/gomega"
)

// moduleIDs lists a device's modules.
func (h *hub) moduleIDs(t *testing.T, device string) []string {
	t.Helper()
	ids := []string{}
	for _, module := range decode[[]object](t, h.call(t, http.MethodGet, "/devices/"+device+"/modules", "").text) {
		ids = append(ids, module["moduleId"].(string))
	}
	return ids
}

func TestEdgeDeviceHasSystemModules(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	edge := h.ok(t, http.MethodPut, "/devices/e1", `{`+edgeBody+`}`)
	g.Expect(h.moduleIDs(t, "e1")).To(Equal([]string{"$edgeAgent", "$edgeHub"}))
	g.Expect(h.moduleIDs(t, "d1")).To(BeEmpty())

	identity := h.ok(t, http.MethodGet, "/devices/e1/modules/%24edgeAgent", "")
	g.Expect(identity["managedBy"]).To(Equal("iotEdge"))
	g.Expect(at(identity, "authentication", "type")).To(Equal("none"))
	g.Expect(at(identity, "authentication", "symmetricKey", "primaryKey")).To(BeNil())
	twin := h.ok(t, http.MethodGet, "/twins/e1/modules/%24edgeAgent", "")
	g.Expect(twin["authenticationType"]).To(Equal("none"))
	expectCounters(t, twin, "AAAAAAAAAAE=", "2", "1")
	g.Expect(at(twin, "properties", "desired", "$metadata")).To(Equal(object{"$lastUpdated": "0001-01-01T00:00:00Z"}))

	rows, _ := h.query(t, `SELECT moduleId FROM devices.modules WHERE deviceId = 'e1'`)
	g.Expect(rows).To(Equal([]object{{"moduleId": "$edgeAgent"}, {"moduleId": "$edgeHub"}}))

	g.Expect(h.server.ModuleConnectionString("e1", "$edgeAgent")).To(HaveSuffix(
		";DeviceId=e1;ModuleId=$edgeAgent;SharedAccessKey="+at(edge, "authentication", "symmetricKey", "primaryKey").(string)),
		"system modules sign in with their device's keys")
}

func TestSystemModulesCannotBeChanged(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	h.ok(t, http.MethodPut, "/devices/e1", `{`+edgeBody+`}`)
	const path = "/devices/e1/modules/%24edgeHub"
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		expectError(t, h.call(t, method, path, `{}`, "If-Match", "*"), http.StatusUnauthorized, "SystemModuleModifyUnauthorizedAccess",
			"Module $edgeHub of device e1 is the hub's own; it comes and goes with the device's capability iotEdge.")
	}
	g.Expect(h.call(t, http.MethodPut, path, `{}`).status).To(Equal(http.StatusBadRequest))
	result := decode[object](t, h.call(t, http.MethodPost, "/devices", `[{"id":"e1","moduleId":"$edgeHub","importMode":"delete"}]`).text)
	g.Expect(at(result["errors"].([]any)[0], "errorCode")).To(Equal(jsonNumber("401100")))
	h.ok(t, http.MethodPatch, "/twins/e1/modules/%24edgeHub", `{"properties":{"desired":{"a":1}}}`)
	g.Expect(h.moduleIDs(t, "e1")).To(Equal([]string{"$edgeAgent", "$edgeHub"}))
}

func TestSystemModulesFollowTheCapability(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.ok(t, http.MethodPut, "/devices/d1/modules/own", `{}`)
	h.ok(t, http.MethodPut, "/devices/d1", `{`+edgeBody+`}`, "If-Match", "*")
	g.Expect(h.moduleIDs(t, "d1")).To(Equal([]string{"$edgeAgent", "$edgeHub", "own"}))
	agent := h.ok(t, http.MethodGet, "/devices/d1/modules/%24edgeAgent", "")

	device := h.ok(t, http.MethodGet, "/devices/d1", "")
	h.ok(t, http.MethodPut, "/devices/d1", fmt.Sprintf(`{%s,"deviceScope":%q,"statusReason":"seen"}`, edgeBody, device["deviceScope"]), "If-Match", "*")
	g.Expect(h.ok(t, http.MethodGet, "/devices/d1/modules/%24edgeAgent", "")).To(Equal(agent), "an edge device keeps the ones it has")

	h.ok(t, http.MethodPut, "/devices/d1", `{}`, "If-Match", "*")
	g.Expect(h.moduleIDs(t, "d1")).To(Equal([]string{"own"}))
	expectError(t, h.call(t, http.MethodGet, "/twins/d1/modules/%24edgeAgent", ""), http.StatusNotFound, "DeviceNotFound", "d1")

	h.call(t, http.MethodPost, "/devices", `[{"id":"bulk","importMode":"create",`+edgeBody+`}]`)
	g.Expect(h.moduleIDs(t, "bulk")).To(Equal([]string{"$edgeAgent", "$edgeHub"}))
	for i := range 50 {
		h.ok(t, http.MethodPut, fmt.Sprintf("/devices/bulk/modules/m%02d", i), `{}`)
	}
	g.Expect(h.call(t, http.MethodPut, "/devices/bulk/modules/m50", `{}`).status).To(Equal(http.StatusRequestEntityTooLarge))
}
