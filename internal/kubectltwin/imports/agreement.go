package imports

import (
	"fmt"
	"maps"
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// agreement finds the leaves that all twins hold alike, without keeping the twins.
type agreement struct {
	twins  int32
	first  string
	leaves map[string]*agreedLeaf
}

// agreedLeaf is a leaf that some twin holds.
type agreedLeaf struct {
	path  twin.Path
	value any
	// holder holds that value. other does not, if there is such a twin: it has another value, or lacks the leaf.
	holder, other string
	lacks         bool
}

func newAgreement() *agreement { return &agreement{leaves: map[string]*agreedLeaf{}} }

// add takes one more twin into account.
func (a *agreement) add(device string, held twin.Document) {
	has := map[string]bool{}
	for path, value := range held.Leaves() {
		key := path.String()
		has[key] = true
		leaf := a.leaves[key]
		switch {
		case leaf == nil:
			a.leaves[key] = &agreedLeaf{path: path, value: value, holder: device, other: a.first, lacks: a.twins > 0}
		case leaf.other == "" && !twin.EqualValues(leaf.value, value):
			leaf.other = device
		}
	}
	for key, leaf := range a.leaves {
		if leaf.other == "" && !has[key] {
			leaf.other, leaf.lacks = device, true
		}
	}
	if a.twins++; a.twins == 1 {
		a.first = device
	}
}

// all are the leaves in the order of their paths.
func (a *agreement) all() []*agreedLeaf {
	leaves := make([]*agreedLeaf, 0, len(a.leaves))
	for _, key := range slices.Sorted(maps.Keys(a.leaves)) {
		leaves = append(leaves, a.leaves[key])
	}
	return leaves
}

// differs tells whether some twin holds the leaf at a path in another way than others.
func (a *agreement) differs(path twin.Path) bool { return a.leaves[path.String()].other != "" }

// why says in which twins the leaf is not the same.
func (l *agreedLeaf) why() string {
	if l.lacks {
		return fmt.Sprintf("%s holds it, %s does not", l.holder, l.other)
	}
	return fmt.Sprintf("%s and %s differ", l.holder, l.other)
}

// chosen is what of a document a function chooses, leaf by leaf.
func chosen(held twin.Document, choose func(twin.Path) bool) twin.Document {
	var out twin.Document
	for path, value := range held.Leaves() {
		if choose(path) {
			put(&out, path, value)
		}
	}
	return out
}

// put adds a leaf to a document.
func put(to *twin.Document, path twin.Path, value any) {
	root := &to.Tags
	if path.Section() == twin.Desired {
		root = &to.Desired
	}
	if *root == nil {
		*root = map[string]any{}
	}
	at, keys := *root, path.Keys()
	for _, key := range keys[:len(keys)-1] {
		below, ok := at[key].(map[string]any)
		if !ok {
			below = map[string]any{}
			at[key] = below
		}
		at = below
	}
	at[keys[len(keys)-1]] = value
}
