package hubemulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

func jsonNumber(text string) json.Number { return json.Number(text) }

const bulkSuccess = `{"isSuccessful":true,"errors":[],"warnings":[]}`

// bulk posts entries that must all succeed.
func (h *hub) bulk(t *testing.T, entries string) {
	t.Helper()
	answer := h.call(t, http.MethodPost, "/devices", entries)
	g := NewWithT(t)
	g.Expect(answer.status).To(Equal(http.StatusOK), answer.text)
	g.Expect(answer.text).To(MatchJSON(bulkSuccess))
}

// expectBulkErrors posts entries of which some fail.
func (h *hub) expectBulkErrors(t *testing.T, entries, errors string) {
	t.Helper()
	answer := h.call(t, http.MethodPost, "/devices", entries)
	g := NewWithT(t)
	g.Expect(answer.status).To(Equal(http.StatusBadRequest), answer.text)
	g.Expect(answer.text).To(MatchJSON(`{"isSuccessful":false,"errors":` + errors + `,"warnings":[]}`))
}

func TestBulkCreate(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2")
	h.bulk(t, `[
		{"id":"a","importMode":"create","status":"disabled","statusReason":"new","tags":{"t":1},"properties":{"desired":{"x":{"y":1}}}},
		{"id":"b","importMode":"create","authentication":{"symmetricKey":{"primaryKey":"`+key1+`","secondaryKey":"`+key2+`"}}},
		{"id":"d1","moduleId":"m1","importMode":"create","managedBy":"me","properties":{"desired":{"x":1}}}
	]`)
	identity := h.ok(t, http.MethodGet, "/devices/a", "")
	g.Expect(identity["status"]).To(Equal("disabled"))
	g.Expect(identity["statusReason"]).To(Equal("new"))
	g.Expect(at(h.ok(t, http.MethodGet, "/devices/b", ""), "authentication", "symmetricKey", "primaryKey")).To(Equal(key1))
	g.Expect(h.ok(t, http.MethodGet, "/devices/d1/modules/m1", "")["managedBy"]).To(Equal("me"))

	const stamp = `"$lastUpdated":"0001-01-01T00:00:00Z","$lastUpdatedVersion":1`
	twin := h.ok(t, http.MethodGet, "/twins/a", "")
	expectCounters(t, twin, "AAAAAAAAAAE=", "2", "1")
	g.Expect(twin["tags"]).To(Equal(object{"t": jsonNumber("1")}))
	g.Expect(at(twin, "properties")).To(Equal(decode[object](t, `{
		"desired": {"x":{"y":1},"$metadata":{`+stamp+`,"x":{`+stamp+`,"y":{`+stamp+`}}},"$version":1},
		"reported": {"$metadata":{"$lastUpdated":"2026-11-20T10:20:30.12345Z"},"$version":1}
	}`)))
	module := h.ok(t, http.MethodGet, "/twins/d1/modules/m1", "")
	expectCounters(t, module, "AAAAAAAAAAE=", "2", "1")
	g.Expect(at(module, "properties", "desired", "$metadata", "x")).To(Equal(decode[object](t, `{`+stamp+`}`)))
	g.Expect(at(h.ok(t, http.MethodGet, "/twins/b", ""), "properties", "desired", "$metadata")).To(
		Equal(object{"$lastUpdated": "0001-01-01T00:00:00Z"}))
}

func TestBulkErrors(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2", "d3")
	h.ok(t, http.MethodPut, "/devices/d2/modules/m1", `{}`)
	h.expectBulkErrors(t, `[
		{"id":"d1","importMode":"create"},
		{"id":"new","importMode":"create"},
		{"id":"absent","importMode":"update"},
		{"id":"gone","importMode":"delete"},
		{"id":"lost","importMode":"updateTwin","tags":{"a":1}},
		{"id":"d2","moduleId":"m1","importMode":"create"},
		{"id":"d3","moduleId":"m1","importMode":"delete"},
		{"id":"strange","moduleId":"m1","importMode":"create"},
		{"id":"x","importMode":"create","tags":{"a b":1}},
		{"id":"y","importMode":"create","status":"asleep"}
	]`, `[
		{"deviceId":"d1","errorCode":409001,"errorStatus":"A device with ID 'd1' is already registered."},
		{"deviceId":"absent","errorCode":404001,"errorStatus":"absent"},
		{"deviceId":"gone","errorCode":404001,"errorStatus":"gone"},
		{"deviceId":"lost","errorCode":404001,"errorStatus":"lost"},
		{"deviceId":"d2","moduleId":"m1","errorCode":409301,"errorStatus":"Module m1 already exists on device d2."},
		{"deviceId":"d3","moduleId":"m1","errorCode":404010,"errorStatus":"Module m1 on device d3 is not registered."},
		{"deviceId":"strange","errorCode":404001,"moduleId":"m1","errorStatus":"strange"},
		{"deviceId":"x","errorCode":400004,"errorStatus":"Property or Tag name has invalid characters. Error in Property/Tag a b. Must not contain Control Characters, '.', '$', '#', or ' '."},
		{"deviceId":"y","errorCode":400004,"errorStatus":"'status' should be 'enabled' or 'disabled'"}
	]`)
	h.ok(t, http.MethodGet, "/devices/new", "") // the others are applied
	for _, id := range []string{"x", "y"} {
		g.Expect(h.call(t, http.MethodGet, "/devices/"+id, "").status).To(Equal(http.StatusNotFound))
	}
}

func TestBulkUpdate(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	first := h.ok(t, http.MethodGet, "/devices/d1", "")
	etag := first["etag"].(string)
	h.bulk(t, `[{"id":"d1","eTag":"stale","importMode":"update","status":"disabled"}]`)
	second := h.ok(t, http.MethodGet, "/devices/d1", "")
	g.Expect(second["status"]).To(Equal("disabled"))
	g.Expect(second["statusUpdatedTime"]).To(Equal("2026-11-20T10:20:30.12345Z"))
	g.Expect(writesOf(t, second)).To(Equal(writesOf(t, first) + 1))
	g.Expect(at(second, "authentication", "symmetricKey")).NotTo(Equal(at(first, "authentication", "symmetricKey")), "a full replacement")

	const mismatch = `[{"deviceId":"d1","errorCode":412001,"errorStatus":"PreconditionFailed"}]`
	for _, mode := range []string{"updateIfMatchETag", "createOrUpdateIfMatchETag", "deleteIfMatchETag"} {
		h.expectBulkErrors(t, `[{"id":"d1","eTag":"`+etag+`","importMode":"`+mode+`"}]`, mismatch)
		h.expectBulkErrors(t, `[{"id":"d1","importMode":"`+mode+`"}]`, mismatch)
	}
	g.Expect(h.ok(t, http.MethodGet, "/devices/d1", "")).To(Equal(second))
	h.bulk(t, `[{"id":"d1","eTag":"`+second["etag"].(string)+`","importMode":"updateIfMatchETag"}]`)
	third := h.ok(t, http.MethodGet, "/devices/d1", "")
	g.Expect(third["status"]).To(Equal("enabled"))
	h.bulk(t, `[{"id":"d1","eTag":"`+third["etag"].(string)+`","importMode":"deleteIfMatchETag"}]`)
	h.expectBulkErrors(t, `[{"id":"d1","importMode":"delete"}]`, `[{"deviceId":"d1","errorCode":404001,"errorStatus":"d1"}]`)
}

func TestBulkCreateOrUpdate(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	for _, mode := range []string{`,"importMode":"createOrUpdate"`, ``, `,"importMode":"CREATEORUPDATE"`} {
		h.bulk(t, `[{"id":"d1","status":"disabled"`+mode+`}]`)
		g.Expect(h.ok(t, http.MethodGet, "/devices/d1", "")["status"]).To(Equal("disabled"))
		h.bulk(t, `[{"id":"d1","status":"enabled","tags":{"a":1}`+mode+`}]`)
		g.Expect(h.ok(t, http.MethodGet, "/devices/d1", "")["status"]).To(Equal("enabled"))
		twin := h.ok(t, http.MethodGet, "/twins/d1", "")
		g.Expect(twin["tags"]).To(Equal(object{"a": jsonNumber("1")}))
		g.Expect(twin["etag"]).To(Equal("AAAAAAAAAAI="))
		h.bulk(t, `[{"id":"d1","importMode":"delete","eTag":"stale"}]`)
		g.Expect(h.call(t, http.MethodGet, "/devices/d1", "").status).To(Equal(http.StatusNotFound))
	}
	h.bulk(t, `[{"id":"d1","importMode":"createOrUpdateIfMatchETag"}]`)
	h.expectBulkErrors(t, `[{"id":"d1","importMode":"createOrUpdate","twinETag":"stale","tags":{"a":1}}]`,
		`[{"deviceId":"d1","errorCode":412001,"errorStatus":"ETag mismatch for device ID 'd1'"}]`)
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")).NotTo(HaveKey("tags"))
}

func TestBulkUpdateTwin(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{}`)
	identity := h.ok(t, http.MethodGet, "/devices/d1", "")
	h.bulk(t, `[{"id":"d1","importMode":"UpdateTwin","eTag":"stale","twinETag":"stale","tags":{"a":1,"b":2},"properties":{"desired":{"x":1}}}]`)
	twin := h.ok(t, http.MethodGet, "/twins/d1", "")
	expectCounters(t, twin, "AAAAAAAAAAI=", "3", "2")
	g.Expect(at(twin, "properties", "desired", "x")).To(Equal(jsonNumber("1")))
	g.Expect(h.ok(t, http.MethodGet, "/devices/d1", "")).To(Equal(identity), "the identity stays as it is")

	h.expectBulkErrors(t, `[{"id":"d1","importMode":"updateTwinIfMatchETag","eTag":"AAAAAAAAAAI=","tags":{"a":3}}]`,
		`[{"deviceId":"d1","errorCode":412001,"errorStatus":"ETag mismatch for device ID 'd1'"}]`)
	h.expectBulkErrors(t, `[{"id":"d1","moduleId":"m1","importMode":"updateTwinIfMatchETag","twinETag":"AAAAAAAAAAI=","tags":{"a":3}}]`,
		`[{"deviceId":"d1","moduleId":"m1","errorCode":412001,"errorStatus":"ETag mismatch for device ID 'd1'"}]`)
	h.bulk(t, `[{"id":"d1","importMode":"updateTwinIfMatchETag","twinETag":"AAAAAAAAAAI=","tags":{"a":null}}]`)
	h.bulk(t, `[{"id":"d1","moduleId":"m1","importMode":"updateTwinIfMatchETag","twinETag":"AAAAAAAAAAE=","tags":{"a":3}}]`)
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")["tags"]).To(Equal(object{"b": jsonNumber("2")}))
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1/modules/m1", "")["tags"]).To(Equal(object{"a": jsonNumber("3")}))
}

func TestRefusedBulk(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	var entries []string
	for i := range 101 {
		entries = append(entries, fmt.Sprintf(`{"id":"n%d","importMode":"create"}`, i))
	}
	expectError(t, h.call(t, http.MethodPost, "/devices", "["+strings.Join(entries, ",")+"]"),
		http.StatusRequestEntityTooLarge, "TooManyDevices", "A bulk call should have maximum 100 entries")
	for _, twice := range []string{
		`[{"id":"n1","importMode":"create"},{"id":"n1","importMode":"delete"}]`,
		`[{"id":"n1","moduleId":"m1","importMode":"create"},{"id":"n1","moduleId":"m2","importMode":"create"}]`,
	} {
		expectError(t, h.call(t, http.MethodPost, "/devices", twice), http.StatusBadRequest, "DeviceDefinedMultipleTimes", "n1")
	}
	for _, body := range []string{``, `{}`, `{"devices":[]}`, `[{"id":"n1","importMode":"destroy"}]`, `[{"id":"n1","importMode":"createIfMatchETag"}]`, `[{"id":1}]`} {
		g := NewWithT(t)
		answer := h.call(t, http.MethodPost, "/devices", body)
		g.Expect(answer.status).To(Equal(http.StatusBadRequest), body)
		g.Expect(answer.header.Get("iothub-errorcode")).To(Equal("IotHubFormatError"), body)
	}
	NewWithT(t).Expect(decode[[]object](t, h.call(t, http.MethodGet, "/devices", "").text)).To(HaveLen(1), "nothing was applied")
	h.bulk(t, "["+strings.Join(entries[:100], ",")+"]")
}

func TestBulkTakesAHundredLargeTwins(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	var entries []string
	for i := range 100 {
		entries = append(entries, fmt.Sprintf(`{"id":"n%d","importMode":"create","properties":{"desired":%s}}`, i, sectionOfSize(20_000)))
	}
	h.bulk(t, "["+strings.Join(entries, ",")+"]")
}
