package service

import (
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"strconv"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/job"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// IoT Hub answers queries in pages of at most 100 rows, 100 unless told otherwise.
const maxPage = 100

func (h *handler) runQuery(c call) (answer, error) {
	var body struct{ Query *string }
	if err := json.Unmarshal(c.body, &body); err != nil {
		return answer{}, errBadQuery
	}
	if body.Query == nil || *body.Query == "" {
		return answer{}, errMissingQuery
	}
	parsed, err := h.Choices.Dialect.Parse(*body.Query)
	if err != nil {
		return answer{}, errBadQuery // the service does not say where or why
	}
	if !parsed.Jobs() {
		// Of all queries, only those over jobs cost no messages.
		if err := h.Limits.CheckQuota(); err != nil {
			return answer{}, err
		}
	}
	size, err := pageSize(c.header.Get("x-ms-max-item-count"))
	if err != nil {
		return answer{}, err
	}
	token := c.header.Get("x-ms-continuation")
	start, err := h.openPosition(token, *body.Query)
	if err != nil {
		return answer{}, err
	}
	found, next := rows{}, &start
	if token != "" || !h.Choices.EmptyFirstPage {
		found, next = page(h.find(c, parsed, start), start, parsed.Top(), size)
	}
	result := answer{status: http.StatusOK, body: found, header: map[string]string{"x-ms-item-type": itemType(parsed)}}
	if next != nil {
		result.header["x-ms-continuation"] = h.sealPosition(*next, *body.Query)
	}
	return result, nil
}

// queryShares counts only first pages if Choices say so.
func queryShares(h *handler, c call) int {
	if h.Choices.ThrottleFirstPages && c.header.Get("x-ms-continuation") != "" {
		return 0
	}
	return 1
}

// The types of rows, as the service calls them.
const (
	itemRaw  = "Raw"
	itemTwin = "Twin"
	// itemDeviceJob is what one job did to one device.
	itemDeviceJob = "DeviceJob"
	// itemJob is a job.
	itemJob = "JobResponse"
)

func itemType(q *query.Query) string {
	switch {
	case q.Jobs():
		return itemDeviceJob
	case q.SelectsTwins():
		return itemTwin
	}
	return itemRaw
}

// pageSize is how many rows a client wants in a page. The service caps what is
// above its own size, and takes it for no mistake: tools ask for a thousand.
func pageSize(header string) (int, error) {
	if header == "" {
		return maxPage, nil
	}
	size, err := strconv.Atoi(header)
	if errors.Is(err, strconv.ErrRange) && size > 0 {
		return maxPage, nil
	}
	if err != nil || size < 1 {
		return 0, errBadQuery
	}
	return min(size, maxPage), nil
}

// page returns the rows of one page, and where the next one starts if there is
// one. top is how many rows all pages have together at most, unless it is 0.
func page(found iter.Seq2[position, any], start position, top, size int) (rows, *position) {
	collected := rows{}
	last := start
	for at, row := range found {
		if len(collected) == size {
			last.Rows = start.Rows + len(collected)
			return collected, &last
		}
		collected, last = append(collected, row), at
		if start.Rows+len(collected) == top {
			break
		}
	}
	return collected, nil
}

// rows are a page of twins, or of what a query selects of them.
type rows []any

func (r rows) appendJSON(text []byte) ([]byte, error) {
	text = append(text, '[')
	for i, row := range r {
		if i > 0 {
			text = append(text, ',')
		}
		var err error
		if text, err = appendBody(text, row); err != nil {
			return nil, err
		}
	}
	return append(text, ']'), nil
}

// twins are all that a query may find, as it sees them, in the order of their
// ids.
type twins interface {
	Scan(source store.Source, after store.ID) iter.Seq2[store.ID, *store.Snapshot]
	ScanDevices(source store.Source, devices []string, after store.ID) iter.Seq2[store.ID, *store.Snapshot]
}

func (h *handler) twinsFor(c call) twins {
	if c.frozen != nil {
		return c.frozen
	}
	return h.Store
}

// selected are the twins behind an id that a query selects. A query that can
// only be about some devices is not asked of others.
func selected(q *query.Query, from twins, after store.ID) iter.Seq2[store.ID, *store.Snapshot] {
	source := store.Devices
	if q.Modules() {
		source = store.Modules
	}
	candidates := from.Scan(source, after)
	if devices, bounded := q.Among("deviceId"); bounded {
		candidates = from.ScanDevices(source, devices, after)
	}
	return func(yield func(store.ID, *store.Snapshot) bool) {
		for id, twin := range candidates {
			if q.Selects(twin) && !yield(id, twin) {
				return
			}
		}
	}
}

// find yields the rows that a query finds behind a position, with the position
// of each.
func (h *handler) find(c call, q *query.Query, start position) iter.Seq2[position, any] {
	if q.Jobs() {
		return h.jobRows(q, start)
	}
	if q.Aggregates() {
		return groups(q, h.twinsFor(c), start)
	}
	return twinRows(q, h.twinsFor(c), start)
}

// twinRows yields a row for each twin that is selected. It begins with the first one
// behind the position, whatever is before that.
func twinRows(q *query.Query, from twins, start position) iter.Seq2[position, any] {
	return func(yield func(position, any) bool) {
		for id, twin := range selected(q, from, store.ID{Device: start.Device, Module: start.Module}) {
			if !yield(position{Device: id.Device, Module: id.Module}, rowOf(q, twin)) {
				return
			}
		}
	}
}

// jobRows yields what jobs did to devices.
func (h *handler) jobRows(q *query.Query, start position) iter.Seq2[position, any] {
	return func(yield func(position, any) bool) {
		for row := range h.Jobs.Rows(job.Position{Sequence: start.Job, Device: start.Device}) {
			document := row.Document()
			if q.Selects(query.Object(document)) && !yield(position{Job: row.Sequence, Device: row.Device}, document) {
				return
			}
		}
	}
}

func rowOf(q *query.Query, twin *store.Snapshot) any {
	if q.SelectsTwins() {
		return twin
	}
	return q.Row(twin)
}

// groups aggregates anew for every page: what the groups come to may have
// changed since the page before, but their order has not.
func groups(q *query.Query, from twins, start position) iter.Seq2[position, any] {
	return func(yield func(position, any) bool) {
		collected := q.Aggregation()
		for _, twin := range selected(q, from, store.ID{}) {
			collected.Add(twin)
		}
		for _, group := range collected.Groups() {
			if start.Group != nil && group.Key <= string(start.Group) {
				continue
			}
			if !yield(position{Group: []byte(group.Key)}, group.Row) {
				return
			}
		}
	}
}
