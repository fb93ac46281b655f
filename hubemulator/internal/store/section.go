package store

import (
	"maps"
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
	return section{
		values:  mergeValues(s.values, patch),
		meta:    s.meta.merged(patch, &meta{updated: at.at, version: at.version}),
		version: version,
	}
}

// replaced returns the section after a full replacement.
func (s section) replaced(content map[string]any, at stamp, version int64) section {
	return section{values: map[string]any{}, meta: &meta{}}.merged(content, at, version)
}

func mergeValues(values, patch map[string]any) map[string]any {
	merged := maps.Clone(values)
	if merged == nil {
		merged = make(map[string]any, len(patch))
	}
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(merged, key)
		case map[string]any:
			below, _ := merged[key].(map[string]any) // anything else gives way
			merged[key] = mergeValues(below, value)
		default:
			merged[key] = value
		}
	}
	return merged
}

// merged returns the metadata after a merge patch. leaf is that of everything
// the patch sets, which may share it, since it is never changed.
func (m *meta) merged(patch map[string]any, leaf *meta) *meta {
	children := maps.Clone(m.children)
	if children == nil {
		children = make(map[string]*meta, len(patch))
	}
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(children, key)
		case map[string]any:
			below := children[key]
			if below == nil {
				below = &meta{}
			}
			children[key] = below.merged(value, leaf)
		default:
			children[key] = leaf
		}
	}
	return &meta{updated: leaf.updated, version: leaf.version, children: children}
}

// document renders the section as the service API shows it.
func (s section) document() map[string]any {
	document := maps.Clone(s.values)
	document["$metadata"] = s.metadata().document()
	document["$version"] = s.version
	return document
}

// deviceView renders the section as a device sees it: without $metadata.
func (s section) deviceView() map[string]any {
	document := maps.Clone(s.values)
	document["$version"] = s.version
	return document
}

// metadata is what is shown of the metadata: an empty section has no version
// of its own there.
func (s section) metadata() *meta {
	if len(s.values) == 0 {
		return &meta{updated: s.meta.updated}
	}
	return s.meta
}

func (m *meta) document() map[string]any {
	document := make(map[string]any, len(m.children)+2)
	for key, child := range m.children {
		document[key] = child.document()
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
func formatTime(t time.Time) string { return string(appendTime(nil, t)) }

func appendTime(text []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(text, never...)
	}
	return t.UTC().Truncate(100*time.Nanosecond).AppendFormat(text, time.RFC3339Nano)
}
