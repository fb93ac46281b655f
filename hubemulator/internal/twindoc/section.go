package twindoc

import "time"

// Section is the desired or the reported properties of a twin: the properties
// with their metadata and their version. It is never changed; a write makes
// another one.
type Section struct {
	root    *Tree
	version int64
	notes   *notes // for most there are none
}

// NewSection returns an empty section as a new twin has it. created is the time
// in its metadata; the zero time is one that was not set.
func NewSection(created time.Time) Section {
	if created.IsZero() {
		return unwritten
	}
	return newSection(created)
}

// unwritten is the desired properties of all twins that were created in bulk.
var unwritten = newSection(time.Time{})

func newSection(created time.Time) Section {
	// Very many twins have nothing else in it: one piece of memory.
	var empty struct {
		Tree
		stamp
	}
	empty.stamp.ticks = Ticks(created)
	return Section{root: empty.within(&empty.stamp, nil), version: 1}
}

// Root is the section's properties.
func (s Section) Root() *Tree { return s.root }

// Version is the section's $version.
func (s Section) Version() int64 { return s.version }

// LastWrite is the write that the section's root was last part of, for what was
// written together with it.
func (s Section) LastWrite(common *Common) Write { return Write{stamp: s.root.stamp, common: common} }

// Merged returns the section after a merge patch.
func (s Section) Merged(patch map[string]any, w Write, version int64) Section {
	return Section{root: s.root.Merged(patch, w), version: version, notes: s.notes}
}

// Replaced returns the section after a full replacement.
func (s Section) Replaced(content map[string]any, w Write, version int64) Section {
	return Section{version: version}.Merged(content, w, version)
}

// document renders the section as the service API shows it.
func (s Section) document() map[string]any {
	document := s.DeviceView()
	document["$metadata"] = s.metadata().metadata(s.notes, "")
	return document
}

// DeviceView renders the section as a device sees it: without $metadata.
func (s Section) DeviceView() map[string]any {
	document := s.root.Values()
	document["$version"] = s.version
	return document
}

// metadata is the section as if it were a property, for what is shown of its
// metadata: an empty one has no version of its own there.
func (s Section) metadata() *child {
	if s.root.Empty() {
		return &child{stamp: &stamp{ticks: s.root.ticks}}
	}
	return &child{value: s.root, stamp: s.root.stamp}
}
