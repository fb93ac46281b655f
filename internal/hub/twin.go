package hub

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

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
	// Status is "enabled" or "disabled".
	Status string

	// Tags, Desired and Reported are the three sections, without IoT Hub's own $metadata and $version. They are empty
	// rather than nil when the twin has none. Numbers are json.Number, as the hub spells them.
	Tags, Desired, Reported map[string]any

	// DesiredVersion and ReportedVersion are the sections' $version.
	DesiredVersion, ReportedVersion int64

	// RequestID is IoT Hub's id of the request that this answers, for a support case; empty where it came with others.
	RequestID string

	document []byte
	// The $metadata of two sections, which few look at.
	desired, reported jsontext.Value
}

// Document is the whole twin as the hub spells it, with its metadata, for a
// query's condition to be evaluated on. Each call decodes it anew.
func (t *Twin) Document() (map[string]any, error) {
	var document members
	err := decode(t.document, &document)
	return document, err
}

// DesiredStamps says when the desired properties were last written. Each call decodes it anew.
func (t *Twin) DesiredStamps() twin.Stamps { return stampsOf(metadata(t.desired)) }

// ReportedAt is when the device last reported something, by the hub's clock; zero where the hub does not say. Each call
// decodes it anew.
func (t *Twin) ReportedAt() time.Time {
	text, _ := metadata(t.reported)["$lastUpdated"].(string)
	return parseTime(text)
}

// metadata is a $metadata tree; empty where there is none.
func metadata(raw jsontext.Value) map[string]any {
	var tree members
	if decode(raw, &tree) != nil {
		return nil
	}
	return tree
}

// wireTwin is the part of the service's twin document that we use.
type wireTwin struct {
	DeviceID        string  `json:"deviceId"`
	ModuleID        string  `json:"moduleId"`
	ETag            string  `json:"etag"`
	DeviceETag      string  `json:"deviceEtag"`
	Version         int64   `json:"version"`
	ConnectionState string  `json:"connectionState"`
	Status          string  `json:"status"`
	Tags            section `json:"tags"`
	Properties      struct {
		Desired  section `json:"desired"`
		Reported section `json:"reported"`
	} `json:"properties"`
}

// decodeTwin reads a twin document. A document that is cut short, is of a twin that is not expected or has no etag
// is an error: acting on it could overwrite or forget something.
func decodeTwin(document []byte, expected func(ID) error) (*Twin, error) {
	var w wireTwin
	if decode(document, &w) != nil {
		if decodeFirst(document, new(wireTwin)) == nil {
			return nil, errors.New("the answer holds more than one twin document")
		}
		return nil, errors.New("the answer is not a twin document")
	}
	id := ID{Device: w.DeviceID, Module: w.ModuleID}
	if err := expected(id); err != nil {
		return nil, err
	}
	if checkETag(w.ETag) != nil {
		return nil, errors.New("the answer has no usable etag")
	}
	desired, reported := &w.Properties.Desired, &w.Properties.Reported
	return &Twin{
		document:        document,
		ID:              id,
		ETag:            w.ETag,
		DeviceETag:      w.DeviceETag,
		Version:         w.Version,
		ConnectionState: w.ConnectionState,
		Status:          w.Status,
		DesiredVersion:  desired.number(),
		ReportedVersion: reported.number(),
		Tags:            w.Tags.properties(),
		Desired:         desired.properties(),
		Reported:        reported.properties(),
		desired:         desired.metadata,
		reported:        reported.metadata,
	}, nil
}

// stampsOf reads a $metadata tree. What cannot be read of it counts as absent: it decides nothing that is written.
func stampsOf(metadata map[string]any) twin.Stamps {
	var stamps twin.Stamps
	for key, value := range metadata {
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
			below, _ := value.(map[string]any)
			stamps.Members[key] = stampsOf(below)
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
