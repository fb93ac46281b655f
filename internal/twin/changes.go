package twin

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// Change is what a patch does to one leaf. Nil stands for no value: a twin holds no null.
type Change struct {
	Path          Path
	Before, After any
}

// Changes are what a patch does to what a hub held, in the order of the paths, tags first.
// An object that is deleted is told leaf by leaf; a leaf that an object replaces, and an
// object that a leaf replaces, as one change at the path that they share.
func Changes(held, patch Document) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		if changes(Path{section: Tags}, asAny(held.Tags), asAny(patch.Tags), yield) {
			changes(Path{section: Desired}, asAny(held.Desired), asAny(patch.Desired), yield)
		}
	}
}

// asAny keeps a section that is not there from becoming an object that is deleted.
func asAny(section map[string]any) any {
	if section == nil {
		return map[string]any{}
	}
	return section
}

func changes(at Path, held, patch any, yield func(Change) bool) bool {
	below, isObject := asObject(held)
	members, isPatch := asObject(patch)
	switch {
	case isPatch && (isObject || held == nil) && len(members) > 0:
		return changesBelow(at, below, members, yield)
	case patch == nil && isObject:
		return walkLeaves(at, held, func(leaf Path, value any) bool { return yield(Change{Path: leaf, Before: value}) })
	case patch == nil && held == nil, isPatch && isObject:
		return true // an empty patch, or nothing to delete
	case isPatch:
		patch = merge(nil, members)
	}
	return yield(Change{Path: at, Before: held, After: patch})
}

func changesBelow(at Path, held, patch map[string]any, yield func(Change) bool) bool {
	for _, key := range slices.Sorted(maps.Keys(patch)) {
		if !changes(at.child(key), held[key], patch[key], yield) {
			return false
		}
	}
	return true
}

// Dotted is the whole path as ParsePath reads it, however long its keys are. No key of a
// legal twin holds a dot.
func (p Path) Dotted() string {
	return strings.Join(append([]string{string(p.section)}, p.keys...), ".")
}
