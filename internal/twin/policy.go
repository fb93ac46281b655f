package twin

import "slices"

// Policy says what to do about a declared leaf that the hub does not hold.
type Policy string

const (
	// Enforce writes the declared value over any other.
	Enforce Policy = "Enforce"
	// Yield writes the declared value, and leaves the value that another writer
	// put there later. An edit of the declaration is written once, even over such a
	// value.
	Yield Policy = "Yield"
	// Initialize writes only where nothing is.
	Initialize Policy = "Initialize"
	// Observe never writes.
	Observe Policy = "Observe"
)

// PathPolicy sets the policy of everything at or below a path.
type PathPolicy struct {
	Path   Path
	Policy Policy
}

// Policies gives every leaf its policy: that of the longest path which leads to
// it, else the default. The zero value enforces everything.
type Policies struct {
	Default Policy
	Paths   []PathPolicy
}

// of is the policy of the leaf at a path.
func (ps Policies) of(leaf Path) Policy {
	found, length := ps.Default, -1
	for _, p := range ps.Paths {
		if len(p.Path.keys) > length && p.Path.leadsTo(leaf) {
			found, length = p.Policy, len(p.Path.keys)
		}
	}
	if found == "" {
		return Enforce
	}
	return found
}

// Write tells whether any leaf of a declaration may ever be written.
func (ps Policies) Write(declared Document) bool {
	for name, section := range map[Section]map[string]any{Tags: declared.Tags, Desired: declared.Desired} {
		if len(section) > 0 && ps.strongest(Path{section: name}, section) != Observe {
			return true
		}
	}
	return false
}

// strength orders policies by how much they want the declared value there.
var strength = []Policy{Observe, Initialize, Yield, Enforce}

// strongest is the strongest policy among the leaves of a declared value.
func (ps Policies) strongest(at Path, want any) Policy {
	found := Observe
	for leaf := range leaves(at, want) {
		if p := ps.of(leaf); slices.Index(strength, p) > slices.Index(strength, found) {
			found = p
		}
	}
	return found
}

// enforced is the same with what is observed enforced: it plans what observing
// keeps from being done.
func (ps Policies) enforced() Policies {
	out := Policies{Default: enforceObserved(ps.Default), Paths: slices.Clone(ps.Paths)}
	for i := range out.Paths {
		out.Paths[i].Policy = enforceObserved(out.Paths[i].Policy)
	}
	return out
}

func enforceObserved(p Policy) Policy {
	if p == Observe {
		return Enforce
	}
	return p
}
