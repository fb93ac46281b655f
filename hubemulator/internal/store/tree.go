package store

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unique"
)

// tree is an object in a twin's document: its properties in the order of their
// names, and when it, or anything in it, was last written. It is never changed:
// a write makes another one, which shares with it all that it left alone. The
// nil tree is an empty one.
type tree struct {
	*stamp
	children []child
}

// child is a property. Its value is a *tree, or what JSON decodes to; objects
// within an array have no metadata and are maps.
type child struct {
	// name is shared by all twins: most of them have the same ones.
	name  unique.Handle[string]
	value any
	*stamp
}

// stamp is what one write leaves in the metadata of everything it touches. It
// holds no pointers: there are several for each twin.
type stamp struct {
	ticks   int64
	version int64 // 0 where the hub keeps no $lastUpdatedVersion
}

func newStamp(updated time.Time, version int64) *stamp {
	return &stamp{ticks: ticksOf(updated), version: version}
}

func (s *stamp) updated() time.Time { return timeOf(s.ticks) }

// writing is one write: what it leaves, and which values it need not keep itself.
type writing struct {
	*stamp
	common *common
}

func (s *Store) writing(now time.Time, version int64) writing {
	return writing{stamp: newStamp(now, version), common: s.common}
}

// merged returns the tree after a merge patch: objects merge, null deletes,
// anything else replaces. Equal values get the new stamp too.
func (t *tree) merged(patch map[string]any, w writing) *tree {
	rest := t.properties()
	merged := newTree(w.stamp, max(len(rest), len(patch)))
	children := merged.children
	for _, name := range sortedNames(patch) {
		before, found := search(rest, name)
		children = append(children, rest[:before]...)
		next := child{stamp: w.stamp, value: w.common.share(patch[name])}
		var below *tree // anything else gives way to an object
		if rest = rest[before:]; found {
			next.name = rest[0].name
			below = rest[0].inside()
			rest = rest[1:]
		} else {
			next.name = unique.Make(name)
		}
		if object, isObject := next.value.(map[string]any); isObject {
			next.value = below.merged(object, w)
		}
		if next.value != nil {
			children = append(children, next)
		}
	}
	merged.children = append(children, rest...)
	return merged
}

// newTree returns an empty tree with room for so many properties: for the usual
// few in the same piece of memory, so that there is one to be visited.
func newTree(at *stamp, room int) *tree {
	switch {
	case room <= 1:
		var t struct {
			tree
			room [1]child
		}
		return t.within(at, t.room[:0])
	case room == 2:
		var t struct {
			tree
			room [2]child
		}
		return t.within(at, t.room[:0])
	case room <= 4:
		var t struct {
			tree
			room [4]child
		}
		return t.within(at, t.room[:0])
	}
	return new(tree).within(at, make([]child, 0, room))
}

// within makes t a tree whose properties go where there is room for them.
func (t *tree) within(at *stamp, room []child) *tree {
	t.stamp, t.children = at, room
	return t
}

func search(children []child, name string) (at int, found bool) {
	return slices.BinarySearchFunc(children, name, func(c child, name string) int { return cmp.Compare(c.name.Value(), name) })
}

func (t *tree) properties() []child {
	if t == nil {
		return nil
	}
	return t.children
}

func (t *tree) empty() bool { return len(t.properties()) == 0 }

// child returns nil when there is none of that name.
func (t *tree) child(name string) *child {
	children := t.properties()
	if at, found := search(children, name); found {
		return &children[at]
	}
	return nil
}

// inside are the properties of a property that is an object; nil is no property.
func (c *child) inside() *tree {
	if c == nil {
		return nil
	}
	object, _ := c.value.(*tree) // anything else has nothing inside
	return object
}

// equal compares values, whenever they were written.
func (t *tree) equal(other *tree) bool {
	return slices.EqualFunc(t.properties(), other.properties(), func(a, b child) bool {
		if a.name != b.name {
			return false
		}
		object, isObject := a.value.(*tree)
		beside, besideIsObject := b.value.(*tree)
		if isObject && besideIsObject {
			return object.equal(beside)
		}
		return reflect.DeepEqual(a.value, b.value)
	})
}

// values is the tree as encoding/json would decode it.
func (t *tree) values() map[string]any {
	values := make(map[string]any, len(t.properties())+2) // with room for what a section adds
	for _, c := range t.properties() {
		values[c.name.Value()] = plain(c.value)
	}
	return values
}

// plain is a value as encoding/json would decode it.
func plain(value any) any {
	if object, isObject := value.(*tree); isObject {
		return object.values()
	}
	return value
}

// appendJSON is values as JSON.
func (t *tree) appendJSON(text []byte) []byte {
	return append(t.appendProperties(append(text, '{')), '}')
}

func (t *tree) appendProperties(text []byte) []byte {
	for _, c := range t.properties() {
		text = appendJSON(appendMember(text, c.name.Value()), c.value)
	}
	return text
}

// metadata is when the property at a path and what is inside were last written,
// as a twin's document shows it.
func (c *child) metadata(n *notes, path string) map[string]any {
	properties := c.inside().properties()
	document := make(map[string]any, len(properties)+2)
	if !n.isBare(path) {
		for i := range properties {
			name := properties[i].name.Value()
			document[name] = properties[i].metadata(n, n.below(path, name))
		}
	}
	document["$lastUpdated"] = formatTime(c.updated())
	if c.version != 0 {
		document["$lastUpdatedVersion"] = c.version
	}
	if by, known := n.author(path, c.stamp); known {
		document["$lastUpdatedBy"], document["$lastUpdatedByDigest"] = by.Configuration, by.Digest
	}
	return document
}

// appendMetadata is metadata as JSON, the hub's own fields first.
func (c *child) appendMetadata(text []byte, n *notes) []byte {
	written := metadataText{text: text, notes: n}
	written.append(c, "")
	return written.text
}

// metadataText is metadata as JSON. Most of it is of one write: its fields are
// copied from where they are already.
type metadataText struct {
	text     []byte
	notes    *notes
	last     *stamp
	from, to int // its fields in the text
}

func (m *metadataText) append(c *child, path string) {
	m.text = append(m.text, '{')
	m.appendFields(c.stamp)
	if by, known := m.notes.author(path, c.stamp); known {
		m.text = appendText(appendMember(m.text, "$lastUpdatedBy"), by.Configuration)
		m.text = appendText(appendMember(m.text, "$lastUpdatedByDigest"), by.Digest)
	}
	var properties []child
	if !m.notes.isBare(path) {
		properties = c.inside().properties()
	}
	for i := range properties {
		name := properties[i].name.Value()
		m.text = appendMember(m.text, name)
		m.append(&properties[i], m.notes.below(path, name))
	}
	m.text = append(m.text, '}')
}

func (m *metadataText) appendFields(s *stamp) {
	if s == m.last {
		m.text = append(m.text, m.text[m.from:m.to]...)
		return
	}
	m.last, m.from = s, len(m.text)
	m.text = append(appendTime(append(m.text, `"$lastUpdated":"`...), s.updated()), '"')
	if s.version != 0 {
		m.text = strconv.AppendInt(append(m.text, `,"$lastUpdatedVersion":`...), s.version, 10)
	}
	m.to = len(m.text)
}

// never is how .NET, and with it the hub, writes a time that was not set.
const never = "0001-01-01T00:00:00Z"

// FormatTime writes a time that is not part of an identity or a twin as the hub
// writes theirs.
func FormatTime(t time.Time) string { return formatTime(t) }

// formatTime writes a time as the hub does: UTC, up to seven digits of a
// second, without trailing zeros.
func formatTime(t time.Time) string { return string(appendTime(nil, t)) }

func appendTime(text []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(text, never...)
	}
	return t.UTC().Truncate(100*time.Nanosecond).AppendFormat(text, time.RFC3339Nano)
}
