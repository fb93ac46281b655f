package fleet

import (
	"maps"

	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// Owned are the leaves of a declaration that its policies may ever write.
func Owned(declared twin.Document, policies twin.Policies) twin.Document {
	out := twin.Document{}
	for path, value := range declared.Leaves() {
		if policies.Of(path) != twin.Observe {
			out = put(out, path, value)
		}
	}
	return out
}

// Without is a declaration without what another one has: leaves at the same path, above or
// below it. It tells whether anything was left out.
func Without(declared, other twin.Document) (rest twin.Document, overlaps bool) {
	tags, inTags := without(declared.Tags, other.Tags)
	desired, inDesired := without(declared.Desired, other.Desired)
	return twin.Document{Tags: tags, Desired: desired}, inTags || inDesired
}

func without(declared, other map[string]any) (rest map[string]any, overlaps bool) {
	rest = declared
	for key, theirs := range other {
		ours, both := declared[key]
		if !both {
			continue
		}
		below, isObject := ours.(map[string]any)
		belowTheirs, isTheirs := theirs.(map[string]any)
		if isObject && isTheirs && len(below) > 0 && len(belowTheirs) > 0 {
			left, found := without(below, belowTheirs)
			if !found {
				continue
			}
			overlaps = true
			rest = replaced(rest, declared, key, left)
			continue
		}
		overlaps = true
		rest = replaced(rest, declared, key, nil)
	}
	return rest, overlaps
}

// replaced puts what is left at a key, in a copy of what was declared.
func replaced(rest, declared map[string]any, key string, left map[string]any) map[string]any {
	if len(rest) == len(declared) {
		rest = maps.Clone(rest)
	}
	if len(left) == 0 {
		delete(rest, key)
		return rest
	}
	rest[key] = left
	return rest
}

// put is a document with one more leaf.
func put(in twin.Document, path twin.Path, value any) twin.Document {
	root := &in.Tags
	if path.Section() == twin.Desired {
		root = &in.Desired
	}
	if *root == nil {
		*root = map[string]any{}
	}
	at := *root
	keys := path.Keys()
	for _, key := range keys[:len(keys)-1] {
		below, _ := at[key].(map[string]any)
		if below == nil {
			below = map[string]any{}
			at[key] = below
		}
		at = below
	}
	at[keys[len(keys)-1]] = value
	return in
}
