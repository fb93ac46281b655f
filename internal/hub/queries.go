package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// Index asks the index behind queries. It is eventually consistent: an answer may be minutes old, may miss new
// twins and may still list deleted ones. Each page counts against the rate of queries. A row that cannot be used is
// left out and counted.
type Index interface {
	// FindIDs shows the ids of the twins that satisfy a condition, page by page. An id may be shown more than once. An
	// error of seen ends it and is returned.
	FindIDs(ctx context.Context, selection Selection, seen func(page []ID) error) error

	// Count says how many twins satisfy a condition, or how many there are when it is empty. It takes one page, however
	// many they are, and counts deleted ones for as long as the index lists them.
	Count(ctx context.Context, from Source, where string) (int64, error)

	// FindRows shows the twins that are asked for, page by page. A twin may be shown more than once. An error of seen
	// ends the query and is returned.
	FindRows(ctx context.Context, selection RowSelection, seen func(page []IndexRow) error) error

	// FindTwins reads the twins of a batch of ids, as Batches makes them, with one query, or with more where the
	// documents are too large for one answer. A twin may be shown more than once, or not at all. unreadable is told of
	// the rows that cannot be used; it may be nil.
	FindTwins(ctx context.Context, from Source, batch []string, found func(*Twin), unreadable func(Unreadable)) error

	// FindPage shows one page of the twins that satisfy a condition, and how to ask for the next one.
	FindPage(ctx context.Context, selection PageSelection) (Page, error)
}

// Documents reads whole twins by what the index shows.
type Documents interface {
	// FindTwinPage reads one page of the twins that satisfy a condition, with fewer on it where they are too large for one
	// answer. next is the Continue of the page before; empty for the first.
	FindTwinPage(ctx context.Context, selection Selection, next string) (TwinPage, error)
}

// Source is what a query ranges over.
type Source string

// The sources of IoT Hub's query language that hold twins.
const (
	Devices Source = "devices"
	Modules Source = "devices.modules"
)

// Selection is a condition over a source.
type Selection struct {
	From Source
	// Where is a condition of IoT Hub's query language.
	Where string
	// Batch, of device ids as Batches makes them beside the condition, leaves out all others.
	Batch []string
}

// RowSelection says which twins to show: all of a source, unless it is narrowed.
type RowSelection struct {
	From Source
	// Batch, of device ids as Batches makes them, leaves out all others.
	Batch []string
	// Since leaves out the twins whose desired and reported properties were last written before, by the hub's clock.
	Since time.Time
	// Unreadable is told of the rows that cannot be used; it may be nil.
	Unreadable func(Unreadable)
}

// IndexRow is what the index shows of a twin without reading it: enough to tell that it moved.
type IndexRow struct {
	ID ID
	// ETag, DeviceETag, Version and ConnectionState are those of Twin. A hub may leave DeviceETag out.
	ETag, DeviceETag string
	Version          int64
	ConnectionState  string
	// Written is when desired or reported properties were last written, by the hub's clock; zero when that is not known.
	Written time.Time
}

const (
	// maxDevices bounds the answer to a query: IoT Hub holds at most a million devices and modules.
	maxDevices = 1_000_000
	// PageRows is the most twins that one page of an answer holds.
	PageRows = 100
	// maxBatchText leaves room for the rest of a query below the length that IoT Hub allows.
	maxBatchText = query.MaxLength - 1024
)

// maxEscapedID is what a device id takes in a query in the worst case, in which each of its characters is escaped.
const maxEscapedID = 2*128 + len(", ''")

// Batches cuts device ids into groups that one query can name, and answer with one page. beside is the condition that
// the query has besides, if any; there are no batches where it leaves no room for an id.
func Batches(devices []string, beside string) [][]string {
	room := maxBatchText - len(beside)
	if room < maxEscapedID {
		return nil
	}
	var batches [][]string
	start, length := 0, 0
	for i, device := range devices {
		size := 2*len(device) + len(", ''")
		if i > start && (i-start == PageRows || length+size > room) {
			batches, start, length = append(batches, devices[start:i]), i, 0
		}
		length += size
	}
	if start < len(devices) {
		batches = append(batches, devices[start:])
	}
	return batches
}

// selectedIDs are what is asked of each source.
var selectedIDs = map[Source]string{Devices: "deviceId", Modules: "deviceId, moduleId"}

// selection begins a query for some columns and the ids of a source.
func (s *session) selection(ex *exchange, from Source, columns string) (string, error) {
	ids, known := selectedIDs[from]
	if !known {
		return "", s.refused(ex, fmt.Sprintf("%q is no source of twins", from))
	}
	return "SELECT " + ids + columns + " FROM " + string(from), nil
}

// FindIDs implements Index.
func (s *session) FindIDs(ctx context.Context, selection Selection, seen func(page []ID) error) error {
	ex := &exchange{op: opQuery}
	text, err := s.selection(ex, selection.From, "")
	if err != nil {
		return err
	}
	if strings.TrimSpace(selection.Where) == "" {
		return s.refused(ex, "the condition is empty")
	}
	text += " WHERE "
	if len(selection.Batch) > 0 {
		text += query.In("deviceId", selection.Batch[0], selection.Batch[1:]...).String() + " AND "
	}
	return s.pages(ctx, ex, text+"("+selection.Where+")", new(pageRows), func(page []jsontext.Value) error {
		ids, err := usable(page, selection.From, byID(func(_ jsontext.Value, id ID) (ID, error) { return id, nil }), s.unreadable(nil))
		if err != nil {
			return s.unexpected(ex, err.Error())
		}
		return seen(ids)
	})
}

// idFinder is a Session, or what else FindIDs can be asked of.
type idFinder interface {
	FindIDs(ctx context.Context, selection Selection, seen func(page []ID) error) error
}

// errEnough ends a query whose further pages are not wanted.
var errEnough = errors.New("enough pages")

// IDs returns the ids of the twins that satisfy a condition, each once, sorted. When the answer has more than so many
// pages, what it returns is not all; zero is for as many as there are.
func IDs(ctx context.Context, s idFinder, selection Selection, most int) (ids []ID, all bool, err error) {
	seen := map[ID]struct{}{}
	pages := 0
	err = s.FindIDs(ctx, selection, func(page []ID) error {
		if pages++; most > 0 && pages > most {
			return errEnough
		}
		for _, id := range page {
			seen[id] = struct{}{}
		}
		return nil
	})
	all = !errors.Is(err, errEnough)
	if err != nil && all {
		return nil, false, err
	}
	return slices.SortedFunc(maps.Keys(seen), ID.Compare), all, nil
}

// Count implements Index.
func (s *session) Count(ctx context.Context, from Source, where string) (int64, error) {
	ex := &exchange{op: opQuery}
	if _, err := s.selection(ex, from, ""); err != nil {
		return 0, err
	}
	var total int64
	err := s.pages(ctx, ex, countQuery(from, where), new(pageRows), func(page []jsontext.Value) error {
		for _, row := range page {
			var counted struct {
				Total int64 `json:"total"`
			}
			if err := decode(row, &counted); err != nil || counted.Total < 0 {
				return s.unexpected(ex, "a row of the query's answer has no usable count")
			}
			total += counted.Total
		}
		return nil
	})
	return total, err
}

func countQuery(from Source, where string) string {
	text := "SELECT COUNT() AS total FROM " + string(from)
	if where != "" {
		text += " WHERE (" + where + ")"
	}
	return text
}

// rowColumns are the columns of a row beside the ids.
const rowColumns = ", etag, deviceEtag, version, connectionState, " +
	"properties.reported.$metadata.$lastUpdated AS reportedAt, properties.desired.$metadata.$lastUpdated AS desiredAt"

// timeLayout is how IoT Hub spells times, in the longest form. A time without trailing zeros sorts behind the same
// time in this form, since "Z" sorts behind digits: a comparison misses none.
const timeLayout = "2006-01-02T15:04:05.0000000Z"

// FindRows implements Index.
func (s *session) FindRows(ctx context.Context, selection RowSelection, seen func(page []IndexRow) error) error {
	ex := &exchange{op: opQuery}
	text, err := s.selection(ex, selection.From, rowColumns)
	if err != nil {
		return err
	}
	var conditions []string
	if len(selection.Batch) > 0 {
		conditions = append(conditions, query.In("deviceId", selection.Batch[0], selection.Batch[1:]...).String())
	}
	if !selection.Since.IsZero() {
		since := selection.Since.UTC().Format(timeLayout)
		conditions = append(conditions, fmt.Sprintf(
			"(properties.reported.$metadata.$lastUpdated >= '%s' OR properties.desired.$metadata.$lastUpdated >= '%s')", since, since))
	}
	if len(conditions) > 0 {
		text += " WHERE " + strings.Join(conditions, " AND ")
	}
	return s.pages(ctx, ex, text, new(pageRows), func(page []jsontext.Value) error {
		rows, err := usable(page, selection.From, byID(decodeIndexRow), s.unreadable(selection.Unreadable))
		if err != nil {
			return s.unexpected(ex, err.Error())
		}
		return seen(rows)
	})
}

// FindTwins implements Index.
func (s *session) FindTwins(ctx context.Context, from Source, batch []string, found func(*Twin), unreadable func(Unreadable)) error {
	ex := &exchange{op: opQuery}
	if _, err := s.selection(ex, from, ""); err != nil {
		return err
	}
	if len(batch) == 0 {
		return nil
	}
	text := fmt.Sprintf("SELECT * FROM %s WHERE %s", from, query.In("deviceId", batch[0], batch[1:]...))
	return s.pages(ctx, ex, text, &s.documents, func(page []jsontext.Value) error {
		twins, err := usable(page, from, decodeRow, s.unreadable(unreadable))
		if err != nil {
			return s.unexpected(ex, err.Error())
		}
		for _, twin := range twins {
			found(twin)
		}
		return nil
	})
}

func decodeRow(row jsontext.Value, from Source) (*Twin, error) {
	twin, err := decodeTwin(row, from.checkID)
	if err != nil {
		return nil, fmt.Errorf("a row of the query's answer cannot be used: %w", err)
	}
	return twin, nil
}

// unreadable counts a row that is left out before it is reported.
func (s *session) unreadable(report func(Unreadable)) func(Unreadable) {
	return func(row Unreadable) {
		s.metrics.leftOut(s.host)
		if report != nil {
			report(row)
		}
	}
}

func decodeIndexRow(row jsontext.Value, id ID) (IndexRow, error) {
	var columns struct {
		ETag            string `json:"etag"`
		DeviceETag      string `json:"deviceEtag"`
		ConnectionState string `json:"connectionState"`
		Version         int64  `json:"version"`
		ReportedAt      string `json:"reportedAt"`
		DesiredAt       string `json:"desiredAt"`
	}
	if err := decode(row, &columns); err != nil || checkETag(columns.ETag) != nil || columns.Version <= 0 {
		return IndexRow{}, errors.New("a row of the query's answer has no usable etag or version")
	}
	written := parseTime(columns.ReportedAt)
	if desired := parseTime(columns.DesiredAt); desired.After(written) {
		written = desired
	}
	return IndexRow{
		ID: id, ETag: columns.ETag, DeviceETag: columns.DeviceETag, Version: columns.Version,
		ConnectionState: columns.ConnectionState, Written: written,
	}, nil
}
