package hubemulator_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestCreateModule(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	answer := h.call(t, http.MethodPut, "/devices/d1/modules/m1", `{"deviceId":"d1","moduleId":"m1"}`)
	g.Expect(answer.status).To(Equal(http.StatusOK), "the hub answers 200, not 201")
	g.Expect(answer.header).NotTo(HaveKey("Etag"), "only devices have their etag in the header too")
	created := decode[object](t, answer.text)
	g.Expect(answer.text).To(MatchJSON(fmt.Sprintf(`{
		"deviceId": "d1", "moduleId": "m1", "managedBy": null, "generationId": %q, "etag": %q,
		"connectionState": "Disconnected",
		"connectionStateUpdatedTime": "0001-01-01T00:00:00",
		"lastActivityTime": "0001-01-01T00:00:00",
		"cloudToDeviceMessageCount": 0,
		"authentication": {
			"symmetricKey": {"primaryKey": %q, "secondaryKey": %q},
			"x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null},
			"type": "sas"
		}
	}`, created["generationId"], created["etag"],
		at(created, "authentication", "symmetricKey", "primaryKey"),
		at(created, "authentication", "symmetricKey", "secondaryKey"))))
	g.Expect(base64.StdEncoding.DecodeString(at(created, "authentication", "symmetricKey", "primaryKey").(string))).To(HaveLen(32))

	read := h.call(t, http.MethodGet, "/devices/d1/modules/m1", "")
	g.Expect(read.text).To(MatchJSON(strings.ReplaceAll(answer.text, "0001-01-01T00:00:00", "0001-01-01T00:00:00Z")))
	g.Expect(read.header).NotTo(HaveKey("Etag"))
	h.ok(t, http.MethodPut, "/devices/d1/modules/m2", `{}`, "If-Match", `""`)
}

func TestModuleConflictHasTheOtherEnvelope(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	created := h.call(t, http.MethodPut, "/devices/d1/modules/m1", `{}`)
	again := h.call(t, http.MethodPut, "/devices/d1/modules/m1", created.text)
	g.Expect(again.status).To(Equal(http.StatusConflict))
	g.Expect(again.header.Get("iothub-errorcode")).To(Equal("ModuleAlreadyExistsOnDevice"))
	conflict := decode[object](t, again.text)
	g.Expect(conflict).To(HaveLen(4))
	g.Expect(conflict["errorCode"]).To(Equal(jsonNumber("409301")))
	g.Expect(conflict["message"]).To(Equal("Module m1 already exists on device d1."))
	g.Expect(conflict["trackingId"]).To(MatchRegexp(`^[0-9a-f]{32}-G2:-TimeStamp:2026-11-20T10:20:30\.1234500Z$`))
	g.Expect(conflict["timestampUtc"]).To(Equal("2026-11-20T10:20:30.1234500Z"))
}

func TestUpdateModule(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	before := h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{"managedBy":"IotEdge"}`)
	g.Expect(before["managedBy"]).To(Equal("IotEdge"))

	keys := fmt.Sprintf(`{"authentication":{"symmetricKey":{"primaryKey":%q,"secondaryKey":%q}}}`, key1, key2)
	updated := h.ok(t, http.MethodPut, "/devices/d1/modules/m1", keys, "If-Match", `"`+before["etag"].(string)+`"`)
	g.Expect(updated["managedBy"]).To(BeNil(), "an update replaces the whole identity")
	g.Expect(at(updated, "authentication", "symmetricKey", "primaryKey")).To(Equal(key1))
	g.Expect(updated["generationId"]).To(Equal(before["generationId"]))
	g.Expect(writesOf(t, updated)).To(Equal(writesOf(t, before) + 1))

	twin := h.ok(t, http.MethodGet, "/twins/d1/modules/m1", "")
	g.Expect(twin["deviceEtag"]).To(Equal(updated["etag"]), "of the module, not of the device")
	g.Expect(twin["etag"]).To(Equal("AAAAAAAAAAE="), "identity writes leave the twin's etag alone")

	for _, stale := range []string{`"` + before["etag"].(string) + `"`, before["etag"].(string)} {
		expectError(t, h.call(t, http.MethodPut, "/devices/d1/modules/m1", `{}`, "If-Match", stale),
			http.StatusPreconditionFailed, "PreconditionFailed", "PreconditionFailed")
	}
	for _, wildcard := range []string{`*`, `"*"`} {
		minted := h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{}`, "If-Match", wildcard)
		g.Expect(at(minted, "authentication", "symmetricKey", "primaryKey")).NotTo(Equal(key1), "keys that are left out are minted anew")
	}
}

// writesOf is the counter that an identity's etag stands for.
func writesOf(t *testing.T, identity object) int {
	t.Helper()
	decoded, err := base64.StdEncoding.DecodeString(identity["etag"].(string))
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(string(decoded))
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func TestMissingModules(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	const text = "Module m1 on device d1 is not registered."
	expectError(t, h.call(t, http.MethodGet, "/devices/d1/modules/m1", ""), http.StatusNotFound, "ModuleNotFound", text)
	expectError(t, h.call(t, http.MethodPut, "/devices/d1/modules/m1", `{}`, "If-Match", "*"), http.StatusNotFound, "ModuleNotFound", text)
	expectError(t, h.call(t, http.MethodDelete, "/devices/d1/modules/m1", "", "If-Match", "*"), http.StatusNotFound, "ModuleNotFound", text)
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodPut} {
		expectError(t, h.call(t, method, "/twins/d1/modules/m1", `{}`), http.StatusNotFound, "DeviceNotFound", "d1")
		expectError(t, h.call(t, method, "/twins/absent/modules/m1", `{}`), http.StatusNotFound, "DeviceNotFound", "absent")
	}
}

func TestModulesOfMissingOrDisabledDevices(t *testing.T) {
	t.Parallel()
	h := startHub(t, "off")
	h.ok(t, http.MethodPut, "/devices/off/modules/m1", `{}`)
	h.ok(t, http.MethodPut, "/devices/off", `{"status":"disabled"}`, "If-Match", "*")
	for _, device := range []string{"off", "absent"} {
		for _, request := range []struct{ method, path string }{
			{http.MethodGet, "/modules"},
			{http.MethodGet, "/modules/m1"},
			{http.MethodPut, "/modules/m1"},
			{http.MethodPut, "/modules/m2"},
			{http.MethodDelete, "/modules/m1"},
		} {
			answer := h.call(t, request.method, "/devices/"+device+request.path, `{}`)
			expectError(t, answer, http.StatusUnauthorized, "IotHubUnauthorizedAccess", "Unauthorized")
		}
	}
	h.ok(t, http.MethodGet, "/twins/off/modules/m1", "")
}

func TestRefusedModules(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	for name, tt := range map[string]struct{ id, body, code string }{
		"no JSON":              {"m1", ``, "IotHubFormatError"},
		"another device":       {"m1", `{"deviceId":"d2"}`, "ArgumentInvalid"},
		"another id":           {"m1", `{"moduleId":"m2"}`, "ArgumentInvalid"},
		"one key":              {"m1", `{"authentication":{"symmetricKey":{"primaryKey":"` + key1 + `"}}}`, "ArgumentInvalid"},
		"system module":        {"$edgeAgent", `{}`, "ArgumentInvalid"},
		"characters of the id": {"a/b", `{}`, "ArgumentInvalid"},
		"length of the id":     {strings.Repeat("m", 129), `{}`, "ArgumentInvalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			answer := h.call(t, http.MethodPut, "/devices/d1/modules/"+url.PathEscape(tt.id), tt.body)
			g.Expect(answer.status).To(Equal(http.StatusBadRequest), answer.text)
			g.Expect(answer.header.Get("iothub-errorcode")).To(Equal(tt.code))
			g.Expect(decode[[]object](t, h.call(t, http.MethodGet, "/devices/d1/modules", "").text)).To(BeEmpty())
		})
	}
}

func TestModulesOfADevice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2")
	g.Expect(h.call(t, http.MethodGet, "/devices/d1/modules", "").text).To(MatchJSON(`[]`))
	h.ok(t, http.MethodPut, "/devices/d2/modules/m0", `{}`)
	for i := range 50 {
		h.ok(t, http.MethodPut, fmt.Sprintf("/devices/d1/modules/m%02d", 49-i), `{}`)
	}
	modules := decode[[]object](t, h.call(t, http.MethodGet, "/devices/d1/modules", "").text)
	g.Expect(modules).To(HaveLen(50))
	for i, module := range modules {
		g.Expect(module["moduleId"]).To(Equal(fmt.Sprintf("m%02d", i)))
	}
	g.Expect(modules[7]).To(Equal(h.ok(t, http.MethodGet, "/devices/d1/modules/m07", "")))

	expectError(t, h.call(t, http.MethodPut, "/devices/d1/modules/m50", `{}`),
		http.StatusRequestEntityTooLarge, "TooManyModulesOnDevice", "Device d1 should have maximum 50 modules.")
	h.ok(t, http.MethodPut, "/devices/d1/modules/m00", `{}`, "If-Match", "*")
}

func TestDeleteModule(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	first := h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{}`)
	expectError(t, h.call(t, http.MethodDelete, "/devices/d1/modules/m1", ""), http.StatusPreconditionFailed, "PreconditionFailed", "Etag missing")
	expectError(t, h.call(t, http.MethodDelete, "/devices/d1/modules/m1", "", "If-Match", `"stale"`),
		http.StatusPreconditionFailed, "PreconditionFailed", "PreconditionFailed")
	answer := h.call(t, http.MethodDelete, "/devices/d1/modules/m1", "", "If-Match", `"`+first["etag"].(string)+`"`)
	g.Expect(answer.status).To(Equal(http.StatusNoContent), answer.text)
	g.Expect(answer.text).To(BeEmpty())
	g.Expect(h.call(t, http.MethodGet, "/twins/d1/modules/m1", "").status).To(Equal(http.StatusNotFound))
	h.ok(t, http.MethodGet, "/twins/d1", "")

	h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{}`)
	g.Expect(h.call(t, http.MethodDelete, "/devices/d1", "", "If-Match", "*").status).To(Equal(http.StatusNoContent))
	h.ok(t, http.MethodPut, "/devices/d1", `{}`)
	g.Expect(h.call(t, http.MethodGet, "/devices/d1/modules", "").text).To(MatchJSON(`[]`), "modules go with their device")
}

func TestFreshModuleTwin(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	connectionString, err := h.server.AddModule("d1", "m1")
	g.Expect(err).NotTo(HaveOccurred())
	identity := h.ok(t, http.MethodGet, "/devices/d1/modules/m1", "")
	g.Expect(connectionString).To(Equal(fmt.Sprintf("HostName=%s;DeviceId=d1;ModuleId=m1;SharedAccessKey=%s",
		h.server.HostName(), at(identity, "authentication", "symmetricKey", "primaryKey"))))
	g.Expect(h.server.ModuleConnectionString("d1", "m1")).To(Equal(connectionString))

	answer := h.call(t, http.MethodGet, "/twins/d1/modules/m1", "")
	g.Expect(answer.header).NotTo(HaveKey("Etag"))
	section := `{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}`
	g.Expect(answer.text).To(MatchJSON(`{
		"deviceId": "d1", "moduleId": "m1",
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
		"properties": {"desired": ` + section + `, "reported": ` + section + `}
	}`))
	g.Expect(h.server.ModuleTwinJSON("d1", "m1")).To(MatchJSON(answer.text))
}

func TestModuleTwinWrites(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{}`)
	h.ok(t, http.MethodPut, "/devices/d1/modules/m2", `{}`)
	device := h.ok(t, http.MethodGet, "/twins/d1", "")
	sibling := h.ok(t, http.MethodGet, "/twins/d1/modules/m2", "")
	h.clock.SetTime(startOfTime.Add(time.Second))

	const path = "/twins/d1/modules/m1"
	twin := h.ok(t, http.MethodPatch, path, `{"tags":{"a":1},"properties":{"desired":{"b":{"c":1},"d":2}}}`, "If-Match", `"AAAAAAAAAAE="`)
	stamp := object{"$lastUpdated": "2026-11-20T10:20:31.12345Z", "$lastUpdatedVersion": jsonNumber("2")}
	g.Expect(at(twin, "properties", "desired", "$metadata", "b", "c")).To(Equal(stamp))
	g.Expect(at(twin, "properties", "reported", "$metadata")).To(Equal(object{"$lastUpdated": "0001-01-01T00:00:00Z"}))
	expectCounters(t, twin, "AAAAAAAAAAI=", "3", "2")

	twin = h.ok(t, http.MethodPatch, path, `{"tags":{"a":null}}`)
	g.Expect(twin).NotTo(HaveKey("tags"))
	expectCounters(t, twin, "AAAAAAAAAAM=", "4", "2")

	twin = h.ok(t, http.MethodPut, path, `{"tags":{"e":1}}`)
	g.Expect(at(twin, "properties", "desired")).To(HaveLen(2), "a replacement empties what it leaves out")
	expectCounters(t, twin, "AAAAAAAAAAQ=", "5", "3")

	for _, method := range []string{http.MethodPatch, http.MethodPut} {
		expectError(t, h.call(t, method, path, `{"tags":{"a":1}}`, "If-Match", `"AAAAAAAAAAE="`),
			http.StatusPreconditionFailed, "PreconditionFailed", "ETag mismatch for device ID 'd1'")
	}
	h.ok(t, http.MethodPatch, path, `{}`, "If-Match", "AAAAAAAAAAE=") // unquoted is no condition
	h.ok(t, http.MethodPatch, path, `{}`, "If-Match", `"*"`)
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")).To(Equal(device))
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1/modules/m2", "")).To(Equal(sibling))
}

func TestModuleTwinLimits(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{}`)
	expectError(t, h.call(t, http.MethodPatch, "/twins/d1/modules/m1", `{"tags":`+sectionOfSize(8193)+`}`),
		http.StatusForbidden, "DeviceModelMaxPropertiesExceeded", "'Tags' size should be less than 8192 bytes.")
	h.ok(t, http.MethodPatch, "/twins/d1/modules/m1", `{"tags":`+sectionOfSize(8192)+`}`)
}

// sectionOfSize is an object of exactly so many characters as the hub counts.
func sectionOfSize(size int) string {
	const longest = 4096
	var members []string
	for i := 0; size > 0; i++ {
		value := min(size-1, longest)
		members = append(members, fmt.Sprintf(`"%c":%q`, 'a'+i, strings.Repeat("x", value)))
		size -= 1 + value
	}
	return "{" + strings.Join(members, ",") + "}"
}

func expectCounters(t *testing.T, twin object, etag, version, desired string) {
	t.Helper()
	g := NewWithT(t)
	g.Expect(twin["etag"]).To(Equal(etag))
	g.Expect(twin["version"]).To(Equal(jsonNumber(version)))
	g.Expect(at(twin, "properties", "desired", "$version")).To(Equal(jsonNumber(desired)))
}

func TestModulesInGo(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	_, err := h.server.AddModule("absent", "m1")
	g.Expect(err).To(HaveOccurred())
	_, err = h.server.AddModule("d1", "")
	g.Expect(err).To(MatchError(ContainSubstring("should have an id")))
	_, err = h.server.ModuleTwinJSON("d1", "m1")
	g.Expect(err).To(HaveOccurred())
	_, err = h.server.ModuleConnectionString("d1", "m1")
	g.Expect(err).To(MatchError(ContainSubstring("Module m1 on device d1 is not registered.")))
	h.ok(t, http.MethodPut, "/devices/d1/modules/ca", `{"authentication":{"type":"certificateAuthority"}}`)
	_, err = h.server.ModuleConnectionString("d1", "ca")
	g.Expect(err).To(MatchError(`module "ca" of device "d1" does not sign in with a key`))
}
