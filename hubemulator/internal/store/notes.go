package store

import (
	"maps"
	"strconv"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/configuration"
)

// notes are what a section's metadata has beyond the stamps in its tree, by the
// path of a property: its names joined with dots, which no name has. They are
// rare, are kept beside the tree for that, and are never changed in place. The
// nil notes say nothing.
type notes struct {
	// authors are the configurations that wrote leaves.
	authors map[string]author
	// bare are the objects whose metadata has nothing of what is inside them.
	bare map[string]bool
}

// author is a configuration that wrote a leaf, which has the version of that
// write until another writer comes.
type author struct {
	Version       int64  `json:"version"`
	Configuration string `json:"configuration"`
	Digest        string `json:"digest"`
}

// authorOf names a configuration as metadata does. The digest of those that
// were seen is a time before they were applied, in ticks; here it is that of the
// creation, since their content never changes afterwards.
func authorOf(c configuration.Configuration) author {
	return author{Configuration: c.ID, Digest: strconv.FormatInt(ticksOf(c.Created), 10)}
}

// author is the configuration that wrote the leaf at a path as it is now.
func (n *notes) author(path string, leaf *stamp) (author, bool) {
	if n == nil {
		return author{}, false
	}
	found, known := n.authors[path]
	return found, known && found.Version == leaf.version
}

func (n *notes) isBare(path string) bool { return n != nil && n.bare[path] }

// below is the path of a property inside the one at a path.
func (n *notes) below(path, name string) string {
	if n == nil || path == "" {
		return name // without notes, paths do not matter
	}
	return path + "." + name
}

// writtenBy notes who wrote the leaves of the section's current version.
func (s section) writtenBy(authors map[string]author) section {
	kept := map[string]author{}
	s.eachLeaf(func(path string, leaf *child) {
		if by, known := authors[path]; known && leaf.version == s.version {
			by.Version = s.version
			kept[path] = by
		} else if by, known := s.notes.author(path, leaf.stamp); known {
			kept[path] = by
		}
	})
	var bare map[string]bool
	if s.notes != nil {
		bare = s.notes.bare
	}
	return s.noted(kept, bare)
}

func (s section) noted(authors map[string]author, bare map[string]bool) section {
	s.notes = nil
	if len(authors) > 0 || len(bare) > 0 {
		s.notes = &notes{authors: authors, bare: bare}
	}
	return s
}

// baredSince notes the objects that replaced another value than an object since
// the section was what before is, and forgets those that are none any more.
func (s section) baredSince(before section) section {
	bare := map[string]bool{}
	var authors map[string]author
	if s.notes != nil {
		maps.Copy(bare, s.notes.bare)
		authors = s.notes.authors
	}
	for path := range bare {
		if !s.hasObject(path) {
			delete(bare, path)
		}
	}
	compareObjects("", before.root, s.root, func(path string) { bare[path] = true })
	return s.noted(authors, bare)
}

// compareObjects visits the objects of after where before has another value.
func compareObjects(path string, before, after *tree, visit func(string)) {
	properties := after.properties()
	for i := range properties {
		inside := properties[i].inside()
		was := before.child(properties[i].name.Value())
		if inside == nil || was == nil {
			continue
		}
		at := (&notes{}).below(path, properties[i].name.Value())
		if was.inside() == nil {
			visit(at)
			continue
		}
		compareObjects(at, was.inside(), inside, visit)
	}
}

// eachLeaf visits what has nothing inside.
func (s section) eachLeaf(visit func(path string, leaf *child)) {
	var walk func(path string, t *tree)
	walk = func(path string, t *tree) {
		properties := t.properties()
		for i := range properties {
			at := (&notes{}).below(path, properties[i].name.Value())
			if inside := properties[i].inside(); !inside.empty() {
				walk(at, inside)
				continue
			}
			visit(at, &properties[i])
		}
	}
	walk("", s.root)
}

func (s section) hasObject(path string) bool {
	value, found := below(s.root, strings.Split(path, "."))
	_, isObject := value.(map[string]any)
	return found && isObject
}
