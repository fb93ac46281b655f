package reference

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Path is where a value is: a section (tags or desired), then keys. No key of a
// twin holds the separator.
type Path string

const separator = "\x00"

// At joins a section and keys.
func At(keys ...string) Path { return Path(strings.Join(keys, separator)) }

func (p Path) keys() []string { return strings.Split(string(p), separator) }

// String is for humans.
func (p Path) String() string { return strings.Join(p.keys(), ".") }

// below reports whether p is a proper descendant of other.
func (p Path) below(other Path) bool { return strings.HasPrefix(string(p), string(other)+separator) }

// within reports whether p is other or below it.
func (p Path) within(other Path) bool { return p == other || p.below(other) }

func (p Path) isSection() bool { return !strings.Contains(string(p), separator) }

func (p Path) parent() Path { return p[:strings.LastIndex(string(p), separator)] }

// Leaves are a document: scalars and arrays by path, in a spelling that is the same
// for equal values. An object shows only where it is empty.
type Leaves map[Path]string

// Empty is the spelling of an object without members.
const Empty = "{}"

// Parse reads one section. No text is an empty section.
func Parse(section string, text []byte) (Leaves, error) {
	out := Leaves{}
	if len(text) == 0 {
		return out, nil
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, fmt.Errorf("%s: %w", section, err)
	}
	return out, out.flatten(At(section), object)
}

func (l Leaves) flatten(at Path, object map[string]any) error {
	for key, value := range object {
		path := at + separator + Path(key)
		if below, ok := value.(map[string]any); ok && len(below) > 0 {
			if err := l.flatten(path, below); err != nil {
				return err
			}
			continue
		}
		spelled, err := json.Marshal(value) // numbers are float64 by now: 1.0 is spelled 1
		if err != nil {
			return err
		}
		l[path] = string(spelled)
	}
	return nil
}

// Join puts documents of different sections together.
func Join(parts ...Leaves) Leaves {
	out := Leaves{}
	for _, part := range parts {
		maps.Copy(out, part)
	}
	return out
}

// Section is one section as nested objects, ready to be encoded.
func (l Leaves) Section(name string) map[string]any {
	out := map[string]any{}
	for path, value := range l {
		keys := path.keys()
		if keys[0] != name {
			continue
		}
		object := out
		for _, key := range keys[1 : len(keys)-1] {
			below, ok := object[key].(map[string]any)
			if !ok {
				below = map[string]any{}
				object[key] = below
			}
			object = below
		}
		object[keys[len(keys)-1]] = json.RawMessage(value)
	}
	return out
}

// Paths are the leaves' paths in order.
func (l Leaves) Paths() []Path { return slices.Sorted(maps.Keys(l)) }

// Equal reports whether two documents hold the same.
func (l Leaves) Equal(other Leaves) bool { return maps.Equal(l, other) }

// String is for humans.
func (l Leaves) String() string {
	texts := make([]string, 0, len(l))
	for _, path := range l.Paths() {
		texts = append(texts, path.String()+"="+l[path])
	}
	return "{" + strings.Join(texts, ", ") + "}"
}

func (l Leaves) anyBelow(at Path) bool {
	for path := range l {
		if path.below(at) {
			return true
		}
	}
	return false
}

func (l Leaves) anyWithin(at Path) bool {
	_, ok := l[at]
	return ok || l.anyBelow(at)
}

// isObject reports whether there is an object at a path.
func (l Leaves) isObject(at Path) bool { return l[at] == Empty || l.anyBelow(at) }

// over finds the leaf, no object, that an object at or above a path would replace.
func (l Leaves) over(at Path) (Path, bool) {
	for ; !at.isSection(); at = at.parent() {
		if value, ok := l[at]; ok && value != Empty {
			return at, true
		}
	}
	return "", false
}

// set puts a value where whatever was there gives way to it.
func (l Leaves) set(at Path, value string) {
	if value == Empty && l.anyBelow(at) {
		return
	}
	maps.DeleteFunc(l, func(path Path, _ string) bool { return path.within(at) })
	for above := at.parent(); !above.isSection(); above = above.parent() {
		delete(l, above)
	}
	l[at] = value
}

// remove takes away a value or object; what it was the last member of stays as an
// empty object.
func (l Leaves) remove(at Path) {
	if !l.anyWithin(at) {
		return
	}
	maps.DeleteFunc(l, func(path Path, _ string) bool { return path.within(at) })
	if above := at.parent(); !above.isSection() && !l.anyWithin(above) {
		l[above] = Empty
	}
}

// Patch is a change of a document.
type Patch struct {
	Set    Leaves
	Delete []Path
}

// Nothing reports whether a patch changes nothing.
func (p Patch) Nothing() bool { return len(p.Set) == 0 && len(p.Delete) == 0 }

// String is for humans.
func (p Patch) String() string {
	text := p.Set.String()
	for _, path := range p.Delete {
		text += " -" + path.String()
	}
	return text
}

// Apply returns the document with a patch applied.
func (l Leaves) Apply(p Patch) Leaves {
	out := maps.Clone(l)
	for _, path := range p.Delete {
		out.remove(path)
	}
	for _, path := range p.Set.Paths() {
		out.set(path, p.Set[path])
	}
	return out
}

// Without is the document without a leaf, and without what it was the last member of.
func (l Leaves) Without(at Path) Leaves {
	out := maps.Clone(l)
	delete(out, at)
	return out
}
