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

func newSection(now time.Time) section {
	return section{values: map[string]any{}, meta: &meta{stamp: newStamp(now, 0)}, version: 1}
}

// merged returns the section after a merge patch: objects merge, null deletes,
// anything else replaces. Equal values get a new stamp too.
func (s section) merged(patch map[string]any, at *stamp, version int64) section {
	return section{
		values:  mergeValues(s.values, patch),
		meta:    s.meta.merged(patch, &meta{stamp: at}),
		version: version,
	}
}

// replaced returns the section after a full replacement.
func (s section) replaced(content map[string]any, at *stamp, version int64) section {
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
		return &meta{stamp: newStamp(s.meta.updated, 0)}
	}
	return s.meta
}
