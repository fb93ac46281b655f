package hubemulator_test

import (
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

const edgeBody = `"capabilities":{"iotEdge":true}`

func TestEdgeDeviceHasAScopeOfItsOwn(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	edge := h.ok(t, http.MethodPut, "/devices/e-1", `{`+edgeBody+`}`)
	scope := edge["deviceScope"].(string)
	g.Expect(scope).To(Equal("ms-azure-iot-edge://e-1-" + edge["generationId"].(string)))
	twin := h.ok(t, http.MethodGet, "/twins/e-1", "")
	g.Expect(twin["deviceScope"]).To(Equal(scope))
	g.Expect(twin).NotTo(HaveKey("parentScopes"))

	for _, body := range []string{`{` + edgeBody + `}`, `{` + edgeBody + `,"deviceScope":"ms-azure-iot-edge://e-1-1"}`} {
		expectError(t, h.call(t, http.MethodPut, "/devices/e-1", body, "If-Match", "*"), http.StatusBadRequest, "ArgumentInvalid",
			"'deviceScope' of an edge device should be its own, which it keeps: "+scope)
	}
	updated := h.ok(t, http.MethodPut, "/devices/e-1", `{`+edgeBody+`,"deviceScope":"`+scope+`","status":"disabled"}`, "If-Match", "*")
	g.Expect(updated["deviceScope"]).To(Equal(scope))
}

func TestNestedEdgeDevices(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	upper := h.ok(t, http.MethodPut, "/devices/upper", `{`+edgeBody+`}`)["deviceScope"].(string)
	lower := h.ok(t, http.MethodPut, "/devices/lower", `{`+edgeBody+`,"parentScopes":["`+upper+`"]}`)
	own := lower["deviceScope"].(string)
	g.Expect(own).NotTo(Equal(upper))
	g.Expect(lower["parentScopes"]).To(Equal([]any{upper}))
	g.Expect(h.ok(t, http.MethodGet, "/twins/lower", "")["parentScopes"]).To(Equal([]any{upper}))

	h.ok(t, http.MethodPut, "/devices/lower", `{`+edgeBody+`,"deviceScope":"`+own+`"}`, "If-Match", "*")
	detached := h.ok(t, http.MethodGet, "/devices/lower", "")
	g.Expect(detached).NotTo(HaveKey("parentScopes"), "parents that are left out are gone")
	g.Expect(detached["deviceScope"]).To(Equal(own))

	answer := h.call(t, http.MethodPut, "/devices/lower", `{`+edgeBody+`,"deviceScope":"`+own+`","parentScopes":["`+own+`"]}`, "If-Match", "*")
	expectError(t, answer, http.StatusBadRequest, "ArgumentInvalid", "'"+own+"' should be the deviceScope of an edge device of this hub")
}

func TestLeafDevices(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "plain")
	scope := h.ok(t, http.MethodPut, "/devices/edge", `{`+edgeBody+`}`)["deviceScope"].(string)
	other := h.ok(t, http.MethodPut, "/devices/edge2", `{`+edgeBody+`}`)["deviceScope"].(string)
	for _, body := range []string{`{"deviceScope":"` + scope + `"}`, `{"deviceScope":"` + scope + `","parentScopes":["` + scope + `"]}`} {
		h.ok(t, http.MethodPut, "/devices/plain", body, "If-Match", "*")
		for _, path := range []string{"/devices/plain", "/twins/plain"} {
			leaf := h.ok(t, http.MethodGet, path, "")
			g.Expect(leaf["deviceScope"]).To(Equal(scope), path)
			g.Expect(leaf["parentScopes"]).To(Equal([]any{scope}), path)
		}
		g.Expect(h.ok(t, http.MethodPut, "/devices/plain", `{}`, "If-Match", "*")).NotTo(HaveKey("deviceScope"))
		g.Expect(h.ok(t, http.MethodGet, "/twins/plain", "")).NotTo(HaveKey("parentScopes"))
	}
	for name, body := range map[string]string{
		"no scope":            `{"deviceScope":"edge"}`,
		"of a missing device": `{"deviceScope":"ms-azure-iot-edge://absent-1"}`,
		"of no edge device":   `{"deviceScope":"ms-azure-iot-edge://plain-1"}`,
		"of an earlier one":   `{"deviceScope":"ms-azure-iot-edge://edge-1"}`,
		"two parents":         `{"deviceScope":"` + scope + `","parentScopes":["` + scope + `","` + other + `"]}`,
	} {
		answer := h.call(t, http.MethodPut, "/devices/new", body)
		g.Expect(answer.status).To(Equal(http.StatusBadRequest), name)
		g.Expect(answer.header.Get("iothub-errorcode")).To(Equal("ArgumentInvalid"), name)
	}
}

// What az does to move and to detach a device: it changes the deviceScope alone
// of what it read.
func TestLeafDevicesMove(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "leaf")
	scopes := map[string]string{}
	for _, edge := range []string{"edge1", "edge2"} {
		scopes[edge] = h.ok(t, http.MethodPut, "/devices/"+edge, `{`+edgeBody+`}`)["deviceScope"].(string)
	}
	for _, scope := range []string{scopes["edge1"], scopes["edge2"], "", scopes["edge1"]} {
		leaf := h.ok(t, http.MethodGet, "/devices/leaf", "")
		leaf["deviceScope"] = scope
		written := h.ok(t, http.MethodPut, "/devices/leaf", encode(t, leaf), "If-Match", `"`+leaf["etag"].(string)+`"`)
		if scope == "" {
			g.Expect(written).NotTo(Or(HaveKey("deviceScope"), HaveKey("parentScopes")))
			continue
		}
		g.Expect(written["deviceScope"]).To(Equal(scope))
		g.Expect(written["parentScopes"]).To(Equal([]any{scope}))
	}
	alone := h.ok(t, http.MethodPut, "/devices/leaf", `{"parentScopes":["`+scopes["edge1"]+`"]}`, "If-Match", "*")
	g.Expect(alone).NotTo(Or(HaveKey("deviceScope"), HaveKey("parentScopes")), "parentScopes alone are ignored")
	created := h.ok(t, http.MethodPut, "/devices/new", `{"deviceScope":"`+scopes["edge2"]+`","parentScopes":["`+scopes["edge1"]+`"]}`)
	g.Expect(created["parentScopes"]).To(Equal([]any{scopes["edge2"]}))
}

// What az asks for to list the children of an edge device.
func TestChildrenOfAnEdgeDevice(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHub(t, "alone")
	scope := h.ok(t, http.MethodPut, "/devices/edge", `{`+edgeBody+`}`)["deviceScope"].(string)
	h.ok(t, http.MethodPut, "/devices/leaf", `{"deviceScope":"`+scope+`"}`)
	h.ok(t, http.MethodPut, "/devices/lower", `{`+edgeBody+`,"parentScopes":["`+scope+`"]}`)
	rows, _ := h.query(t, "select deviceId from devices where array_contains(parentScopes, '"+scope+"')", "x-ms-max-item-count", "1000")
	g.Expect(idsOf(rows)).To(Equal([]string{"leaf", "lower"}))
}

func TestLeafDeviceBecomesAnEdgeDevice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	parent := h.ok(t, http.MethodPut, "/devices/parent", `{`+edgeBody+`}`)["deviceScope"].(string)
	h.ok(t, http.MethodPut, "/devices/d1", `{"deviceScope":"`+parent+`"}`)
	expectError(t, h.call(t, http.MethodPut, "/devices/d1", `{`+edgeBody+`,"deviceScope":"`+parent+`","parentScopes":["`+parent+`"]}`, "If-Match", "*"),
		http.StatusServiceUnavailable, "ServiceUnavailable",
		"'deviceScope' of a device that becomes an edge device should be empty, and its parent in 'parentScopes'")
	edge := h.ok(t, http.MethodPut, "/devices/d1", `{`+edgeBody+`,"deviceScope":"","parentScopes":["`+parent+`"]}`, "If-Match", "*")
	g.Expect(edge["deviceScope"]).To(HavePrefix("ms-azure-iot-edge://d1-"))
	g.Expect(edge["parentScopes"]).To(Equal([]any{parent}))
}

func TestEdgeDeviceBecomesALeaf(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	parent := h.ok(t, http.MethodPut, "/devices/parent", `{`+edgeBody+`}`)["deviceScope"].(string)
	for _, leaf := range []string{`{"deviceScope":"%s","parentScopes":["` + parent + `"]}`, `{"deviceScope":"` + parent + `"}`, `{}`} {
		own := h.ok(t, http.MethodPut, "/devices/d1", `{`+edgeBody+`,"deviceScope":"","parentScopes":["`+parent+`"]}`, "If-Match", "*")["deviceScope"].(string)
		g.Expect(own).To(HavePrefix("ms-azure-iot-edge://d1-"))
		detached := h.ok(t, http.MethodPut, "/devices/d1", strings.Replace(leaf, "%s", own, 1), "If-Match", "*")
		g.Expect(detached).NotTo(Or(HaveKey("deviceScope"), HaveKey("parentScopes")), leaf)
	}
	h.ok(t, http.MethodPut, "/devices/d1", `{"deviceScope":"`+parent+`"}`, "If-Match", "*")
	g.Expect(h.call(t, http.MethodDelete, "/devices/parent", "", "If-Match", "*").status).To(Equal(http.StatusNoContent))
	kept := h.ok(t, http.MethodPut, "/devices/d1", `{"deviceScope":"`+parent+`"}`, "If-Match", "*")
	g.Expect(kept["deviceScope"]).To(Equal(parent), "a parent that is gone may stay where it was")
}

func TestBulkEdgeScopes(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	h.bulk(t, `[{"id":"edge","importMode":"create",`+edgeBody+`}]`)
	scope := h.ok(t, http.MethodGet, "/devices/edge", "")["deviceScope"].(string)
	h.bulk(t, `[{"id":"leaf","importMode":"create","deviceScope":"`+scope+`"}]`)
	g.Expect(h.ok(t, http.MethodGet, "/devices/leaf", "")["parentScopes"]).To(Equal([]any{scope}))
	h.expectBulkErrors(t, `[{"id":"edge","importMode":"update",`+edgeBody+`}]`,
		`[{"deviceId":"edge","errorCode":400004,"errorStatus":"'deviceScope' of an edge device should be its own, which it keeps: `+scope+`"}]`)
}
