package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// Twin is what the hub holds about one device or module.
type Twin struct {
	ID ID
	// ETag moves with every change of tags or desired properties, and with nothing else. Bare, without quotes.
	ETag string
	// DeviceETag moves with every change of the device's identity: its keys, its status.
	DeviceETag string
	// Version moves with every change of the twin, the device's own included.
	Version int64
	// ConnectionState is "Connected" or "Disconnected", as the hub last saw it; it may be minutes old.
	ConnectionState string
	// LastActivityTime is when the device last sent something; zero when it never did.
	LastActivityTime time.Time
	// Status is "enabled" or "disabled".
	Status string

	// Tags, Desired and Reported are the three sections, without IoT Hub's own $metadata and $version. They are empty
	// rather than nil when the twin has none. Numbers are json.Number, as the hub spells them.
	Tags, Desired, Reported map[string]any

	// DesiredVersion and ReportedVersion are the sections' $version.
	DesiredVersion, ReportedVersion int64
	// DesiredStamps says when the desired properties were last written.
	DesiredStamps twin.Stamps
	// ReportedAt is when the device last reported something, by the hub's clock; zero where the hub does not say.
	ReportedAt time.Time

	// RequestID is IoT Hub's id of the request that this answers, for a support case; empty where it came with others.
	RequestID string

	document []byte
}

// Document is the whole twin as the hub spells it, with its metadata, for a
// query's condition to be evaluated on. Each call decodes it anew.
func (t *Twin) Document() (map[string]any, error) {
	var document map[string]any
	decoder := json.NewDecoder(bytes.NewReader(t.document))
	decoder.UseNumber()
	err := decoder.Decode(&document)
	return document, err
}

// wireTwin is the part of the service's twin document that we use.
type wireTwin struct {
	DeviceID         string `json:"deviceId"`
	ModuleID         string `json:"moduleId"`
	ETag             string `json:"etag"`
	DeviceETag       string `json:"deviceEtag"`
	Version          int64  `json:"version"`
	ConnectionState  string `json:"connectionState"`
	LastActivityTime string `json:"lastActivityTime"`
	Status           string `json:"status"`
	// The sections are objects. Decoding them as any is what encoding/json does fastest.
	Tags       any `json:"tags"`
	Properties struct {
		Desired  any `json:"desired"`
		Reported any `json:"reported"`
	} `json:"properties"`
}

var errNoTwin = errors.New("the answer is not a twin document")

// decodeTwin reads a twin document. A document that is cut short, is of a twin that is not expected or has no etag
// is an error: acting on it could overwrite or forget something.
func decodeTwin(document []byte, expected func(ID) error) (*Twin, error) {
	var w wireTwin
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	if err := decoder.Decode(&w); err != nil {
		return nil, errNoTwin
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the answer holds more than one twin document")
	}
	tags, tagsOK := object(w.Tags)
	desired, desiredOK := object(w.Properties.Desired)
	reported, reportedOK := object(w.Properties.Reported)
	if !tagsOK || !desiredOK || !reportedOK {
		return nil, errNoTwin
	}
	id := ID{Device: w.DeviceID, Module: w.ModuleID}
	if err := expected(id); err != nil {
		return nil, err
	}
	if checkETag(w.ETag) != nil {
		return nil, errors.New("the answer has no usable etag")
	}
	return &Twin{
		document:         document,
		ID:               id,
		ETag:             w.ETag,
		DeviceETag:       w.DeviceETag,
		Version:          w.Version,
		ConnectionState:  w.ConnectionState,
		LastActivityTime: parseTime(w.LastActivityTime),
		Status:           w.Status,
		DesiredVersion:   sectionVersion(desired),
		ReportedVersion:  sectionVersion(reported),
		DesiredStamps:    stampsOf(desired["$metadata"]),
		ReportedAt:       updatedAt(reported["$metadata"]),
		Tags:             section(tags),
		Desired:          section(desired),
		Reported:         section(reported),
	}, nil
}

// object is a section as an object; nil where there is none.
func object(section any) (map[string]any, bool) {
	members, ok := section.(map[string]any)
	return members, ok || section == nil
}

// section strips what IoT Hub keeps at the top of a section beside the properties themselves.
func section(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	delete(m, "$metadata")
	delete(m, "$version")
	return m
}

// sectionVersion returns a section's $version, or 0 when it has none.
func sectionVersion(m map[string]any) int64 {
	number, ok := m["$version"].(json.Number)
	if !ok {
		return 0
	}
	version, err := number.Int64()
	if err != nil {
		return 0
	}
	return version
}

// updatedAt is when a section was last written, by its $metadata.
func updatedAt(metadata any) time.Time {
	tree, _ := metadata.(map[string]any)
	text, _ := tree["$lastUpdated"].(string)
	return parseTime(text)
}

// stampsOf reads a $metadata tree. What cannot be read of it counts as absent: it decides nothing that is written.
func stampsOf(metadata any) twin.Stamps {
	var stamps twin.Stamps
	tree, _ := metadata.(map[string]any)
	for key, value := range tree {
		switch key {
		case "$lastUpdated":
			text, _ := value.(string)
			stamps.Updated = parseTime(text)
		case "$lastUpdatedVersion":
			number, _ := value.(json.Number)
			stamps.Version, _ = number.Int64()
		case "$lastUpdatedBy":
			stamps.By, _ = value.(string)
		case "$lastUpdatedByDigest":
		default:
			if stamps.Members == nil {
				stamps.Members = map[string]twin.Stamps{}
			}
			stamps.Members[key] = stampsOf(value)
		}
	}
	return stamps
}

// parseTime reads IoT Hub's timestamps: UTC, up to seven digits of a second, with Z, with an offset or with neither.
// What cannot be read counts as never, like the hub's own 0001-01-01: the time only informs, and is no reason to refuse
// a twin.
func parseTime(text string) time.Time {
	for _, candidate := range []string{text, strings.TrimSpace(text) + "Z"} {
		if t, err := time.Parse(time.RFC3339Nano, candidate); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
