package hubemulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func queryBody(text string) string {
	encoded, err := json.Marshal(map[string]string{"query": text})
	if err != nil {
		panic(err) // a map of strings always encodes
	}
	return string(encoded)
}

func (h *hub) query(t *testing.T, text string, headers ...string) ([]object, http.Header) {
	t.Helper()
	answer := h.call(t, http.MethodPost, "/devices/query", queryBody(text), headers...)
	if answer.status != http.StatusOK {
		t.Fatalf("%s: %d %s", text, answer.status, answer.text)
	}
	return decode[[]object](t, answer.text), answer.header
}

func idsOf(rows []object) []string {
	ids := []string{}
	for _, row := range rows {
		ids = append(ids, row["deviceId"].(string))
	}
	return ids
}

func TestQueryTwins(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "a", "b", "c")
	h.ok(t, http.MethodPatch, "/twins/b", `{"tags":{"location":{"plant":"Redmond43"}}}`)

	rows, header := h.query(t, `SELECT * FROM devices WHERE tags.location.plant = 'Redmond43'`)
	g.Expect(header.Get("x-ms-item-type")).To(Equal("Twin"))
	g.Expect(header).NotTo(HaveKey("X-Ms-Continuation"))
	g.Expect(rows).To(Equal([]object{h.ok(t, http.MethodGet, "/twins/b", "")}))

	rows, header = h.query(t, `select DeviceId, tags.location.plant as plant from devices where not is_defined(tags.location)`)
	g.Expect(header.Get("x-ms-item-type")).To(Equal("Raw"))
	g.Expect(rows).To(Equal([]object{{"deviceId": "a"}, {"deviceId": "c"}}))

	rows, header = h.query(t, `SELECT COUNT() AS total FROM devices WHERE deviceId != 'b'`)
	g.Expect(header.Get("x-ms-item-type")).To(Equal("Raw"))
	g.Expect(rows).To(Equal([]object{{"total": json.Number("2")}}))

	answer := h.call(t, http.MethodPost, "/devices/query", queryBody(`SELECT * FROM devices.modules`))
	g.Expect(answer.text).To(Equal("[]"))
}

func TestQueryBodyKeyInAnyCase(t *testing.T) {
	t.Parallel()
	h := startHub(t, "a")
	answer := h.call(t, http.MethodPost, "/devices/query", `{"Query":"SELECT * FROM devices"}`)
	NewWithT(t).Expect(idsOf(decode[[]object](t, answer.text))).To(Equal([]string{"a"}))
}

func TestQueryPaging(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var ids []string
	for i := range 205 {
		ids = append(ids, fmt.Sprintf("d%03d", i))
	}
	h := startHub(t, ids...)
	for _, tt := range []struct {
		text  string
		size  string
		pages []int
	}{
		{`SELECT * FROM devices`, "", []int{100, 100, 5}},
		{`SELECT deviceId FROM devices`, "100", []int{100, 100, 5}},
		{`SELECT deviceId FROM devices WHERE deviceId < 'd004'`, "2", []int{2, 2}},
		{`SELECT deviceId FROM devices WHERE deviceId IN ['d000', 'd204']`, "1", []int{1, 1}},
		{`SELECT TOP 5 deviceId FROM devices`, "2", []int{2, 2, 1}},
		{`SELECT TOP 4 deviceId FROM devices`, "2", []int{2, 2}},
		{`SELECT TOP 1 * FROM devices`, "", []int{1}},
		{`SELECT * FROM devices`, "101", []int{100, 100, 5}},
		{`SELECT * FROM devices`, "1000", []int{100, 100, 5}},
		{`SELECT * FROM devices`, "99999999999999999999", []int{100, 100, 5}},
		{`SELECT deviceId FROM devices WHERE deviceId = 'x'`, "", []int{0}},
	} {
		var pages []int
		seen := map[string]bool{}
		for token := ""; len(pages) < 10; {
			var headers []string
			if tt.size != "" {
				headers = append(headers, "x-ms-max-item-count", tt.size)
			}
			if token != "" {
				headers = append(headers, "x-ms-continuation", token)
			}
			rows, header := h.query(t, tt.text, headers...)
			pages = append(pages, len(rows))
			for _, id := range idsOf(rows) {
				g.Expect(seen).NotTo(HaveKey(id))
				seen[id] = true
			}
			if token = header.Get("x-ms-continuation"); token == "" {
				break
			}
		}
		g.Expect(pages).To(Equal(tt.pages), tt.text)
	}
}

func TestGroupsInPages(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "a", "b", "c", "d", "e")
	for id, floor := range map[string]string{"a": "3", "b": "1", "c": "3", "d": `"roof"`} {
		h.ok(t, http.MethodPatch, "/twins/"+id, `{"tags":{"floor":`+floor+`}}`)
	}
	text := `SELECT tags.floor, COUNT() AS devices, MAX(deviceId) AS last FROM devices GROUP BY tags.floor`
	rows, header := h.query(t, text, "x-ms-max-item-count", "2")
	g.Expect(header.Get("x-ms-item-type")).To(Equal("Raw"))
	g.Expect(rows).To(Equal([]object{
		{"devices": json.Number("1"), "last": "e"}, {"floor": json.Number("1"), "devices": json.Number("1"), "last": "b"},
	}))
	token := header.Get("x-ms-continuation")
	rows, _ = h.query(t, text, "x-ms-continuation", token, "x-ms-max-item-count", "1")
	g.Expect(rows).To(Equal([]object{{"floor": json.Number("3"), "devices": json.Number("2"), "last": "c"}}))
	// Neither a new group before the next page nor the end of an old one disturbs it.
	h.ok(t, http.MethodPatch, "/twins/b", `{"tags":{"floor":0}}`)
	rows, header = h.query(t, text, "x-ms-continuation", token)
	g.Expect(header).NotTo(HaveKey("X-Ms-Continuation"))
	g.Expect(rows).To(Equal([]object{
		{"floor": json.Number("3"), "devices": json.Number("2"), "last": "c"}, {"floor": "roof", "devices": json.Number("1"), "last": "d"},
	}))
	rows, header = h.query(t, `SELECT TOP 1 tags.floor FROM devices GROUP BY tags.floor`)
	g.Expect(rows).To(Equal([]object{{}}))
	g.Expect(header).NotTo(HaveKey("X-Ms-Continuation"))
}

func TestQueryByTimeOfChange(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "a", "b", "c")
	h.clock.Step(10 * time.Minute)
	since := h.clock.Now().UTC().Format("2006-01-02T15:04:05.9999999Z")
	h.ok(t, http.MethodPatch, "/twins/a", `{"properties":{"desired":{"x":1}}}`)
	_, err := h.server.Report("b", []byte(`{"DevAddr":"1"}`))
	g.Expect(err).NotTo(HaveOccurred())
	h.ok(t, http.MethodPatch, "/twins/c", `{"tags":{"x":1}}`)
	rows, _ := h.query(t, `SELECT deviceId FROM devices WHERE properties.desired.$metadata.$lastUpdated >= '`+since+`'`)
	g.Expect(idsOf(rows)).To(Equal([]string{"a"}))
	rows, _ = h.query(t, `SELECT deviceId FROM devices WHERE properties.reported.$metadata.DevAddr.$lastUpdated >= '`+since+`'`)
	g.Expect(idsOf(rows)).To(Equal([]string{"b"}))
	rows, _ = h.query(t, `SELECT deviceId FROM devices WHERE properties.desired.$metadata.x.$lastUpdated < '`+since+`'`)
	g.Expect(rows).To(BeEmpty())
	rows, _ = h.query(t, `SELECT deviceId, properties.desired.$version AS v FROM devices WHERE properties.desired.$version > 1 OR properties.reported.$version = 2`)
	g.Expect(rows).To(Equal([]object{{"deviceId": "a", "v": json.Number("2")}, {"deviceId": "b", "v": json.Number("1")}}))
	rows, _ = h.query(t, `SELECT deviceId FROM devices WHERE version = 3 AND etag = 'AAAAAAAAAAE='`)
	g.Expect(idsOf(rows)).To(Equal([]string{"b"}))
}

func TestQueryModules(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "a", "b")
	for _, path := range []string{"/devices/b/modules/y", "/devices/a/modules/z", "/devices/b/modules/x"} {
		h.ok(t, http.MethodPut, path, `{}`)
	}
	h.ok(t, http.MethodPatch, "/twins/b/modules/x", `{"tags":{"a":1}}`)
	text := `SELECT deviceId, moduleId FROM devices.modules`
	rows, header := h.query(t, text, "x-ms-max-item-count", "2")
	g.Expect(rows).To(Equal([]object{{"deviceId": "a", "moduleId": "z"}, {"deviceId": "b", "moduleId": "x"}}))
	rows, _ = h.query(t, text, "x-ms-continuation", header.Get("x-ms-continuation"))
	g.Expect(rows).To(Equal([]object{{"deviceId": "b", "moduleId": "y"}}))
	rows, header = h.query(t, `SELECT * FROM devices.modules WHERE devices.modules.tags.a = 1`)
	g.Expect(header.Get("x-ms-item-type")).To(Equal("Twin"))
	g.Expect(rows).To(Equal([]object{h.ok(t, http.MethodGet, "/twins/b/modules/x", "")}))
	rows, _ = h.query(t, `SELECT COUNT() AS n FROM devices.modules GROUP BY deviceId`)
	g.Expect(rows).To(Equal([]object{{"n": json.Number("1")}, {"n": json.Number("2")}}))
	rows, _ = h.query(t, `SELECT moduleId FROM devices`)
	g.Expect(rows).To(Equal([]object{{}, {}}), "devices have no module id")
}

func TestQueryConfigurationStatus(t *testing.T) {
	t.Parallel()
	h := startHub(t, "a")
	rows, _ := h.query(t, `select deviceId from devices where configurations.[[none]].status = 'Applied'`)
	NewWithT(t).Expect(rows).To(BeEmpty())
}

func TestContinuationSurvivesChanges(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "a", "b", "d", "e")
	text := `SELECT deviceId FROM devices`
	rows, header := h.query(t, text, "x-ms-max-item-count", "2")
	g.Expect(idsOf(rows)).To(Equal([]string{"a", "b"}))
	g.Expect(h.server.RemoveDevice("b")).To(Succeed())
	g.Expect(must(h.server.AddDevice("c"))).NotTo(BeEmpty())
	rows, _ = h.query(t, text, "x-ms-continuation", header.Get("x-ms-continuation"))
	g.Expect(idsOf(rows)).To(Equal([]string{"c", "d", "e"}))
}

// A continuation is good for its query as it was given out, and nothing else.
func TestChangedContinuation(t *testing.T) {
	t.Parallel()
	h := startHub(t, "a", "b")
	text := `SELECT * FROM devices`
	_, header := h.query(t, text, "x-ms-max-item-count", "1")
	token := header.Get("x-ms-continuation")
	changed := []string{token + token, token[:len(token)/2], "AAAA", "garbage!"}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i, c := range strings.TrimRight(token, "=") {
		other := alphabet[strings.IndexRune(alphabet, c)^1] // differs in the last bit
		changed = append(changed, token[:i]+string(other)+token[i+1:])
	}
	for _, token := range changed {
		expectError(t, h.call(t, http.MethodPost, "/devices/query", queryBody(text), "x-ms-continuation", token),
			http.StatusBadRequest, "ArgumentInvalid", "The continuation token is not one of this query")
	}
	expectError(t, h.call(t, http.MethodPost, "/devices/query", queryBody(text+" "), "x-ms-continuation", token),
		http.StatusBadRequest, "ArgumentInvalid", "The continuation token is not one of this query")
	rows, _ := h.query(t, text, "x-ms-continuation", token, "x-ms-max-item-count", "7")
	NewWithT(t).Expect(idsOf(rows)).To(Equal([]string{"b"}), "the size of the page may change")
}

func TestQueryOfTheLongestText(t *testing.T) {
	t.Parallel()
	h := startHub(t, "a")
	frame := `SELECT * FROM devices WHERE deviceId != '`
	rows, _ := h.query(t, frame+strings.Repeat("é", 8192-len(frame)-1)+`'`)
	NewWithT(t).Expect(idsOf(rows)).To(Equal([]string{"a"}))
}

func TestQueryLagAndGhosts(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHubWith(t, hubemulator.Options{Devices: []string{"a"}, QueryLag: 2 * time.Second, QueryGhosts: 25 * time.Minute})
	count := func() any {
		rows, _ := h.query(t, `SELECT COUNT() AS n FROM devices`)
		return rows[0]["n"]
	}
	tagged := func() []string {
		rows, _ := h.query(t, `SELECT * FROM devices WHERE tags.a = 1`)
		return idsOf(rows)
	}
	g.Expect(count()).To(Equal(json.Number("0")))
	h.clock.Step(2 * time.Second)
	g.Expect(count()).To(Equal(json.Number("1")))
	h.ok(t, http.MethodPatch, "/twins/a", `{"tags":{"a":1}}`)
	g.Expect(tagged()).To(BeEmpty())
	h.clock.Step(2 * time.Second)
	g.Expect(tagged()).To(Equal([]string{"a"}))
	g.Expect(h.server.RemoveDevice("a")).To(Succeed())
	h.clock.Step(25*time.Minute - 1)
	g.Expect(tagged()).To(Equal([]string{"a"}))
	g.Expect(count()).To(Equal(json.Number("1")), "ghosts are counted")
	expectError(t, h.call(t, http.MethodGet, "/twins/a", ""), http.StatusNotFound, "DeviceNotFound", "a")
	h.clock.Step(1)
	g.Expect(count()).To(Equal(json.Number("0")))
}

func TestNegativeQueryLag(t *testing.T) {
	t.Parallel()
	for _, opts := range []hubemulator.Options{{QueryLag: -1}, {QueryGhosts: -1}} {
		_, err := hubemulator.Start(t.Context(), opts)
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring("cannot be negative")))
	}
}

func TestRefusedQueries(t *testing.T) {
	t.Parallel()
	h := startHub(t, "a", "b")
	_, header := h.query(t, `SELECT * FROM devices`, "x-ms-max-item-count", "1")
	token := header.Get("x-ms-continuation")
	for name, tt := range map[string]struct {
		body    string
		headers []string
		code    string
		text    string
	}{
		"syntax":                      {queryBody(`SELECT * FROM devices WHERE`), nil, "ArgumentInvalid", "BadRequest"},
		"no such function":            {queryBody(`SELECT MEDIAN(tags.a) FROM devices`), nil, "ArgumentInvalid", "BadRequest"},
		"routing's function":          {queryBody(`SELECT * FROM devices WHERE STARTS_WITH(deviceId, 'a')`), nil, "ArgumentInvalid", "BadRequest"},
		"reserved word":               {queryBody(`SELECT * FROM devices WHERE tags.group = 'a'`), nil, "ArgumentInvalid", "BadRequest"},
		"aggregate beside property":   {queryBody(`SELECT status, COUNT() FROM devices`), nil, "ArgumentInvalid", "BadRequest"},
		"all of a group":              {queryBody(`SELECT * FROM devices GROUP BY status`), nil, "ArgumentInvalid", "BadRequest"},
		"sorting":                     {queryBody(`SELECT * FROM devices ORDER BY deviceId`), nil, "ArgumentInvalid", "BadRequest"},
		"too long":                    {queryBody(`SELECT * FROM devices WHERE a = '` + strings.Repeat("x", 8192) + `'`), nil, "ArgumentInvalid", "BadRequest"},
		"no JSON":                     {`SELECT * FROM devices`, nil, "ArgumentInvalid", "BadRequest"},
		"no text":                     {`{}`, nil, "ArgumentNull", "BadRequest"},
		"empty text":                  {queryBody(``), nil, "ArgumentNull", "BadRequest"},
		"page of 0":                   {queryBody(`SELECT * FROM devices`), []string{"x-ms-max-item-count", "0"}, "ArgumentInvalid", "BadRequest"},
		"page of -1":                  {queryBody(`SELECT * FROM devices`), []string{"x-ms-max-item-count", "-1"}, "ArgumentInvalid", "BadRequest"},
		"page of what":                {queryBody(`SELECT * FROM devices`), []string{"x-ms-max-item-count", "ten"}, "ArgumentInvalid", "BadRequest"},
		"page of less than all":       {queryBody(`SELECT * FROM devices`), []string{"x-ms-max-item-count", "-99999999999999999999"}, "ArgumentInvalid", "BadRequest"},
		"garbage continuation":        {queryBody(`SELECT * FROM devices`), []string{"x-ms-continuation", "garbage"}, "ArgumentInvalid", "The continuation token is not one of this query"},
		"another text's continuation": {queryBody(`SELECT deviceId FROM devices`), []string{"x-ms-continuation", token}, "ArgumentInvalid", "The continuation token is not one of this query"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expectError(t, h.call(t, http.MethodPost, "/devices/query", tt.body, tt.headers...), http.StatusBadRequest, tt.code, tt.text)
		})
	}
}
