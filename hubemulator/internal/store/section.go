package store

import "time"

// section is one of a twin's documents.
type section struct {
	root    *tree
	version int64
	notes   *notes // for most there are none
}

func newSection(now time.Time) section {
	return section{root: &tree{stamp: newStamp(now, 0)}, version: 1}
}

// merged returns the section after a merge patch.
func (s section) merged(patch map[string]any, w writing, version int64) section {
	return section{root: s.root.merged(patch, w), version: version, notes: s.notes}
}

// replaced returns the section after a full replacement.
func (s section) replaced(content map[string]any, w writing, version int64) section {
	return section{version: version}.merged(content, w, version)
}

// document renders the section as the service API shows it.
func (s section) document() map[string]any {
	document := s.deviceView()
	document["$metadata"] = s.metadata().metadata(s.notes, "")
	return document
}

// deviceView renders the section as a device sees it: without $metadata.
func (s section) deviceView() map[string]any {
	document := s.root.values()
	document["$version"] = s.version
	return document
}

// metadata is the section as if it were a property, for what is shown of its
// metadata: an empty one has no version of its own there.
func (s section) metadata() *child {
	if s.root.empty() {
		return &child{stamp: &stamp{ticks: s.root.ticks}}
	}
	return &child{value: s.root, stamp: s.root.stamp}
}
