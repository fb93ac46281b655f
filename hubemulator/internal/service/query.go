package service

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// IoT Hub answers queries in pages of 1 to 100 rows, 100 unless told otherwise.
const maxPage = 100

// position is where the next page starts. It names the last device answered,
// so that devices that come and go elsewhere disturb nothing.
type position struct {
	After string `json:"after"`
	// Rows is how many rows the pages before had; TOP counts them.
	Rows int `json:"rows"`
	// Query is a hash of the text: a continuation is good for one query only.
	Query uint64 `json:"query"`
}

func (h *handler) runQuery(c call) (answer, error) {
	var body struct{ Query *string }
	if err := json.Unmarshal(c.body, &body); err != nil {
		return answer{}, errBadQuery
	}
	if body.Query == nil || *body.Query == "" {
		return answer{}, errMissingQuery
	}
	if utf8.RuneCountInString(*body.Query) > query.MaxLength {
		return answer{}, errBadQuery
	}
	parsed, err := query.Parse(*body.Query)
	if err != nil {
		return answer{}, errBadQuery
	}
	size, err := pageSize(c.header.Get("x-ms-max-item-count"))
	if err != nil {
		return answer{}, err
	}
	start, err := decodePosition(c.header.Get("x-ms-continuation"), *body.Query)
	if err != nil {
		return answer{}, err
	}
	rows, next := h.page(parsed, start, size)
	result := answer{status: http.StatusOK, body: rows, header: map[string]string{"x-ms-item-type": "Raw"}}
	if parsed.SelectsTwins() {
		result.header["x-ms-item-type"] = "Twin"
	}
	if next != nil {
		result.header["x-ms-continuation"] = next.encode()
	}
	return result, nil
}

func pageSize(header string) (int, error) {
	if header == "" {
		return maxPage, nil
	}
	size, err := strconv.Atoi(header)
	if err != nil || size < 1 || size > maxPage {
		return 0, errBadQuery
	}
	return size, nil
}

// page returns the rows of one page, and where the next one starts if there
// is one.
func (h *handler) page(q *query.Query, start position, size int) ([]map[string]any, *position) {
	rows := []map[string]any{}
	if q.Aggregates() {
		return append(rows, q.Aggregate(documents(h.twins(q, "")))), nil
	}
	limit := -1
	if q.Top() > 0 {
		limit = q.Top() - start.Rows
	}
	last := start.After
	for id, doc := range h.twins(q, start.After) {
		row, selected := q.Select(doc)
		if !selected {
			continue
		}
		if len(rows) == limit {
			break
		}
		if len(rows) == size {
			return rows, &position{After: last, Rows: start.Rows + len(rows), Query: start.Query}
		}
		rows, last = append(rows, row), id
	}
	return rows, nil
}

// twins yields the twins that a query ranges over, behind the id after. There
// are no modules here.
func (h *handler) twins(q *query.Query, after string) iter.Seq2[string, map[string]any] {
	return func(yield func(string, map[string]any) bool) {
		if q.Modules() {
			return
		}
		ids := h.Store.DeviceIDs()
		first, found := slices.BinarySearch(ids, after)
		if found {
			first++
		}
		for _, id := range ids[first:] {
			doc, err := h.Store.Twin(id)
			if err != nil {
				continue // deleted since
			}
			if !yield(id, doc) {
				return
			}
		}
	}
}

func documents(twins iter.Seq2[string, map[string]any]) iter.Seq[map[string]any] {
	return func(yield func(map[string]any) bool) {
		for _, doc := range twins {
			if !yield(doc) {
				return
			}
		}
	}
}

func (p position) encode() string {
	// A struct of strings and numbers always encodes.
	text, _ := json.Marshal(p)
	return base64.StdEncoding.EncodeToString(text)
}

func decodePosition(token, text string) (position, error) {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(text)) // a hash takes everything
	start := position{Query: hash.Sum64()}
	if token == "" {
		return start, nil
	}
	decoded, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return position{}, errContinuation
	}
	var given position
	if err := json.Unmarshal(decoded, &given); err != nil || given.Query != start.Query || given.Rows < 0 {
		return position{}, errContinuation
	}
	return given, nil
}

var errContinuation = &store.Error{
	Status: http.StatusBadRequest, Number: 400004, Code: "ArgumentInvalid",
	Text: "The continuation token is not one of this query",
}
