package hubemulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// manifest is a deployment's content that runs modules and gives them
// properties.
func manifest(modules, more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"$edgeAgent":{"properties.desired":{"schemaVersion":"1.1","modules":` + modules + `}},` +
		`"$edgeHub":{"properties.desired":{"routes":{}}}` + more + `}`
}

func deployment(content, condition, members string) string {
	return strings.Replace(configurationBody(content, condition, members), "deviceContent", "modulesContent", 1)
}

func startEdge(t *testing.T, devices ...string) *hub {
	t.Helper()
	h := startHub(t)
	for _, id := range devices {
		h.ok(t, http.MethodPut, "/devices/"+id, `{`+edgeBody+`}`)
	}
	return h
}

func (h *hub) apply(t *testing.T, device, body string) response {
	t.Helper()
	return h.call(t, http.MethodPost, "/devices/"+device+"/applyConfigurationContent", body)
}

func (h *hub) applied(t *testing.T, device, body string) {
	t.Helper()
	answer := h.apply(t, device, body)
	NewWithT(t).Expect(answer.status).To(Equal(http.StatusNoContent), answer.text)
	NewWithT(t).Expect(answer.text).To(BeEmpty())
}

func TestContentIsApplied(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startEdge(t, "e1")
	h.ok(t, http.MethodPatch, "/twins/e1/modules/%24edgeHub", `{"tags":{"stays":1},"properties":{"desired":{"goes":1}}}`)
	h.ok(t, http.MethodPatch, "/twins/e1", `{"properties":{"desired":{"stays":1}}}`)
	h.applied(t, "e1", `{"modulesContent":`+manifest(`{"sensor":{"type":"docker"},"filter":{}}`, `"filter":{"properties.desired":{"threshold":21}}`)+
		`,"deviceContent":{"properties.desired.a.b":1}}`)
	g.Expect(h.moduleIDs(t, "e1")).To(Equal([]string{"$edgeAgent", "$edgeHub", "filter", "sensor"}), "modules that the manifest runs are made")
	g.Expect(h.desired(t, "e1")).To(Equal(object{"stays": number(1), "a": object{"b": number(1)}}))
	g.Expect(at(h.desired(t, "e1/modules/%24edgeAgent"), "schemaVersion")).To(Equal("1.1"))
	hubTwin := h.ok(t, http.MethodGet, "/twins/e1/modules/%24edgeHub", "")
	g.Expect(h.desired(t, "e1/modules/%24edgeHub")).To(Equal(object{"routes": object{}}), "all desired properties are replaced")
	g.Expect(hubTwin["tags"]).To(Equal(object{"stays": number(1)}))
	expectCounters(t, hubTwin, "AAAAAAAAAAM=", "4", "3")
	filter := h.ok(t, http.MethodGet, "/twins/e1/modules/filter", "")
	g.Expect(h.desired(t, "e1/modules/filter")).To(Equal(object{"threshold": number(21)}))
	expectCounters(t, filter, "AAAAAAAAAAI=", "3", "2")
	g.Expect(filter["authenticationType"]).To(Equal("none"))
	g.Expect(filter).NotTo(HaveKey("configurations"), "no configuration targets it")
	g.Expect(h.ok(t, http.MethodGet, "/devices/e1/modules/sensor", "")["managedBy"]).To(Equal("iotEdge"))
	expectCounters(t, h.ok(t, http.MethodGet, "/twins/e1/modules/sensor", ""), "AAAAAAAAAAE=", "2", "1")

	h.ok(t, http.MethodPut, "/devices/e1/modules/own", `{}`)
	h.applied(t, "e1", `{"modulesContent":`+manifest(`{"sensor":{}}`, "")+`}`)
	g.Expect(h.moduleIDs(t, "e1")).To(Equal([]string{"$edgeAgent", "$edgeHub", "own", "sensor"}), "those that it does not run go, unless another client made them")

	h.applied(t, "e1", `{"modulesContent":{"$edgeAgent":{"properties.desired.modules.more":{}},"$edgeHub":{"properties.desired.routes.r1":"FROM /* INTO $upstream"}}}`)
	g.Expect(h.moduleIDs(t, "e1")).To(Equal([]string{"$edgeAgent", "$edgeHub", "more", "own", "sensor"}), "a path below merges")
	g.Expect(h.desired(t, "e1/modules/%24edgeHub")).To(Equal(object{"routes": object{"r1": "FROM /* INTO $upstream"}}))
}

func TestRefusedContentToApply(t *testing.T) {
	t.Parallel()
	h := startEdge(t, "e1", "full")
	h.ok(t, http.MethodPut, "/devices/plain", `{}`)
	h.ok(t, http.MethodPatch, "/twins/full", `{"properties":{"desired":`+sectionOfSize(32768)+`}}`)
	crowd := make([]string, 51)
	for i := range crowd {
		crowd[i] = fmt.Sprintf(`"m%d":{}`, i)
	}
	const content = "InvalidConfigurationContent"
	for name, tt := range map[string]struct {
		device, body string
		status       int
		code, text   string
	}{
		"missing device": {"absent", `{"modulesContent":{"$edgeAgent":{}}}`, 404, "DeviceNotFound", "absent"},
		"no edge device": {"plain", `{"modulesContent":{"$edgeAgent":{}}}`, 400, "ArgumentInvalid", "Not an Azure IoT Edge device"},
		"no JSON":        {"e1", `{`, 400, "IotHubFormatError", "not the JSON"},
		"nothing":        {"e1", `{}`, 400, content, "'modulesContent' should have '$edgeAgent'"},
		"device only":    {"e1", `{"deviceContent":{"properties.desired.a":1}}`, 400, content, "'modulesContent' should have '$edgeAgent'"},
		"of one module":  {"e1", `{"modulesContent":{"$edgeAgent":{}},"moduleContent":{}}`, 400, content, "'moduleContent' is for configurations"},
		"bad path":       {"e1", `{"modulesContent":{"$edgeAgent":{}},"deviceContent":{"tags.a":1}}`, 400, content, "'tags.a' in 'deviceContent'"},
		"bad name":       {"e1", `{"modulesContent":` + manifest(`{"a":{"b c":1}}`, "") + `}`, 400, content, "Error in Property/Tag b c."},
		"bad module":     {"e1", `{"modulesContent":` + manifest(`{"a/b":{}}`, "") + `}`, 400, content, "The module id should be"},
		"system module":  {"e1", `{"modulesContent":{"$edgeAgent":{},"$other":{}}}`, 400, content, "no system module"},
		"too many":       {"e1", `{"modulesContent":` + manifest(`{`+strings.Join(crowd, ",")+`}`, "") + `}`, 413, "TooManyModulesOnDevice", "maximum 50"},
		"too large":      {"full", `{"modulesContent":` + manifest(`{"m1":{}}`, "") + `,"deviceContent":{"properties.desired.more":1}}`, 403, "DeviceModelMaxPropertiesExceeded", "'Properties.Desired'"},
		"too large at the end": {"e1", `{"modulesContent":` + manifest(`{"m1":{}}`, `"z":{"properties.desired":`+sectionOfSize(32769)+`}`) +
			`,"deviceContent":{"properties.desired.more":1}}`, 403, "DeviceModelMaxPropertiesExceeded", "'Properties.Desired'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			answer := h.apply(t, tt.device, tt.body)
			g.Expect(answer.status).To(Equal(tt.status), answer.text)
			g.Expect(answer.header.Get("iothub-errorcode")).To(Equal(tt.code))
			g.Expect(decode[object](t, answer.text)["Message"]).To(ContainSubstring(tt.text))
			for _, device := range []string{"e1", "full"} {
				g.Expect(h.moduleIDs(t, device)).To(Equal([]string{"$edgeAgent", "$edgeHub"}), "nothing is half done")
				expectCounters(t, h.ok(t, http.MethodGet, "/twins/"+device+"/modules/%24edgeAgent", ""), "AAAAAAAAAAE=", "2", "1")
				g.Expect(h.desired(t, device)).NotTo(HaveKey("more"))
			}
		})
	}
}

func TestDeployment(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startEdge(t, "e1", "e2")
	h.ok(t, http.MethodPut, "/devices/plain", `{}`)
	for _, id := range []string{"e1", "plain"} {
		h.ok(t, http.MethodPatch, "/twins/"+id, `{"tags":{"building":9}}`)
	}
	h.put(t, "base", deployment(manifest(`{"sensor":{}}`, `"sensor":{"properties.desired":{"rate":5}}`), "tags.building = 9", ""))
	g.Expect(h.evaluate(t)).To(Equal(3))
	g.Expect(h.moduleIDs(t, "e1")).To(Equal([]string{"$edgeAgent", "$edgeHub", "sensor"}))
	g.Expect(h.moduleIDs(t, "e2")).To(Equal([]string{"$edgeAgent", "$edgeHub"}))
	g.Expect(h.moduleIDs(t, "plain")).To(BeEmpty(), "no edge device")
	g.Expect(h.desired(t, "e1/modules/sensor")).To(Equal(object{"rate": number(5)}))
	g.Expect(h.statuses(t, "e1/modules/%24edgeAgent")).To(Equal(map[string]string{"base": "Applied"}))
	for _, path := range []string{"e1", "e1/modules/%24edgeHub", "e1/modules/sensor", "e2/modules/%24edgeAgent"} {
		g.Expect(h.statuses(t, path)).To(BeEmpty(), "the twin of $edgeAgent says it for the device")
	}
	g.Expect(h.results(t, "base", "systemMetrics")).To(Equal(object{
		"targetedCount": number(1), "appliedCount": number(1), "reportedSuccessfulCount": number(0), "reportedFailedCount": number(0),
	}))
	g.Expect(h.evaluate(t)).To(BeZero())

	agent := h.agent(t, "e1")
	agent(`{"lastDesiredVersion":2,"lastDesiredStatus":{"code":200}}`)
	h.evaluate(t)
	g.Expect(at(h.results(t, "base", "systemMetrics"), "reportedSuccessfulCount")).To(Equal(number(1)))
	agent(`{"lastDesiredStatus":{"code":412}}`)
	h.evaluate(t)
	g.Expect(at(h.results(t, "base", "systemMetrics"), "reportedSuccessfulCount")).To(Equal(number(0)))
	g.Expect(at(h.results(t, "base", "systemMetrics"), "reportedFailedCount")).To(Equal(number(1)))

	h.applied(t, "e1", `{"modulesContent":`+manifest(`{}`, "")+`}`)
	g.Expect(h.moduleIDs(t, "e1")).To(Equal([]string{"$edgeAgent", "$edgeHub"}))
	g.Expect(h.evaluate(t)).To(Equal(2), "the deployment is applied again")
	g.Expect(h.moduleIDs(t, "e1")).To(Equal([]string{"$edgeAgent", "$edgeHub", "sensor"}))

	g.Expect(h.call(t, http.MethodDelete, "/configurations/base", "").status).To(Equal(http.StatusNoContent))
	h.evaluate(t)
	g.Expect(h.statuses(t, "e1/modules/%24edgeAgent")).To(BeEmpty())
	g.Expect(h.moduleIDs(t, "e1")).To(Equal([]string{"$edgeAgent", "$edgeHub", "sensor"}), "what was deployed stays")
}

// agent returns a function that reports as the module $edgeAgent does.
func (h *hub) agent(t *testing.T, device string) func(patch string) {
	t.Helper()
	return func(patch string) {
		t.Helper()
		if _, err := h.server.ReportModule(device, "$edgeAgent", []byte(patch)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLayeredDeployments(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startEdge(t, "e1")
	layer := func(agent, more string) string { return `{"$edgeAgent":{` + agent + `}` + more + `}` }
	h.put(t, "layer", deployment(layer(`"properties.desired.modules.sensor":{"from":"layer"},"properties.desired.modules.extra":{}`,
		`,"$edgeHub":{"properties.desired.routes.r1":"x"},"sensor":{"properties.desired.rate":7}`), "*", `"priority":5`))
	g.Expect(h.evaluate(t)).To(BeZero(), "a layer needs a base")
	g.Expect(h.statuses(t, "e1/modules/%24edgeAgent")).To(Equal(map[string]string{"layer": "Targeted"}))

	h.put(t, "base", deployment(manifest(`{"sensor":{"from":"base","old":1}}`, `"sensor":{"properties.desired":{"rate":5,"unit":"C"}}`), "*", `"priority":3`))
	h.put(t, "below", deployment(layer(`"properties.desired.modules.below":{}`, ""), "*", `"priority":2`))
	h.put(t, "lower", deployment(manifest(`{"lower":{}}`, ""), "*", `"priority":1`))
	h.clock.Step(time.Second)
	h.put(t, "top", deployment(layer(`"properties.desired.modules.extra":{"from":"top"}`, ""), "*", `"priority":5`))
	h.evaluate(t)
	g.Expect(at(h.desired(t, "e1/modules/%24edgeAgent"), "modules")).To(Equal(object{
		"sensor": object{"from": "layer"}, "extra": object{"from": "top"},
	}), "a layer replaces a module as a whole; the newest of equal priority wins")
	g.Expect(h.desired(t, "e1/modules/%24edgeHub")).To(Equal(object{"routes": object{"r1": "x"}}))
	g.Expect(h.desired(t, "e1/modules/sensor")).To(Equal(object{"rate": number(7), "unit": "C"}))
	g.Expect(h.moduleIDs(t, "e1")).To(Equal([]string{"$edgeAgent", "$edgeHub", "extra", "sensor"}))
	g.Expect(h.statuses(t, "e1/modules/%24edgeAgent")).To(Equal(map[string]string{
		"top": "Applied", "layer": "Applied", "base": "Applied", "below": "Targeted", "lower": "Targeted",
	}))

	h.put(t, "lower", deployment(manifest(`{}`, ""), "*", `"priority":9`))
	h.evaluate(t)
	g.Expect(h.moduleIDs(t, "e1")).To(Equal([]string{"$edgeAgent", "$edgeHub", "lower"}), "of two bases the higher one, with no layer above it")
	g.Expect(h.statuses(t, "e1/modules/%24edgeAgent")).To(Equal(map[string]string{
		"top": "Targeted", "layer": "Targeted", "base": "Targeted", "below": "Targeted", "lower": "Applied",
	}))
}

func TestDeploymentThatADeviceCannotTake(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startEdge(t, "e1", "e2")
	for i := range 50 {
		h.ok(t, http.MethodPut, fmt.Sprintf("/devices/e1/modules/m%02d", i), `{}`)
	}
	h.put(t, "base", deployment(manifest(`{"sensor":{}}`, ""), "*", ""))
	done, err := h.server.EvaluateConfigurations(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(done.TwinsRefused).To(Equal(1))
	g.Expect(done.Refusal).To(ContainSubstring("Device e1 should have maximum 50 modules."))
	g.Expect(h.desired(t, "e1/modules/%24edgeAgent")).To(BeEmpty())
	g.Expect(h.statuses(t, "e1/modules/%24edgeAgent")).To(Equal(map[string]string{"base": "Targeted"}))
	g.Expect(h.statuses(t, "e2/modules/%24edgeAgent")).To(Equal(map[string]string{"base": "Applied"}))
}
