package hubemulator_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestFreshTwin(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	answer := h.call(t, http.MethodGet, "/twins/d1", "")
	g.Expect(answer.status).To(Equal(http.StatusOK))
	g.Expect(answer.header).NotTo(HaveKey("Etag"), "twins have their etag in the body only")
	g.Expect(answer.header.Get("Content-Type")).To(Equal("application/json; charset=utf-8"))
	g.Expect(answer.header.Get("Server")).To(Equal("Microsoft-HTTPAPI/2.0"))
	g.Expect(answer.header.Get("Vary")).To(Equal("Origin"))
	g.Expect(answer.header.Get("x-ms-request-id")).NotTo(BeEmpty())

	identity := h.ok(t, http.MethodGet, "/devices/d1", "")
	section := `{"$metadata":{"$lastUpdated":"2026-11-20T10:20:30.12345Z"},"$version":1}`
	g.Expect(answer.text).To(MatchJSON(`{
		"deviceId": "d1",
		"etag": "AAAAAAAAAAE=",
		"deviceEtag": "` + identity["etag"].(string) + `",
		"status": "enabled",
		"statusUpdateTime": "0001-01-01T00:00:00Z",
		"connectionState": "Disconnected",
		"lastActivityTime": "0001-01-01T00:00:00Z",
		"cloudToDeviceMessageCount": 0,
		"authenticationType": "sas",
		"x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null},
		"modelId": "",
		"version": 2,
		"properties": {"desired": ` + section + `, "reported": ` + section + `},
		"capabilities": {"iotEdge": false}
	}`))
	inGo, err := h.server.TwinJSON("d1")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(inGo).To(MatchJSON(answer.text))
}

func TestPatchMovesCounters(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	for _, step := range []struct {
		name, body, etag string
		version, desired json.Number
	}{
		{"nothing that a back end may write", `{}`, "AAAAAAAAAAE=", "2", "1"},
		{"read-only members alone", `{"etag":"x","version":9,"properties":{"reported":{"a":1}}}`, "AAAAAAAAAAE=", "2", "1"},
		{"tags", `{"tags":{"a":1}}`, "AAAAAAAAAAI=", "3", "1"},
		{"desired", `{"properties":{"desired":{"a":1}}}`, "AAAAAAAAAAM=", "4", "2"},
		{"both", `{"tags":{"b":1},"properties":{"desired":{"b":1}}}`, "AAAAAAAAAAQ=", "5", "3"},
		{"equal values again", `{"tags":{"b":1},"properties":{"desired":{"b":1}}}`, "AAAAAAAAAAU=", "6", "4"},
		{"empty sections", `{"tags":{},"properties":{"desired":{}}}`, "AAAAAAAAAAY=", "7", "5"},
	} {
		g := NewWithT(t)
		twin := h.ok(t, http.MethodPatch, "/twins/d1", step.body)
		g.Expect(twin["etag"]).To(Equal(step.etag), step.name)
		g.Expect(twin["version"]).To(Equal(step.version), step.name)
		g.Expect(at(twin, "properties", "desired", "$version")).To(Equal(step.desired), step.name)
		g.Expect(at(twin, "properties", "reported", "$version")).To(Equal(json.Number("1")), step.name)
		g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")).To(Equal(twin), step.name)
	}
}

func TestPatchMerges(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, before, patch, after string }{
		{"objects merge", `{"a":{"b":1,"c":2}}`, `{"a":{"b":3,"d":4}}`, `{"a":{"b":3,"c":2,"d":4}}`},
		{"null deletes at any depth", `{"a":{"b":{"c":1},"d":2},"e":3}`, `{"a":{"b":{"c":null}},"e":null}`, `{"a":{"b":{},"d":2}}`},
		{"deleting what is missing", `{"a":1}`, `{"b":null}`, `{"a":1}`},
		{"null in an object that is missing", `{"z":1}`, `{"a":{"b":null}}`, `{"a":{},"z":1}`},
		{"an empty object", `{"z":1}`, `{"a":{}}`, `{"a":{},"z":1}`},
		{"an empty object merges into one", `{"a":{"b":1}}`, `{"a":{}}`, `{"a":{"b":1}}`},
		{"arrays replace", `{"a":[1,2,3]}`, `{"a":[{"b":1}]}`, `{"a":[{"b":1}]}`},
		{"a scalar replaces an object", `{"a":{"b":1}}`, `{"a":1}`, `{"a":1}`},
		{"an object replaces a scalar", `{"a":1}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{"numbers keep their spelling", `{"z":1}`, `{"a":1.0,"b":1e2}`, `{"a":1.0,"b":1e2,"z":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			for _, section := range []string{tt.before, tt.patch} {
				h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":`+section+`,"properties":{"desired":`+section+`}}`)
			}
			twin := h.ok(t, http.MethodGet, "/twins/d1", "")
			want := decode[object](t, tt.after)
			g.Expect(twin["tags"]).To(Equal(want))
			desired := at(twin, "properties", "desired").(object)
			delete(desired, "$metadata")
			delete(desired, "$version")
			g.Expect(desired).To(Equal(want))
		})
	}
}

func TestTagsVanishWithTheLastOne(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	g.Expect(h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1}}`)).To(HaveKey("tags"))
	g.Expect(h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":null}}`)).NotTo(HaveKey("tags"))
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.clock.SetTime(startOfTime.Add(time.Second))
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":{"b":1,"c":1},"list":[{"x":1}]}}}`)
	h.clock.SetTime(startOfTime.Add(2*time.Second + 50)) // below the grain of 100 ns
	twin := h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":{"b":1}}}}`)

	const first = `"$lastUpdated":"2026-11-20T10:20:31.12345Z","$lastUpdatedVersion":2`
	const second = `"$lastUpdated":"2026-11-20T10:20:32.12345Z","$lastUpdatedVersion":3`
	metadata, err := json.Marshal(at(twin, "properties", "desired", "$metadata"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(metadata).To(MatchJSON(`{
		` + second + `,
		"a": {` + second + `, "b": {` + second + `}, "c": {` + first + `}},
		"list": {` + first + `}
	}`))

	twin = h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":null,"list":null}}}`)
	g.Expect(at(twin, "properties", "desired", "$metadata")).To(
		Equal(object{"$lastUpdated": "2026-11-20T10:20:32.12345Z"}), "an empty section has no version there")
}

func TestReadOnlyMembersAreIgnored(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1},"properties":{"desired":{"a":1}}}`)
	whole := h.call(t, http.MethodGet, "/twins/d1", "").text
	twin := h.ok(t, http.MethodPatch, "/twins/d1", whole)
	g.Expect(twin["etag"]).To(Equal("AAAAAAAAAAM="))
	g.Expect(at(twin, "properties", "desired", "$version")).To(Equal(json.Number("3")))
	g.Expect(at(twin, "properties", "reported", "$version")).To(Equal(json.Number("1")))
	g.Expect(twin["tags"]).To(Equal(object{"a": json.Number("1")}))
}

func TestReplaceTwin(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1},"properties":{"desired":{"a":1}}}`)
	twin := h.ok(t, http.MethodPut, "/twins/d1", `{"properties":{"desired":{"b":{"c":2}}}}`)
	g.Expect(twin).NotTo(HaveKey("tags"))
	g.Expect(at(twin, "properties", "desired")).NotTo(HaveKey("a"))
	g.Expect(at(twin, "properties", "desired", "b", "c")).To(Equal(json.Number("2")))
	g.Expect(at(twin, "properties", "desired", "$version")).To(Equal(json.Number("3")))
	g.Expect(at(twin, "properties", "desired", "$metadata")).NotTo(HaveKey("a"))
	g.Expect(twin["etag"]).To(Equal("AAAAAAAAAAM="))
}

func TestTwinIfMatch(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodPatch, http.MethodPut} {
		for _, tt := range []struct {
			name    string
			ifMatch []string
			status  int
		}{
			{"absent", nil, http.StatusOK},
			{"wildcard", []string{"If-Match", "*"}, http.StatusOK},
			{"wildcard in quotes, as some SDKs send it", []string{"If-Match", `"*"`}, http.StatusOK},
			{"current", []string{"If-Match", `"AAAAAAAAAAE="`}, http.StatusOK},
			{"stale", []string{"If-Match", `"AAAAAAAAAAA="`}, http.StatusPreconditionFailed},
			{"unquoted, which the hub takes for none", []string{"If-Match", `AAAAAAAAAAA=`}, http.StatusOK},
		} {
			t.Run(method+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				g := NewWithT(t)
				h := startHub(t, "d1")
				answer := h.call(t, method, "/twins/d1", `{"tags":{"a":1}}`, tt.ifMatch...)
				if tt.status == http.StatusOK {
					g.Expect(answer.status).To(Equal(http.StatusOK), answer.text)
					return
				}
				expectError(t, answer, tt.status, "PreconditionFailed", "ETag mismatch for device ID 'd1'")
				g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")["etag"]).To(Equal("AAAAAAAAAAE="))
			})
		}
	}
}

func TestMissingTwin(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodPut} {
		expectError(t, h.call(t, method, "/twins/absent", `{}`, "If-Match", `"x"`), http.StatusNotFound, "DeviceNotFound", "absent")
	}
}

func TestRefusedTwinBodies(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	for body, code := range map[string]string{
		``:                             "IotHubFormatError",
		`{`:                            "IotHubFormatError",
		`[]`:                           "IotHubFormatError",
		`null`:                         "IotHubFormatError",
		`{} {}`:                        "IotHubFormatError",
		`{"tags":[]}`:                  "ArgumentInvalid",
		`{"tags":"a"}`:                 "ArgumentInvalid",
		`{"properties":1}`:             "ArgumentInvalid",
		`{"properties":{"desired":1}}`: "ArgumentInvalid",
	} {
		g := NewWithT(t)
		answer := h.call(t, http.MethodPatch, "/twins/d1", body)
		g.Expect(answer.status).To(Equal(http.StatusBadRequest), body)
		g.Expect(answer.header.Get("iothub-errorcode")).To(Equal(code), body)
	}
	NewWithT(t).Expect(h.ok(t, http.MethodGet, "/twins/d1", "")["etag"]).To(Equal("AAAAAAAAAAE="), "nothing was applied")
}

// What Microsoft's Node suite checks: null for a whole section clears it.
func TestNullClearsASection(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodPatch, http.MethodPut} {
		for body, left := range map[string]object{
			`{"tags":{"b":2},"properties":{"desired":null}}`: {"tags": object{"b": jsonNumber("2")}},
			`{"tags":null,"properties":{"desired":{"d":4}}}`: {"desired": object{"d": jsonNumber("4")}},
			`{"tags":null,"properties":{"desired":null}}`:    {},
		} {
			g, h := NewWithT(t), startHub(t, "d1")
			h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"b":1},"properties":{"desired":{"d":1,"e":{"f":1}}}}`)
			if method == http.MethodPatch && left["desired"] != nil {
				left["desired"].(object)["e"] = object{"f": jsonNumber("1")}
			}
			twin := h.ok(t, method, "/twins/d1", body)
			desired := at(twin, "properties", "desired").(object)
			g.Expect(desired["$version"]).To(Equal(jsonNumber("3")), body)
			if left["desired"] == nil {
				left["desired"] = object{}
				g.Expect(desired["$metadata"]).To(And(HaveLen(1), HaveKey("$lastUpdated")), body)
			}
			delete(desired, "$version")
			delete(desired, "$metadata")
			got := object{"desired": desired}
			if tags, present := twin["tags"]; present {
				got["tags"] = tags
			}
			g.Expect(got).To(Equal(left), body)
		}
	}
}

func TestNullDesiredByOtherWays(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHub(t, "d1", "d2")
	desired := func(id string) any {
		section := at(h.ok(t, http.MethodGet, "/twins/"+id, ""), "properties", "desired").(object)
		delete(section, "$metadata")
		return section
	}
	for _, id := range []string{"d1", "d2"} {
		h.ok(t, http.MethodPatch, "/twins/"+id, `{"properties":{"desired":{"a":1}}}`)
	}
	h.bulk(t, `[{"id":"d1","importMode":"updateTwin","properties":{"desired":null}}]`)
	g.Expect(desired("d1")).To(Equal(object{"$version": jsonNumber("3")}))

	h.ok(t, http.MethodPut, "/jobs/v2/clear", `{"type":"scheduleUpdateTwin","queryCondition":"deviceId = 'd2'","updateTwin":{"etag":"*","properties":{"desired":null}}}`)
	g.Eventually(func() any { return desired("d2") }, patience).Should(Equal(object{"$version": jsonNumber("3")}))
	g.Expect(h.call(t, http.MethodPost, "/devices", `[{"id":"d3","importMode":"create","properties":{"desired":null}}]`).status).To(Equal(http.StatusOK))
}

// A device that follows the notifications has to come to the same as the twin.
func TestNullDesiredIsToldKeyByKey(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":1,"b":{"c":2}}}}`)
	d := h.connect(t, "d1", "TCP")
	d.subscribe("$iothub/twin/PATCH/properties/desired/#")
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":null}}`)
	NewWithT(t).Expect(decode[object](t, string(d.receive().Payload()))).To(Equal(object{"a": nil, "b": nil, "$version": jsonNumber("3")}))
}
