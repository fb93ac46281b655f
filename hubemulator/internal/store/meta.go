package store

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// meta says when a property, or anything below it, was last written. It mirrors
// what it is about, and is never changed: whatever one write sets may share it.
type meta struct {
	*stamp
	children []child // of an object, in the order of their names
}

type child struct {
	name string
	meta *meta
}

// stamp is what one write leaves in the metadata of everything it touches.
type stamp struct {
	updated time.Time
	version int64  // 0 where the hub keeps no $lastUpdatedVersion
	fields  string // both as the fields of a JSON object
}

func newStamp(updated time.Time, version int64) *stamp {
	fields := append(appendTime([]byte(`"$lastUpdated":"`), updated), '"')
	if version != 0 {
		fields = strconv.AppendInt(append(fields, `,"$lastUpdatedVersion":`...), version, 10)
	}
	return &stamp{updated: updated, version: version, fields: string(fields)}
}

// merged returns the metadata after a merge patch. leaf is that of everything
// that the patch sets.
func (m *meta) merged(patch map[string]any, leaf *meta) *meta {
	children := make([]child, 0, max(len(m.children), len(patch)))
	rest := m.children
	for _, name := range sortedNames(patch) {
		before, found := search(rest, name)
		children = append(children, rest[:before]...)
		below := &meta{}
		if rest = rest[before:]; found {
			below, rest = rest[0].meta, rest[1:]
		}
		switch value := patch[name].(type) {
		case nil:
		case map[string]any:
			children = append(children, child{name, below.merged(value, leaf)})
		default:
			children = append(children, child{name, leaf})
		}
	}
	return &meta{stamp: leaf.stamp, children: append(children, rest...)}
}

func search(children []child, name string) (at int, found bool) {
	return slices.BinarySearchFunc(children, name, func(c child, name string) int { return cmp.Compare(c.name, name) })
}

// child returns nil when there is none of that name.
func (m *meta) child(name string) *meta {
	if at, found := search(m.children, name); found {
		return m.children[at].meta
	}
	return nil
}

func (m *meta) document() map[string]any {
	document := make(map[string]any, len(m.children)+2)
	for _, c := range m.children {
		document[c.name] = c.meta.document()
	}
	document["$lastUpdated"] = formatTime(m.updated)
	if m.version != 0 {
		document["$lastUpdatedVersion"] = m.version
	}
	return document
}

// appendJSON is document as JSON, the hub's own fields first.
func (m *meta) appendJSON(text []byte) []byte {
	text = append(append(text, '{'), m.fields...)
	for _, c := range m.children {
		text = c.meta.appendJSON(appendMember(text, c.name))
	}
	return append(text, '}')
}

// appendValues appends the properties that it is the metadata of as JSON, in
// the order that it knows already.
func (m *meta) appendValues(text []byte, values map[string]any) []byte {
	for _, c := range m.children {
		text = appendMember(text, c.name)
		if object, isObject := values[c.name].(map[string]any); isObject {
			text = append(c.meta.appendValues(append(text, '{'), object), '}')
		} else {
			text = appendJSON(text, values[c.name])
		}
	}
	return text
}

// mirrors reports whether it has a child for each property, and no other.
func (m *meta) mirrors(values map[string]any) bool {
	if len(m.children) != len(values) {
		return false
	}
	for _, c := range m.children {
		value, known := values[c.name]
		object, _ := value.(map[string]any) // anything else has no properties
		if !known || !c.meta.mirrors(object) {
			return false
		}
	}
	return true
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
