package hubemulator_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

const (
	key1 = "AAECAwQFBgcICQoLDA0ODw==" // 16 bytes
	key2 = "EBESExQVFhcYGRobHB0eHw=="
)

func TestCreateDevice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	answer := h.call(t, http.MethodPut, "/devices/d1", `{"deviceId":"d1"}`)
	g.Expect(answer.status).To(Equal(http.StatusOK), "the hub answers 200, not 201")
	created := decode[object](t, answer.text)
	g.Expect(answer.header.Get("ETag")).To(Equal(fmt.Sprintf("%q", created["etag"])))
	g.Expect(answer.text).To(MatchJSON(fmt.Sprintf(`{
		"deviceId": "d1", "generationId": %q, "etag": %q,
		"connectionState": "Disconnected", "status": "enabled", "statusReason": null,
		"connectionStateUpdatedTime": "0001-01-01T00:00:00",
		"statusUpdatedTime": "0001-01-01T00:00:00",
		"lastActivityTime": "0001-01-01T00:00:00",
		"cloudToDeviceMessageCount": 0,
		"authentication": {
			"symmetricKey": {"primaryKey": %q, "secondaryKey": %q},
			"x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null},
			"type": "sas"
		},
		"capabilities": {"iotEdge": false},
		"parentScopes": []
	}`, created["generationId"], created["etag"],
		at(created, "authentication", "symmetricKey", "primaryKey"),
		at(created, "authentication", "symmetricKey", "secondaryKey"))))
	g.Expect(created["generationId"]).To(MatchRegexp(`^\d{18}$`))

	read := h.call(t, http.MethodGet, "/devices/d1", "")
	g.Expect(read.header.Get("ETag")).To(Equal(answer.header.Get("ETag")))
	delete(created, "parentScopes")
	for _, name := range []string{"connectionStateUpdatedTime", "statusUpdatedTime", "lastActivityTime"} {
		created[name] = "0001-01-01T00:00:00Z"
	}
	g.Expect(decode[object](t, read.text)).To(Equal(created))

	again := h.call(t, http.MethodPut, "/devices/d1", answer.text)
	expectError(t, again, http.StatusConflict, "DeviceAlreadyExists", "A device with ID 'd1' is already registered.")
	h.ok(t, http.MethodPut, "/devices/d2", `{}`, "If-Match", `""`)
}

func TestUpdateDevice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	before := h.ok(t, http.MethodGet, "/devices/d1", "")
	g.Expect(writesOf(t, before)).To(BeNumerically(">=", 100_000_000))

	disabled := h.ok(t, http.MethodPut, "/devices/d1", `{"status":"disabled","statusReason":"lost"}`, "If-Match", before["etag"].(string))
	g.Expect(writesOf(t, disabled)).To(Equal(writesOf(t, before) + 1))
	g.Expect(disabled["generationId"]).To(Equal(before["generationId"]))
	g.Expect(disabled["statusUpdatedTime"]).To(Equal("2026-11-20T10:20:30.12345Z"))
	g.Expect(disabled["statusReason"]).To(Equal("lost"))
	g.Expect(at(disabled, "authentication", "symmetricKey")).NotTo(
		Equal(at(before, "authentication", "symmetricKey")), "keys that are left out are minted anew")

	twin := h.ok(t, http.MethodGet, "/twins/d1", "")
	g.Expect(twin["status"]).To(Equal("disabled"))
	g.Expect(twin["statusReason"]).To(Equal("lost"))
	g.Expect(twin["statusUpdateTime"]).To(Equal("2026-11-20T10:20:30.12345Z"))
	g.Expect(twin["deviceEtag"]).To(Equal(disabled["etag"]))
	g.Expect(twin["etag"]).To(Equal("AAAAAAAAAAE="), "identity writes leave the twin's etag alone")

	keys := fmt.Sprintf(`{"authentication":{"symmetricKey":{"primaryKey":%q,"secondaryKey":%q}}}`, key1, key2)
	enabled := h.ok(t, http.MethodPut, "/devices/d1", keys, "If-Match", `"`+disabled["etag"].(string)+`"`)
	g.Expect(enabled["status"]).To(Equal("enabled"))
	g.Expect(enabled["statusReason"]).To(BeNil())
	g.Expect(at(enabled, "authentication", "symmetricKey", "primaryKey")).To(Equal(key1))

	for _, stale := range []string{`"` + before["etag"].(string) + `"`, before["etag"].(string)} {
		expectError(t, h.call(t, http.MethodPut, "/devices/d1", `{}`, "If-Match", stale),
			http.StatusPreconditionFailed, "PreconditionFailed", "PreconditionFailed")
	}
	h.ok(t, http.MethodPut, "/devices/d1", `{}`, "If-Match", `*`)
	h.ok(t, http.MethodPut, "/devices/d1", `{}`, "If-Match", `"*"`)
	expectError(t, h.call(t, http.MethodPut, "/devices/absent", `{}`, "If-Match", "*"), http.StatusNotFound, "DeviceNotFound", "absent")
}

func TestDeviceAuthentication(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	thumbprint := strings.Repeat("A", 40)
	x509 := h.ok(t, http.MethodPut, "/devices/x", `{"authentication":{"x509Thumbprint":{"primaryThumbprint":"`+thumbprint+`"}}}`)
	g.Expect(at(x509, "authentication", "type")).To(Equal("selfSigned"))
	g.Expect(at(x509, "authentication", "symmetricKey", "primaryKey")).To(BeNil())
	twin := h.ok(t, http.MethodGet, "/twins/x", "")
	g.Expect(twin["authenticationType"]).To(Equal("selfSigned"))
	g.Expect(at(twin, "x509Thumbprint", "primaryThumbprint")).To(Equal(thumbprint))

	lower := strings.Repeat("a", 64)
	long := h.ok(t, http.MethodPut, "/devices/l", selfSigned(lower))
	g.Expect(at(long, "authentication", "x509Thumbprint", "primaryThumbprint")).To(Equal(lower), "it stays as it was written")
	bare := h.ok(t, http.MethodPut, "/devices/b", `{"authentication":{"type":"selfSigned"}}`)
	g.Expect(at(bare, "authentication", "type")).To(Equal("selfSigned"))
	g.Expect(at(bare, "authentication", "x509Thumbprint", "primaryThumbprint")).To(BeNil())
	module := h.ok(t, http.MethodPut, "/devices/b/modules/m", `{"authentication":{"type":"none"}}`)
	g.Expect(at(module, "authentication", "type")).To(Equal("sas"))
	g.Expect(at(module, "authentication", "symmetricKey", "primaryKey")).NotTo(BeNil())

	edge := h.ok(t, http.MethodPut, "/devices/e", `{"authentication":{"type":"certificateAuthority"},"capabilities":{"iotEdge":true}}`)
	g.Expect(at(edge, "authentication", "type")).To(Equal("certificateAuthority"))
	g.Expect(at(h.ok(t, http.MethodGet, "/twins/e", ""), "capabilities", "iotEdge")).To(BeTrue())
}

func selfSigned(thumbprint string) string {
	return `{"authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"` + thumbprint + `"}}}`
}

func TestRefusedIdentities(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	for name, tt := range map[string]struct{ id, body, code string }{
		"no JSON":              {"d1", ``, "IotHubFormatError"},
		"another id":           {"d1", `{"deviceId":"d2"}`, "ArgumentInvalid"},
		"status":               {"d1", `{"status":"asleep"}`, "ArgumentInvalid"},
		"statusReason":         {"d1", `{"statusReason":"` + strings.Repeat("x", 129) + `"}`, "ArgumentInvalid"},
		"one key":              {"d1", `{"authentication":{"symmetricKey":{"primaryKey":"` + key1 + `"}}}`, "ArgumentInvalid"},
		"short key":            {"d1", `{"authentication":{"symmetricKey":{"primaryKey":"AAAA","secondaryKey":"AAAA"}}}`, "ArgumentInvalid"},
		"type":                 {"d1", `{"authentication":{"type":"password"}}`, "ArgumentInvalid"},
		"no authentication":    {"d1", `{"authentication":{"type":"none"}}`, "ArgumentInvalid"},
		"thumbprint, colons":   {"d1", selfSigned("01:23:45:67:89:01:23:45:67:89:01:23:45:67:89:01:23:45:67:89"), "ArgumentInvalid"},
		"thumbprint, blanks":   {"d1", selfSigned("01234567 89012345 67890123 45678901 23456789"), "ArgumentInvalid"},
		"thumbprint, no hex":   {"d1", selfSigned(strings.Repeat("g", 40)), "ArgumentInvalid"},
		"thumbprint, short":    {"d1", selfSigned(strings.Repeat("a", 39)), "ArgumentInvalid"},
		"thumbprint, second":   {"d1", `{"authentication":{"x509Thumbprint":{"secondaryThumbprint":"` + strings.Repeat("-", 40) + `"}}}`, "ArgumentInvalid"},
		"characters of the id": {"a/b", `{}`, "ArgumentInvalid"},
		"space in the id":      {"a b", `{}`, "ArgumentInvalid"},
		"length of the id":     {strings.Repeat("d", 129), `{}`, "ArgumentInvalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			answer := h.call(t, http.MethodPut, "/devices/"+url.PathEscape(tt.id), tt.body)
			g.Expect(answer.status).To(Equal(http.StatusBadRequest))
			g.Expect(answer.header.Get("iothub-errorcode")).To(Equal(tt.code))
			g.Expect(decode[[]object](t, h.call(t, http.MethodGet, "/devices", "").text)).To(BeEmpty())
		})
	}
}

func TestUnusualDeviceIDs(t *testing.T) {
	t.Parallel()
	ids := []string{"it's", "a%2Fb", "a#b?c", "..", ".", "a+b", "query", "-.+%_#*?!(),:=@$'", "urn;dev:7", strings.Repeat("d", 128)}
	h := startHub(t)
	for _, id := range ids {
		g := NewWithT(t)
		escaped := strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
		h.ok(t, http.MethodPut, "/devices/"+escaped, `{}`)
		g.Expect(h.ok(t, http.MethodGet, "/devices/"+escaped, "")["deviceId"]).To(Equal(id))
		g.Expect(h.ok(t, http.MethodPatch, "/twins/"+escaped, `{"tags":{"a":1}}`)["deviceId"]).To(Equal(id))
	}
	NewWithT(t).Expect(decode[[]object](t, h.call(t, http.MethodGet, "/devices", "").text)).To(HaveLen(len(ids)))
}

func TestDeleteDevice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2", "d3")
	expectError(t, h.call(t, http.MethodDelete, "/devices/d1", ""), http.StatusPreconditionFailed, "PreconditionFailed", "Etag missing")
	expectError(t, h.call(t, http.MethodDelete, "/devices/d1", "", "If-Match", `"stale"`),
		http.StatusPreconditionFailed, "PreconditionFailed", "PreconditionFailed")
	expectError(t, h.call(t, http.MethodDelete, "/devices/absent", "", "If-Match", "*"), http.StatusNotFound, "DeviceNotFound", "absent")

	first := h.ok(t, http.MethodGet, "/devices/d1", "")
	for id, ifMatch := range map[string]string{
		"d1": `"` + first["etag"].(string) + `"`, "d2": "*", "d3": h.ok(t, http.MethodGet, "/devices/d3", "")["etag"].(string),
	} {
		answer := h.call(t, http.MethodDelete, "/devices/"+id, "", "If-Match", ifMatch)
		g.Expect(answer.status).To(Equal(http.StatusNoContent), answer.text)
		g.Expect(answer.text).To(BeEmpty())
		expectError(t, h.call(t, http.MethodGet, "/twins/"+id, ""), http.StatusNotFound, "DeviceNotFound", id)
	}
	second := h.ok(t, http.MethodPut, "/devices/d1", `{}`)
	g.Expect(second["generationId"]).NotTo(Equal(first["generationId"]), "even within one tick of the clock")
	g.Expect(second["etag"]).NotTo(Equal(first["etag"]))
}

func TestListDevices(t *testing.T) {
	t.Parallel()
	h := startHub(t, "c", "a", "b")
	for top, want := range map[string][]string{
		"": {"a", "b", "c"}, "&top=2": {"a", "b"}, "&top=0": {"a", "b", "c"}, "&top=1001": {"a", "b", "c"}, "&top=x": {"a", "b", "c"},
	} {
		g := NewWithT(t)
		answer, err := h.do(t.Context(), http.MethodGet, "/devices"+version+top, "")
		g.Expect(err).NotTo(HaveOccurred())
		var ids []string
		for _, identity := range decode[[]object](t, answer.text) {
			ids = append(ids, identity["deviceId"].(string))
		}
		g.Expect(ids).To(Equal(want), top)
	}
}

func TestListHoldsAThousandDevices(t *testing.T) {
	t.Parallel()
	var ids []string
	for i := range 1001 {
		ids = append(ids, fmt.Sprintf("d%04d", i))
	}
	h := startHub(t, ids...)
	for _, top := range []string{"", "&top=1000", "&top=1001"} {
		g := NewWithT(t)
		answer, err := h.do(t.Context(), http.MethodGet, "/devices"+version+top, "")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(decode[[]object](t, answer.text)).To(HaveLen(1000), top)
	}
}
