package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// Sightings asks the index behind queries. It is eventually consistent: an answer may be minutes old, may miss new
// twins and may still list deleted ones. Each page counts against the rate of queries.
type Sightings interface {
	// QueryIDs returns the ids of the twins that satisfy a condition of IoT Hub's query language, from all pages, each
	// once, sorted.
	QueryIDs(ctx context.Context, from Source, where string) ([]ID, error)

	// Count says how many twins there are.
	Count(ctx context.Context, from Source) (int64, error)

	// Look shows the twins that are asked for, page by page. A twin may be shown more than once. An error of seen
	// ends the look and is returned.
	Look(ctx context.Context, look Look, seen func(page []Sighting) error) error

	// FindTwins reads the twins of a batch of ids, as Batches makes them, with one query. A twin may be shown more
	// than once, or not at all.
	FindTwins(ctx context.Context, from Source, batch []string, found func(*Twin)) error
}

// Source is what a query ranges over.
type Source string

// The sources of IoT Hub's query language that hold twins.
const (
	Devices Source = "devices"
	Modules Source = "devices.modules"
)

// Look says which twins to look at: all of a source, unless it is narrowed.
type Look struct {
	From Source
	// Batch, of device ids as Batches makes them, leaves out all others.
	Batch []string
	// Since leaves out the twins whose desired and reported properties were last written before, by the hub's clock.
	Since time.Time
}

// Sighting is what can be seen of a twin without reading it: enough to tell that it moved.
type Sighting struct {
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

// Batches cuts device ids into groups that one query can name, and answer with one page.
func Batches(devices []string) [][]string {
	var batches [][]string
	start, length := 0, 0
	for i, device := range devices {
		// In the worst case each character is escaped.
		size := 2*len(device) + len(", ''")
		if i > start && (i-start == PageRows || length+size > maxBatchText) {
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

// QueryIDs implements Sightings.
func (s *session) QueryIDs(ctx context.Context, from Source, where string) ([]ID, error) {
	ex := &exchange{op: opQuery}
	text, err := s.selection(ex, from, "")
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(where) == "" {
		return nil, s.refused(ex, "the condition is empty")
	}
	seen := map[ID]struct{}{}
	err = s.pages(ctx, ex, text+" WHERE ("+where+")", func(page []json.RawMessage) error {
		for _, row := range page {
			id, err := rowID(row, from)
			if err != nil {
				return s.unexpected(ex, err.Error())
			}
			seen[id] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Keys(seen), ID.Compare), nil
}

// Count implements Sightings.
func (s *session) Count(ctx context.Context, from Source) (int64, error) {
	ex := &exchange{op: opQuery}
	if _, err := s.selection(ex, from, ""); err != nil {
		return 0, err
	}
	var total int64
	err := s.pages(ctx, ex, "SELECT COUNT() AS total FROM "+string(from), func(page []json.RawMessage) error {
		for _, row := range page {
			var counted struct{ Total int64 }
			if err := json.Unmarshal(row, &counted); err != nil {
				return s.unexpected(ex, "a row of the query's answer has no usable count")
			}
			total += counted.Total
		}
		return nil
	})
	return total, err
}

// lookedAt are the columns of a Look beside the ids.
const lookedAt = ", etag, deviceEtag, version, connectionState, " +
	"properties.reported.$metadata.$lastUpdated AS reportedAt, properties.desired.$metadata.$lastUpdated AS desiredAt"

// timeLayout is how IoT Hub spells times, in the longest form. A time without trailing zeros sorts behind the same
// time in this form, since "Z" sorts behind digits: a comparison misses none.
const timeLayout = "2006-01-02T15:04:05.0000000Z"

// Look implements Sightings.
func (s *session) Look(ctx context.Context, look Look, seen func(page []Sighting) error) error {
	ex := &exchange{op: opQuery}
	text, err := s.selection(ex, look.From, lookedAt)
	if err != nil {
		return err
	}
	var conditions []string
	if len(look.Batch) > 0 {
		conditions = append(conditions, query.In("deviceId", look.Batch[0], look.Batch[1:]...).String())
	}
	if !look.Since.IsZero() {
		since := look.Since.UTC().Format(timeLayout)
		conditions = append(conditions, fmt.Sprintf(
			"(properties.reported.$metadata.$lastUpdated >= '%s' OR properties.desired.$metadata.$lastUpdated >= '%s')", since, since))
	}
	if len(conditions) > 0 {
		text += " WHERE " + strings.Join(conditions, " AND ")
	}
	return s.pages(ctx, ex, text, func(page []json.RawMessage) error {
		sightings := make([]Sighting, 0, len(page))
		for _, row := range page {
			one, err := decodeSighting(row, look.From)
			if err != nil {
				return s.unexpected(ex, err.Error())
			}
			sightings = append(sightings, one)
		}
		return seen(sightings)
	})
}

// FindTwins implements Sightings.
func (s *session) FindTwins(ctx context.Context, from Source, batch []string, found func(*Twin)) error {
	ex := &exchange{op: opQuery}
	if _, err := s.selection(ex, from, ""); err != nil {
		return err
	}
	if len(batch) == 0 {
		return nil
	}
	text := fmt.Sprintf("SELECT * FROM %s WHERE %s", from, query.In("deviceId", batch[0], batch[1:]...))
	return s.pages(ctx, ex, text, func(page []json.RawMessage) error {
		for _, row := range page {
			id, err := rowID(row, from)
			if err != nil {
				return s.unexpected(ex, err.Error())
			}
			twin, err := decodeTwin(row, id)
			if err != nil {
				return s.unexpected(ex, "a row of the query's answer cannot be used: "+err.Error())
			}
			found(twin)
		}
		return nil
	})
}

// pages runs a query and shows the rows of each page, out of the answer itself like answeredTwin. An error of show ends
// it and is returned.
func (s *session) pages(ctx context.Context, ex *exchange, text string, show func(page []json.RawMessage) error) error {
	shown, rows := 0, 0
	var stopped error
	err := s.client.QueryDevices(withExchange(ctx, ex), text, func(row map[string]any) error {
		// The library decodes the next page into these very maps: what is not cleared shows up there.
		clear(row)
		if shown == ex.answers {
			return nil // of a page that was shown
		}
		shown = ex.answers
		var page []json.RawMessage
		if json.Unmarshal(ex.body, &page) != nil {
			return s.unexpected(ex, "it is not a page of rows")
		}
		if rows += len(page); rows > maxDevices {
			return s.unexpected(ex, fmt.Sprintf("the query's answer lists more than %d twins", maxDevices))
		}
		stopped = show(page)
		return stopped
	})
	if err == nil || stopped != nil {
		return stopped
	}
	return s.failure(ctx, ex, err)
}

func rowID(row json.RawMessage, from Source) (ID, error) {
	var ids struct{ DeviceID, ModuleID string }
	err := json.Unmarshal(row, &ids)
	id := ID{Device: ids.DeviceID, Module: ids.ModuleID}
	if err != nil || id.check() != nil || (from == Modules) != (id.Module != "") {
		return ID{}, errors.New("a row of the query's answer has no usable id")
	}
	return id, nil
}

func decodeSighting(row json.RawMessage, from Source) (Sighting, error) {
	id, err := rowID(row, from)
	if err != nil {
		return Sighting{}, err
	}
	var columns struct {
		ETag, DeviceETag, ConnectionState string
		Version                           int64
		ReportedAt, DesiredAt             string
	}
	if err := json.Unmarshal(row, &columns); err != nil || checkETag(columns.ETag) != nil || columns.Version <= 0 {
		return Sighting{}, errors.New("a row of the query's answer has no usable etag or version")
	}
	written := parseTime(columns.ReportedAt)
	if desired := parseTime(columns.DesiredAt); desired.After(written) {
		written = desired
	}
	return Sighting{
		ID: id, ETag: columns.ETag, DeviceETag: columns.DeviceETag, Version: columns.Version,
		ConnectionState: columns.ConnectionState, Written: written,
	}, nil
}
