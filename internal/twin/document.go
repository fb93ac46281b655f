package twin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Section names a part of a twin that a back end may write.
type Section string

const (
	// Tags are seen by back ends only.
	Tags Section = "tags"
	// Desired are the desired properties, which the device is sent.
	Desired Section = "desired"
)

// Document is the writable part of a twin, or a patch for it: then a nil section
// is not touched, and a nil member deletes. Numbers are json.Number or float64.
type Document struct {
	Tags    map[string]any
	Desired map[string]any
}

// Empty tells whether a patch would change nothing.
func (d Document) Empty() bool { return len(d.Tags) == 0 && len(d.Desired) == 0 }

// at is what stands at a path, a leaf or an object, if anything does.
func (d Document) at(path Path) (value any, found bool) {
	value = d.Tags
	if path.section == Desired {
		value = d.Desired
	}
	for _, key := range path.keys {
		object, _ := asObject(value)
		below, ok := object[key]
		if !ok {
			return nil, false
		}
		value = below
	}
	return value, true
}

// declares tells whether the document has a leaf at a path.
func (d Document) declares(at Path) bool {
	value, found := d.at(at)
	object, isObject := asObject(value)
	return found && (!isObject || len(object) == 0)
}

// ParseSection decodes one declared section, keeping numbers as they were
// written. No bytes at all, or a JSON null, is an empty section.
func ParseSection(raw []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return map[string]any{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var section map[string]any
	if err := dec.Decode(&section); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	if section == nil {
		section = map[string]any{}
	}
	return section, nil
}

// Apply returns what the hub holds after a merge patch, leaving base as it is:
// objects merge, nil deletes, everything else replaces.
func Apply(base, patch Document) Document {
	return Document{Tags: merge(base.Tags, patch.Tags), Desired: merge(base.Desired, patch.Desired)}
}

func merge(base, patch map[string]any) map[string]any {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]any{}
	}
	for key, change := range patch {
		switch change := change.(type) {
		case nil:
			delete(out, key)
		case map[string]any:
			below, _ := out[key].(map[string]any)
			out[key] = merge(below, change)
		default:
			out[key] = change
		}
	}
	return out
}

// Equal tells whether two documents hold the same leaves, numbers by value.
func Equal(a, b Document) bool {
	return equalObjects(a.Tags, b.Tags) && equalObjects(a.Desired, b.Desired)
}

// EqualBeside tells whether two documents hold the same leaves but for those that a
// patch writes or deletes.
func EqualBeside(a, b, patch Document) bool {
	return Equal(a.without(patch), b.without(patch))
}

func (d Document) without(patch Document) Document {
	return Document{Tags: without(d.Tags, patch.Tags), Desired: without(d.Desired, patch.Desired)}
}

// without leaves out what a patch writes, and the objects that are empty then: a patch
// may have made them.
func without(object, patch map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range object {
		change, written := patch[key]
		if !written {
			out[key] = value
			continue
		}
		below, isObject := asObject(value)
		changes, changesBelow := asObject(change)
		if !isObject || !changesBelow {
			continue
		}
		if rest := without(below, changes); len(rest) > 0 {
			out[key] = rest
		}
	}
	return out
}

// Shared are the declared leaves that the hub holds with the declared values, but for
// those that the policies only observe.
func Shared(declared, observed Document, policies Policies) Paths {
	var shared Paths
	for _, section := range []struct {
		name   Section
		leaves map[string]any
	}{{Tags, declared.Tags}, {Desired, declared.Desired}} {
		if len(section.leaves) == 0 {
			continue
		}
		for path, want := range leaves(Path{section: section.name}, section.leaves) {
			held, found := observed.at(path)
			if found && equalValues(want, held) && policies.of(path) != Observe {
				shared = append(shared, path)
			}
		}
	}
	return shared
}

func equalObjects(a, b map[string]any) bool {
	return maps.EqualFunc(a, b, equalValues)
}

func equalValues(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && equalObjects(a, b)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equalValues)
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

// number reads any JSON number. IoT Hub takes no integer beyond 2^52, which a
// float64 holds exactly, and the Kubernetes API server stores every other number
// as a float64 as well: comparing as float64 loses nothing.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	}
	return 0, false
}

func asObject(v any) (map[string]any, bool) {
	object, ok := v.(map[string]any)
	return object, ok
}
