package store

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// twin is one device's twin, apart from what it mirrors of the identity.
type twin struct {
	writes   uint64 // back-end writes, the creation included; the etag in the open
	tags     map[string]any
	desired  section
	reported section
}

func (t twin) etag() string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, t.writes))
}

// Twin returns the twin as the service API shows it. The caller may keep it
// but must not change anything below its first level.
func (s *Store) Twin(deviceID string) (map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.find(deviceID)
	if err != nil {
		return nil, err
	}
	return d.document(), nil
}

func (d *device) document() map[string]any {
	document := map[string]any{
		"deviceId":                  d.identity.id,
		"etag":                      d.twin.etag(),
		"deviceEtag":                d.identity.etag,
		"status":                    d.identity.status,
		"statusUpdateTime":          formatTime(d.identity.statusUpdated),
		"connectionState":           d.identity.connectionState(),
		"lastActivityTime":          formatTime(d.identity.lastActivity),
		"cloudToDeviceMessageCount": 0,
		"authenticationType":        d.identity.auth.Type,
		"x509Thumbprint": map[string]any{
			"primaryThumbprint":   d.identity.auth.X509Thumbprint.Primary.value(),
			"secondaryThumbprint": d.identity.auth.X509Thumbprint.Secondary.value(),
		},
		"modelId":      "",
		"version":      int64(d.twin.writes) + d.twin.reported.version, //nolint:gosec // nobody writes 2^63 times
		"capabilities": map[string]any{"iotEdge": d.identity.iotEdge},
		"properties": map[string]any{
			"desired":  d.twin.desired.document(),
			"reported": d.twin.reported.document(),
		},
	}
	if d.identity.statusReason != "" {
		document["statusReason"] = d.identity.statusReason
	}
	if len(d.twin.tags) > 0 {
		document["tags"] = d.twin.tags
	}
	return document
}

// PatchTwin merges tags and desired properties of a partial twin into the
// device's twin and returns the whole new twin. ifMatch is the If-Match
// header's value, empty if there was none.
func (s *Store) PatchTwin(deviceID, ifMatch string, body []byte) (map[string]any, error) {
	wanted, err := parseChange(body)
	if err != nil {
		return nil, err
	}
	return s.write(deviceID, ifMatch, wanted, patchTwin)
}

// ReplaceTwin makes tags and desired properties exactly what body says: a
// section that it leaves out is emptied. It returns the whole new twin.
func (s *Store) ReplaceTwin(deviceID, ifMatch string, body []byte) (map[string]any, error) {
	wanted, err := parseChange(body)
	if err != nil {
		return nil, err
	}
	if wanted.desired == nil {
		wanted.desired = map[string]any{}
	}
	return s.write(deviceID, ifMatch, wanted, replaceTwin)
}

func (s *Store) write(deviceID, ifMatch string, wanted change, apply func(twin, change, stamp) twin) (map[string]any, error) {
	s.mu.Lock()
	document, session, err := s.writeLocked(deviceID, ifMatch, wanted, apply)
	s.mu.Unlock()
	if session != nil {
		session.deliver()
	}
	return document, err
}

func (s *Store) writeLocked(deviceID, ifMatch string, wanted change, apply func(twin, change, stamp) twin) (map[string]any, *Session, error) {
	d, err := s.find(deviceID)
	if err != nil {
		return nil, nil, err
	}
	if !twinMatches(ifMatch, d.twin.etag()) {
		return nil, nil, preconditionFailed("ETag mismatch for device ID '" + deviceID + "'")
	}
	if err := wanted.check(); err != nil {
		return nil, nil, err
	}
	current := d.twin
	next := apply(current, wanted, stamp{at: s.clock.Now(), version: current.desired.version + 1})
	if err := checkSize("Tags", next.tags, maxTagsSize); err != nil {
		return nil, nil, err
	}
	if err := checkSize("Properties.Desired", next.desired.values, maxPropertiesSize); err != nil {
		return nil, nil, err
	}
	d.twin = next
	if d.session != nil && next.desired.version != current.desired.version {
		d.session.notifyDesired(next.desired.version, wanted.desired)
	}
	return d.document(), d.session, nil
}

func patchTwin(t twin, wanted change, at stamp) twin {
	if wanted.tags == nil && wanted.desired == nil {
		return t
	}
	t.writes++
	if wanted.tags != nil {
		t.tags = mergeTags(t.tags, wanted.tags)
	}
	if wanted.desired != nil {
		t.desired = t.desired.merged(wanted.desired, at, at.version)
	}
	return t
}

// mergeTags merges a patch into tags, which have no metadata.
func mergeTags(tags, patch map[string]any) map[string]any {
	merged, _ := mergeObject(tags, &meta{}, patch, stamp{})
	return merged
}

func replaceTwin(t twin, wanted change, at stamp) twin {
	t.writes++
	t.tags = mergeTags(nil, wanted.tags)
	t.desired = t.desired.replaced(wanted.desired, at, at.version)
	return t
}

// twinMatches applies an If-Match value to a twin's etag. Only a quoted value
// is a condition: the hub takes an unquoted one for no condition at all, and
// some SDKs put quotes around the wildcard.
func twinMatches(ifMatch, etag string) bool {
	quoted := len(ifMatch) >= 2 && strings.HasPrefix(ifMatch, `"`) && strings.HasSuffix(ifMatch, `"`)
	if !quoted {
		return true
	}
	value := ifMatch[1 : len(ifMatch)-1]
	return value == "*" || value == etag
}
