package twin

import (
	"iter"
	"slices"
)

// Leaves walks the leaves of a document in the order of their paths, tags first: scalars,
// arrays, and objects that are empty.
func (d Document) Leaves() iter.Seq2[Path, any] {
	return func(yield func(Path, any) bool) {
		if len(d.Tags) > 0 && !walkLeaves(Path{section: Tags}, d.Tags, yield) {
			return
		}
		if len(d.Desired) > 0 {
			walkLeaves(Path{section: Desired}, d.Desired, yield)
		}
	}
}

// At is what stands at a path, a leaf or an object, if anything does.
func (d Document) At(path Path) (value any, found bool) { return d.at(path) }

// Section is the part of the twin that the path leads into.
func (p Path) Section() Section { return p.section }

// Keys are the keys below the section.
func (p Path) Keys() []string { return slices.Clone(p.keys) }

// EqualValues tells whether two JSON values are the same, numbers by value.
func EqualValues(a, b any) bool { return equalValues(a, b) }

// Of is the policy of the leaf at a path.
func (ps Policies) Of(leaf Path) Policy { return ps.of(leaf) }
