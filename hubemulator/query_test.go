package hubemulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
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
		"unsupported":                 {queryBody(`SELECT AVG(tags.a) FROM devices`), nil, "ArgumentInvalid", "BadRequest"},
		"too long":                    {queryBody(`SELECT * FROM devices WHERE a = '` + strings.Repeat("x", 8192) + `'`), nil, "ArgumentInvalid", "BadRequest"},
		"no JSON":                     {`SELECT * FROM devices`, nil, "ArgumentInvalid", "BadRequest"},
		"no text":                     {`{}`, nil, "ArgumentNull", "BadRequest"},
		"empty text":                  {queryBody(``), nil, "ArgumentNull", "BadRequest"},
		"page of 0":                   {queryBody(`SELECT * FROM devices`), []string{"x-ms-max-item-count", "0"}, "ArgumentInvalid", "BadRequest"},
		"page of 101":                 {queryBody(`SELECT * FROM devices`), []string{"x-ms-max-item-count", "101"}, "ArgumentInvalid", "BadRequest"},
		"garbage continuation":        {queryBody(`SELECT * FROM devices`), []string{"x-ms-continuation", "garbage"}, "ArgumentInvalid", "The continuation token is not one of this query"},
		"another text's continuation": {queryBody(`SELECT deviceId FROM devices`), []string{"x-ms-continuation", token}, "ArgumentInvalid", "The continuation token is not one of this query"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expectError(t, h.call(t, http.MethodPost, "/devices/query", tt.body, tt.headers...), http.StatusBadRequest, tt.code, tt.text)
		})
	}
}
