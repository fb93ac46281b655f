package hubemulator_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

const (
	controller = "dtmi:com:example:TemperatureController;1"
	digital    = "/digitaltwins/d1"
)

// connectAs signs a device in that names its model in a user name's way.
func (h *hub) connectAs(t *testing.T, id, model string) *device {
	t.Helper()
	token := h.deviceToken(t, id)
	d := h.newDevice(t, id, "TCP", func(o *mqtt.ClientOptions) {
		o.SetPassword(token).SetUsername(o.Username + model)
	})
	d.do(d.Connect())
	return d
}

func TestModelID(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{}`)
	model := func(path string) any { return h.ok(t, http.MethodGet, path, "")["modelId"] }
	before := h.ok(t, http.MethodGet, "/twins/d1", "")
	g.Expect(before["modelId"]).To(Equal(""))
	h.connectAs(t, "d1", "&DeviceClientType=x&model-id=dtmi%3Acom%3Aexample%3ATemperatureController%3B1")
	after := h.ok(t, http.MethodGet, "/twins/d1", "")
	g.Expect(after["modelId"]).To(Equal(controller))
	g.Expect(after["etag"]).To(Equal(before["etag"]))
	g.Expect(after["version"]).To(Equal(before["version"]))
	rows, _ := h.query(t, `SELECT deviceId FROM devices WHERE modelId = '`+controller+`'`)
	g.Expect(idsOf(rows)).To(Equal([]string{"d1"}))
	h.connectAs(t, "d1", "")
	g.Expect(model("/twins/d1")).To(Equal(controller), "a connection without a model changes nothing")
	h.connectAs(t, "d1", "&model-id=dtmi:com:example:Thermostat;2&DeviceClientType=y%zz")
	g.Expect(model("/twins/d1")).To(Equal("dtmi:com:example:Thermostat;2"), "as some clients write it")
	h.connectAs(t, "d1/m1", "&model-id=dtmi:com:example:Filter;1")
	g.Expect(model("/twins/d1/modules/m1")).To(Equal("dtmi:com:example:Filter;1"))
	h.ok(t, http.MethodPut, "/devices/d1", `{}`, "If-Match", "*")
	g.Expect(model("/twins/d1")).To(Equal("dtmi:com:example:Thermostat;2"), "an update of the identity keeps it")
}

// The digital twin of IoT Hub's own documentation, and what that leaves out.
func TestDigitalTwin(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	fresh := h.call(t, http.MethodGet, digital, "")
	g.Expect(fresh.text).To(MatchJSON(`{"$dtId":"d1","$metadata":{"$model":""}}`))
	g.Expect(fresh.header.Get("ETag")).To(Equal(`"AAAAAAAAAAE="`))

	h.connectAs(t, "d1", "&model-id="+controller)
	must(h.server.Report("d1", []byte(`{"serialNumber":"alwinexlepaho8329","location":{"lat":1.50,"value":2},
		"thermostat1":{"__t":"c","maxTempSinceLastReboot":25.3}}`)))
	h.clock.Step(time.Minute)
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"fanSpeed":1.0,
		"thermostat1":{"__t":"c","targetTemperature":20},"thermostat2":{"__t":"c","targetTemperature":{"low":1}}}}}`)
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1},"properties":{"desired":{"thermostat1":{"targetTemperature":21.8}}}}`)
	h.clock.Step(time.Minute)
	must(h.server.Report("d1", []byte(`{"fanSpeed":{"value":3.0,"ac":200,"av":1,"ad":"done"},
		"thermostat1":{"targetTemperature":{"value":21.8,"ac":200,"av":3}},"mode":{"value":"eco","ac":203}}`)))
	g.Expect(h.call(t, http.MethodGet, digital, "").text).To(MatchJSON(`{
		"$dtId": "d1",
		"serialNumber": "alwinexlepaho8329",
		"location": {"lat":1.50,"value":2},
		"fanSpeed": 3.0,
		"mode": "eco",
		"thermostat1": {
			"maxTempSinceLastReboot": 25.3,
			"targetTemperature": 21.8,
			"$metadata": {
				"maxTempSinceLastReboot": {"lastUpdateTime": "2026-11-20T10:20:30.12345Z"},
				"targetTemperature": {"desiredValue": 21.8, "desiredVersion": 3, "ackVersion": 3, "ackCode": 200,
					"lastUpdateTime": "2026-11-20T10:22:30.12345Z"}
			}
		},
		"thermostat2": {"$metadata": {"targetTemperature": {"desiredValue": {"low": 1}, "desiredVersion": 2}}},
		"$metadata": {
			"$model": "dtmi:com:example:TemperatureController;1",
			"serialNumber": {"lastUpdateTime": "2026-11-20T10:20:30.12345Z"},
			"location": {"lastUpdateTime": "2026-11-20T10:20:30.12345Z"},
			"mode": {"ackCode": 203, "lastUpdateTime": "2026-11-20T10:22:30.12345Z"},
			"fanSpeed": {"desiredValue": 1.0, "desiredVersion": 2, "ackVersion": 1, "ackCode": 200, "ackDescription": "done",
				"lastUpdateTime": "2026-11-20T10:22:30.12345Z"}
		}
	}`))
	h.fault(t, hubemulator.Fault{Operation: "getDigitalTwin", Count: 1, Action: hubemulator.FaultStaleRead})
	g.Expect(h.ok(t, http.MethodGet, digital, "")).NotTo(HaveKey("fanSpeed"))
	expectError(t, h.call(t, http.MethodGet, "/digitaltwins/absent", ""), http.StatusNotFound, "DeviceNotFound", "absent")
	expectError(t, h.call(t, http.MethodGet, "/digitaltwins/d1~m1", ""), http.StatusNotFound, "DeviceNotFound", "d1~m1")
	g.Expect(h.billed("getDigitalTwin")).To(Equal(int64(3)), "as reads of a twin are")
}

func TestDigitalTwinPatch(t *testing.T) {
	t.Parallel()
	const component = `"c":{"__t":"c","a":1,"b":{"x":1,"y":{"z":2}}}`
	for _, tt := range []struct {
		name, desired, reported, patch string
		// told is what the device is told, without the version; empty when
		// there is nothing to tell. left is what is desired in the end.
		told, left string
	}{
		{"a property", `{}`, `{}`, `[{"op":"add","path":"/p","value":1.50}]`, `{"p":1.50}`, `{"p":1.50}`},
		{"a property again", `{"p":1,"q":2}`, `{}`, `[{"op":"replace","path":"/p","value":1}]`, `{"p":1}`, `{"p":1,"q":2}`},
		{"what the device reported", `{}`, `{"p":1}`, `[{"op":"replace","path":"/p","value":"x"}]`, `{"p":"x"}`, `{"p":"x"}`},
		{"an object is replaced", `{"p":{"a":1,"b":{"c":1,"d":2}}}`, `{}`, `[{"op":"add","path":"/p","value":{"b":{"c":3}}}]`,
			`{"p":{"a":null,"b":{"c":3,"d":null}}}`, `{"p":{"b":{"c":3}}}`},
		{"an object by a number", `{"p":{"a":1}}`, `{}`, `[{"op":"add","path":"/p","value":7}]`, `{"p":7}`, `{"p":7}`},
		{"a property removed", `{"p":1,"q":2}`, `{}`, `[{"op":"remove","path":"/p"}]`, `{"p":null}`, `{"q":2}`},
		{"nothing removed", `{"q":2}`, `{"p":1}`, `[{"op":"remove","path":"/p"},{"op":"remove","path":"/c/p"}]`, ``, `{"q":2}`},
		{"nothing at all", `{"q":2}`, `{}`, `[]`, ``, `{"q":2}`},

		{"a component", `{}`, `{}`, `[{"op":"add","path":"/c","value":{"a":1,"$metadata":{}}}]`, `{"c":{"__t":"c","a":1}}`, `{"c":{"__t":"c","a":1}}`},
		{"a component replaced", `{` + component + `}`, `{}`, `[{"op":"replace","path":"/c","value":{"b":{"y":{}},"$metadata":{}}}]`,
			`{"c":{"__t":"c","a":null,"b":{"x":null,"y":{"z":null}}}}`, `{"c":{"__t":"c","b":{"y":{}}}}`},
		{"a component removed", `{` + component + `,"p":1}`, `{}`, `[{"op":"remove","path":"/c"}]`, `{"c":null}`, `{"p":1}`},
		{"the first property of a component", `{}`, `{"c":{"__t":"c","a":1}}`, `[{"op":"add","path":"/c/a","value":2}]`,
			`{"c":{"__t":"c","a":2}}`, `{"c":{"__t":"c","a":2}}`},
		{"a property of a component", `{` + component + `}`, `{}`, `[{"op":"add","path":"/c/b","value":{"y":1}}]`,
			`{"c":{"__t":"c","b":{"x":null,"y":1}}}`, `{"c":{"__t":"c","a":1,"b":{"y":1}}}`},
		{"a property of a component removed", `{` + component + `}`, `{}`, `[{"op":"remove","path":"/c/b"}]`,
			`{"c":{"__t":"c","b":null}}`, `{"c":{"__t":"c","a":1}}`},
		{"the last property of a component removed", `{"c":{"__t":"c","a":1}}`, `{}`, `[{"op":"remove","path":"/c/a"}]`, `{"c":null}`, `{}`},

		{"several", `{` + component + `,"p":1}`, `{}`, `[{"op":"remove","path":"/c"},{"op":"add","path":"/c/d","value":1},
			{"op":"add","path":"/p","value":2},{"op":"remove","path":"/p"},{"op":"add","path":"/q","value":3},{"op":"replace","path":"/q","value":4}]`,
			`{"c":{"__t":"c","a":null,"b":null,"d":1},"p":null,"q":4}`, `{"c":{"__t":"c","d":1},"q":4}`},
		{"deep", `{}`, `{}`, `[{"op":"add","path":"/c/p","value":` + nested(5, "1") + `}]`,
			`{"c":{"__t":"c","p":` + nested(5, "1") + `}}`, `{"c":{"__t":"c","p":` + nested(5, "1") + `}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			h.ok(t, http.MethodPut, "/twins/d1", `{"tags":{"t":1},"properties":{"desired":`+tt.desired+`}}`)
			must(h.server.Report("d1", []byte(tt.reported)))
			d := h.connect(t, "d1", "TCP")
			d.subscribe("$iothub/twin/PATCH/properties/desired/#")
			answer := h.call(t, http.MethodPatch, digital, tt.patch)
			g.Expect(answer.status).To(Equal(http.StatusAccepted), answer.text)
			g.Expect(answer.text).To(BeEmpty())
			g.Expect(answer.header).NotTo(HaveKey("Content-Type"))
			twin := h.ok(t, http.MethodGet, "/twins/d1", "")
			g.Expect(answer.header.Get("ETag")).To(Equal(`"` + twin["etag"].(string) + `"`))
			g.Expect(answer.header.Get("Location")).To(Equal("https://" + h.server.HTTPSAddress() + digital))
			desired := at(twin, "properties", "desired").(object)
			delete(desired, "$metadata")
			version := desired["$version"]
			delete(desired, "$version")
			g.Expect(encode(t, desired)).To(MatchJSON(tt.left))
			g.Expect(at(twin, "tags", "t")).To(Equal(decodeNumber(1)))
			if tt.told == "" {
				g.Expect(version).To(Equal(decodeNumber(2)))
				return
			}
			g.Expect(version).To(Equal(decodeNumber(3)))
			told := decode[object](t, string(d.receive().Payload()))
			delete(told, "$version")
			g.Expect(encode(t, told)).To(MatchJSON(tt.told))
		})
	}
}

func TestRefusedDigitalTwinPatches(t *testing.T) {
	t.Parallel()
	const (
		noPatch = "The body should be a JSON Patch: an array of operations"
		names   = "ames should be 1 to 64 letters, digits and underscores, not begin with a digit or underscore, and not end with an underscore."
	)
	inPath := func(path, problem string) string { return "Error in path: " + path + ". " + problem }
	inValue := func(problem string) string { return inPath("/p", "In a value, "+problem+".") }
	notConformant := func(name string) string {
		return "'" + name + "' exists within the device twin and is not digital twin conformant property. Please refer to aka.ms/dtpatch to update this to be conformant."
	}
	add := func(path, value string) string { return `[{"op":"add","path":"` + path + `","value":` + value + `}]` }
	h := startHub(t, "d1")
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"plain":{"a":1},"c":{"__t":"c","a":1}}}}`)
	must(h.server.Report("d1", []byte(`{"told":{"a":1},"has":{"__t":"c","a":1}}`)))
	before := h.ok(t, http.MethodGet, "/twins/d1", "")
	for _, tt := range []struct{ patch, code, text string }{
		{`{}`, "InvalidDigitalTwinJsonPatch", noPatch},
		{`null`, "InvalidDigitalTwinJsonPatch", noPatch},
		{`[1]`, "InvalidDigitalTwinJsonPatch", noPatch},
		{`[] []`, "InvalidDigitalTwinJsonPatch", noPatch},
		{``, "InvalidDigitalTwinJsonPatch", noPatch},
		{`[{"op":"test","path":"/p","value":1}]`, "InvalidDigitalTwinJsonPatch", "'op' should be add, replace or remove. Error in path: /p."},
		{`[{"path":"/p","value":1}]`, "InvalidDigitalTwinJsonPatch", "'op' should be add, replace or remove. Error in path: /p."},
		{`[{"op":"add","value":1}]`, "InvalidDigitalTwinPatch", inPath("", "'path' string must be non-null, begin with '/' and have atleast the component name.")},
		{add("p", "1"), "InvalidDigitalTwinPatch", inPath("p", "'path' string must be non-null, begin with '/' and have atleast the component name.")},
		{add("/", "1"), "InvalidDigitalTwinPatch", inPath("/", "'path' string must be non-null, begin with '/' and have atleast the component name.")},
		{add("/c/a/b", "1"), "InvalidDigitalTwinPatchPath", inPath("/c/a/b", "It should lead to a property, a component, or a property of a component.")},
		{add("/1a", "1"), "InvalidDigitalTwinPatchPath", inPath("/1a", "N"+names)},
		{add("/a_", "1"), "InvalidDigitalTwinPatchPath", inPath("/a_", "N"+names)},
		{add("/c/", "1"), "InvalidDigitalTwinPatchPath", inPath("/c/", "N"+names)},
		{add("/$metadata/p", "1"), "InvalidDigitalTwinPatchPath", inPath("/$metadata/p", "N"+names)},
		{add("/"+strings.Repeat("a", 65), "1"), "InvalidDigitalTwinPatchPath", inPath("/"+strings.Repeat("a", 65), "N"+names)},
		{`[{"op":"add","path":"/p"}]`, "InvalidDigitalTwinPayload", inValue("an add or replace operation needs a value")},
		{add("/p", "null"), "InvalidDigitalTwinPayload", inValue("null is not allowed; use a remove operation")},
		{add("/p", `{"a":{"b":null}}`), "InvalidDigitalTwinPayload", inValue("null is not allowed; use a remove operation")},
		{add("/p", "[1]"), "InvalidDigitalTwinPayload", inValue("arrays are not allowed")},
		{add("/p", nested(6, "1")), "InvalidDigitalTwinPayload", inValue("objects should be nested at most 5 levels deep")},
		{add("/p", `{"a-b":1}`), "InvalidDigitalTwinPayload", inValue(`the name "a-b" is not allowed. N` + strings.TrimSuffix(names, "."))},
		{add("/p", `{"a":1,"$metadata":{"b":1}}`), "InvalidDigitalTwinPayload", inValue("a component's $metadata should be an empty object")},
		{add("/p", `{"a":[],"$metadata":{}}`), "InvalidDigitalTwinPayload", inValue("arrays are not allowed")},
		{add("/p", `{"__t":"c","$metadata":{}}`), "InvalidDigitalTwinPayload", inValue(`the name "__t" is not allowed. N` + strings.TrimSuffix(names, "."))},
		{add("/c/p", `{"$metadata":{}}`), "InvalidDigitalTwinPayload", inPath("/c/p", `In a value, the name "$metadata" is not allowed. N`+names)},
		{add("/plain/a", "1"), "ArgumentInvalid", notConformant("plain")},
		{add("/told/a", "1"), "ArgumentInvalid", notConformant("told")},
		{add("/plain", `{"a":1,"$metadata":{}}`), "ArgumentInvalid", notConformant("plain")},
		{add("/c", `{"a":1}`), "ArgumentInvalid", notConformant("c")},
		{add("/has", `1`), "ArgumentInvalid", notConformant("has")},
		{add("/p", "9007199254740993"), "ArgumentInvalid", "Property or Tag integer value should be between -4503599627370496 and 4503599627370495. Error in Property/Tag p"},
		{`[{"op":"add","path":"/p","value":1},{"op":"remove","path":"p"}]`, "InvalidDigitalTwinPatch", inPath("p", "'path' string must be non-null, begin with '/' and have atleast the component name.")},
	} {
		expectError(t, h.call(t, http.MethodPatch, digital, tt.patch), http.StatusBadRequest, tt.code, tt.text)
	}
	g := NewWithT(t)
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")).To(Equal(before))
	expectError(t, h.call(t, http.MethodPatch, "/digitaltwins/absent", `[]`), http.StatusNotFound, "DeviceNotFound", "absent")
}

func TestDigitalTwinIfMatch(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	const patch = `[{"op":"add","path":"/p","value":1}]`
	fresh := h.call(t, http.MethodGet, digital, "").header.Get("ETag")
	first := h.call(t, http.MethodPatch, digital, patch, "If-Match", fresh)
	g.Expect(first.status).To(Equal(http.StatusAccepted))
	g.Expect(first.header.Get("ETag")).To(Equal(`"` + written + `"`))
	expectError(t, h.call(t, http.MethodPatch, digital, patch, "If-Match", fresh), http.StatusPreconditionFailed,
		"PreconditionFailed", "ETag mismatch for device ID 'd1'")
	for _, ifMatch := range []string{"*", `"*"`, first.header.Get("ETag"), untouched} {
		expected := http.StatusAccepted
		if ifMatch == first.header.Get("ETag") {
			expected = http.StatusPreconditionFailed // two updates later
		}
		g.Expect(h.call(t, http.MethodPatch, digital, patch, "If-Match", ifMatch).status).To(Equal(expected), ifMatch)
	}
	g.Expect(h.billed("updateDigitalTwin")).To(Equal(int64(4)), "as updates of a twin are")
}

func TestDigitalTwinCommands(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	d := h.connect(t, "d1", "TCP")
	topics := make(chan string, 10)
	d.serve("404", func(m mqtt.Message) string {
		topics <- m.Topic()
		return `{"echo":[` + string(m.Payload()) + `]}`
	})
	for _, tt := range []struct{ path, body, method, result string }{
		{"/commands/reboot", `{"delay": 1.50}`, "reboot", `{"echo":[{"delay":1.50}]}`},
		{"/components/thermostat1/commands/getMaxMinReport", `"2020-07-17T06:10:31Z"`, "thermostat1*getMaxMinReport", `{"echo":["2020-07-17T06:10:31Z"]}`},
		{"/commands/stop", ``, "stop", `{"echo":[]}`},
	} {
		answer := h.call(t, http.MethodPost, digital+tt.path, tt.body)
		g.Expect(answer.status).To(Equal(http.StatusOK), answer.text)
		g.Expect(answer.text).To(Equal(tt.result))
		g.Expect(answer.header.Get("x-ms-command-statuscode")).To(Equal("404"), "what the device says, the call succeeded")
		g.Expect(answer.header.Get("x-ms-request-id")).NotTo(BeEmpty())
		g.Expect(<-topics).To(HavePrefix("$iothub/methods/POST/" + tt.method + "/?$rid="))
	}
	g.Expect(h.server.Counters().Operations["invokeCommand"].BilledMessages).To(Equal(int64(4)), "as direct methods are")
	g.Expect(h.server.Counters().Operations["invokeComponentCommand"].Statuses).To(Equal(map[string]int64{"200": 1}))
}

func TestDigitalTwinCommandArguments(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	for _, tt := range []struct{ query, body, code, text string }{
		{"&responseTimeoutInSeconds=4", `1`, "ArgumentInvalid", "'responseTimeoutInSeconds' should be 5 to 300"},
		{"&responseTimeoutInSeconds=301", `1`, "ArgumentInvalid", "'responseTimeoutInSeconds' should be 5 to 300"},
		{"&responseTimeoutInSeconds=soon", `1`, "ArgumentInvalid", "'responseTimeoutInSeconds' should be a number of seconds"},
		{"&connectTimeoutInSeconds=-1", `1`, "ArgumentInvalid", "'connectTimeoutInSeconds' should be 0 to the response timeout"},
		{"&connectTimeoutInSeconds=1.5", `1`, "ArgumentInvalid", "'connectTimeoutInSeconds' should be a number of seconds"},
		{"", `{`, "IotHubFormatError", "The body should be the command's payload in JSON, or empty"},
	} {
		answer, err := h.do(t.Context(), http.MethodPost, digital+"/commands/c"+version+tt.query, tt.body)
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		expectError(t, answer, http.StatusBadRequest, tt.code, tt.text)
	}
	late, err := h.do(t.Context(), http.MethodPost, digital+"/commands/c"+version+"&connectTimeoutInSeconds=31", `1`)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	expectNested(t, late, http.StatusBadRequest, "ArgumentInvalid", "400004",
		"Device connection timeout 31 seconds cannot be longer than an overall call timeout 30 seconds", "")
	expectError(t, h.call(t, http.MethodPost, digital+"/components/a/commands/b%2Fc", `1`), http.StatusBadRequest, "ArgumentInvalid",
		"The name of a command or component should be a name that fits into an MQTT topic: not empty, and without / + # ?")
	h.client.token = h.policyToken(t, "registryReadWrite")
	expectError(t, h.call(t, http.MethodPost, digital+"/commands/c", `1`), http.StatusUnauthorized, "IotHubUnauthorizedAccess", "Unauthorized")
}

func TestDigitalTwinCommandTimeouts(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	const path = digital + "/commands/c"
	expectNested(t, h.call(t, http.MethodPost, "/digitaltwins/absent/commands/c", `1`), http.StatusNotFound, "DeviceNotFound", "404001", "NotFound", "")
	expectNested(t, h.call(t, http.MethodPost, path, `1`), http.StatusNotFound, "DeviceNotOnline", "404103", "Timed out waiting for device to connect.", "00:00:00")

	timed := func(query string) <-chan response {
		answers, ctx := make(chan response, 1), t.Context()
		go func() {
			if answer, err := h.do(ctx, http.MethodPost, path+version+query, `1`); err == nil {
				answers <- answer
			}
		}()
		return answers
	}
	var answer response
	waiting := timed("&connectTimeoutInSeconds=20")
	g.Eventually(h.clock.HasWaiters, patience).Should(BeTrue())
	h.clock.Step(20 * time.Second)
	g.Eventually(waiting, patience).Should(Receive(&answer))
	expectNested(t, answer, http.StatusNotFound, "DeviceNotOnline", "404103", "Timed out waiting for device to connect.", "00:00:20")

	d, called := h.connect(t, "d1", "TCP"), make(chan struct{}, 1)
	d.do(d.Subscribe("$iothub/methods/POST/#", 0, func(mqtt.Client, mqtt.Message) { called <- struct{}{} }))
	waiting = timed("&responseTimeoutInSeconds=7")
	g.Eventually(called, patience).Should(Receive())
	h.clock.Step(7 * time.Second)
	g.Eventually(waiting, patience).Should(Receive(&answer))
	expectNested(t, answer, http.StatusGatewayTimeout, "GatewayTimeout", "504101", "Timed out waiting for the response from device.", "00:00:07")
}
