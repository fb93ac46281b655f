package twindoc

import (
	"cmp"
	"reflect"
	"slices"
	"time"
	"unique"
)

// Tree is an object in a twin's document: its properties in the order of their
// names, and when it, or anything in it, was last written. It is never changed:
// a write makes another one, which shares with it all that it left alone. The
// nil Tree is an empty one.
type Tree struct {
	*stamp
	children []child
}

// child is a property. Its value is a *Tree, or what JSON decodes to; objects
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
	return &stamp{ticks: Ticks(updated), version: version}
}

func (s *stamp) updated() time.Time { return TimeOf(s.ticks) }

// Write is one write: the time and version that it leaves in the metadata, and
// the values that it shares with other twins.
type Write struct {
	*stamp
	common *Common
}

// NewWrite returns a write at a time. version is the $lastUpdatedVersion that it
// leaves, 0 for none.
func NewWrite(at time.Time, version int64, common *Common) Write {
	return Write{stamp: common.shareStamp(stamp{ticks: Ticks(at), version: version}), common: common}
}

// Merged returns the tree after a merge patch: objects merge, null deletes,
// anything else replaces. Equal values get the new stamp too.
func (t *Tree) Merged(patch map[string]any, w Write) *Tree {
	rest := t.properties()
	merged := newTree(w.stamp, max(len(rest), len(patch)))
	children := merged.children
	for _, name := range sortedNames(patch) {
		before, found := search(rest, name)
		children = append(children, rest[:before]...)
		next := child{stamp: w.stamp, value: w.common.share(patch[name])}
		var below *Tree // anything else gives way to an object
		if rest = rest[before:]; found {
			next.name = rest[0].name
			below = rest[0].inside()
			rest = rest[1:]
		} else {
			next.name = unique.Make(name)
		}
		if object, isObject := next.value.(map[string]any); isObject {
			next.value = below.Merged(object, w)
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
func newTree(at *stamp, room int) *Tree {
	switch {
	case room <= 1:
		var t struct {
			Tree
			room [1]child
		}
		return t.within(at, t.room[:0])
	case room == 2:
		var t struct {
			Tree
			room [2]child
		}
		return t.within(at, t.room[:0])
	case room <= 4:
		var t struct {
			Tree
			room [4]child
		}
		return t.within(at, t.room[:0])
	}
	return new(Tree).within(at, make([]child, 0, room))
}

// within makes t a tree whose properties go where there is room for them.
func (t *Tree) within(at *stamp, room []child) *Tree {
	t.stamp, t.children = at, room
	return t
}

func search(children []child, name string) (at int, found bool) {
	return slices.BinarySearchFunc(children, name, func(c child, name string) int { return cmp.Compare(c.name.Value(), name) })
}

func (t *Tree) properties() []child {
	if t == nil {
		return nil
	}
	return t.children
}

// Empty reports whether the tree has no properties.
func (t *Tree) Empty() bool { return len(t.properties()) == 0 }

// Names are the names of the tree's properties, in order.
func (t *Tree) Names() []string {
	properties := t.properties()
	names := make([]string, 0, len(properties))
	for i := range properties {
		names = append(names, properties[i].name.Value())
	}
	return names
}

// Has reports whether the tree has a property of that name.
func (t *Tree) Has(name string) bool { return t.child(name) != nil }

// Object returns the property of that name if it is an object, and an empty tree
// otherwise.
func (t *Tree) Object(name string) *Tree { return t.child(name).inside() }

// child returns nil when there is none of that name.
func (t *Tree) child(name string) *child {
	children := t.properties()
	if at, found := search(children, name); found {
		return &children[at]
	}
	return nil
}

// inside are the properties of a property that is an object; nil is no property.
func (c *child) inside() *Tree {
	if c == nil {
		return nil
	}
	object, _ := c.value.(*Tree) // anything else has nothing inside
	return object
}

// Equal compares values, whenever they were written.
func (t *Tree) Equal(other *Tree) bool {
	return slices.EqualFunc(t.properties(), other.properties(), func(a, b child) bool {
		if a.name != b.name {
			return false
		}
		object, isObject := a.value.(*Tree)
		beside, besideIsObject := b.value.(*Tree)
		if isObject && besideIsObject {
			return object.Equal(beside)
		}
		return reflect.DeepEqual(a.value, b.value)
	})
}

// Values is the tree as encoding/json would decode it.
func (t *Tree) Values() map[string]any {
	values := make(map[string]any, len(t.properties())+2) // with room for what a section adds
	for _, c := range t.properties() {
		values[c.name.Value()] = plain(c.value)
	}
	return values
}

// plain is a value as encoding/json would decode it.
func plain(value any) any {
	if object, isObject := value.(*Tree); isObject {
		return object.Values()
	}
	return value
}

// appendJSON is values as JSON.
func (t *Tree) appendJSON(text []byte) []byte {
	return append(t.appendProperties(append(text, '{')), '}')
}

func (t *Tree) appendProperties(text []byte) []byte {
	for _, c := range t.properties() {
		text = appendJSON(appendMember(text, c.name.Value()), c.value)
	}
	return text
}
