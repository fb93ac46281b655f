package store

import (
	"maps"
	"slices"
	"time"
)

// section is one of a twin's documents, with the metadata that mirrors it.
// Values are never changed in place once they are in a section, so that
// readers may keep what they were given.
type section struct {
	values  map[string]any
	meta    *meta
	version int64
}

// meta says when a property, or anything below it, was last written.
type meta struct {
	updated  time.Time
	version  int64 // 0 where the hub keeps no $lastUpdatedVersion
	children map[string]*meta
}

func newSection(now time.Time) section {
	return section{values: map[string]any{}, meta: &meta{updated: now}, version: 1}
}

// stamp is what one write leaves in the metadata of everything it touches.
type stamp struct {
	at      time.Time
	version int64
}

// merged returns the section after a merge patch: objects merge, null deletes,
// anything else replaces. Equal values get a new stamp too.
func (s section) merged(patch map[string]any, at stamp, version int64) section {
	values, metadata := mergeObject(s.values, s.meta, patch, at)
	return section{values: values, meta: metadata, version: version}
}

// replaced returns the section after a full replacement.
func (s section) replaced(content map[string]any, at stamp, version int64) section {
	return section{values: map[string]any{}, meta: &meta{}}.merged(content, at, version)
}

func mergeObject(values map[string]any, m *meta, patch map[string]any, at stamp) (map[string]any, *meta) {
	merged := maps.Clone(values)
	if merged == nil {
		merged = map[string]any{}
	}
	children := maps.Clone(m.children)
	if children == nil {
		children = map[string]*meta{}
	}
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(merged, key)
			delete(children, key)
		case map[string]any:
			below, belowMeta := childObject(merged, children, key)
			merged[key], children[key] = mergeObject(below, belowMeta, value, at)
		default:
			merged[key] = value
			children[key] = &meta{updated: at.at, version: at.version}
		}
	}
	return merged, &meta{updated: at.at, version: at.version, children: children}
}

// childObject returns the object at key with its metadata; both are empty when
// there is something else at key, or nothing. Tags have no metadata at all.
func childObject(values map[string]any, children map[string]*meta, key string) (map[string]any, *meta) {
	below, isObject := values[key].(map[string]any)
	if m := children[key]; isObject && m != nil {
		return below, m
	}
	return below, &meta{}
}

// document renders the section as the service API shows it.
func (s section) document() map[string]any {
	document := maps.Clone(s.values)
	document["$metadata"] = s.metadata()
	document["$version"] = s.version
	return document
}

// deviceView renders the section as a device sees it: without $metadata.
func (s section) deviceView() map[string]any {
	document := maps.Clone(s.values)
	document["$version"] = s.version
	return document
}

func (s section) metadata() map[string]any {
	if len(s.values) == 0 {
		return map[string]any{"$lastUpdated": formatTime(s.meta.updated)}
	}
	return s.meta.document()
}

func (m *meta) document() map[string]any {
	document := make(map[string]any, len(m.children)+2)
	for _, key := range slices.Collect(maps.Keys(m.children)) {
		document[key] = m.children[key].document()
	}
	document["$lastUpdated"] = formatTime(m.updated)
	if m.version != 0 {
		document["$lastUpdatedVersion"] = m.version
	}
	return document
}

// never is how .NET, and with it the hub, writes a time that was not set.
const never = "0001-01-01T00:00:00Z"

// formatTime writes a time as the hub does: UTC, up to seven digits of a
// second, without trailing zeros.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return never
	}
	return t.UTC().Truncate(100 * time.Nanosecond).Format("2006-01-02T15:04:05.9999999Z")
}
