package twindoc

import (
	"maps"
	"strings"
)

// notes are what a section's metadata has beyond the stamps in its tree, by the
// path of a property: its names joined with dots, which no name has. They are
// rare, are kept beside the tree for that, and are never changed in place. The
// nil notes say nothing.
type notes struct {
	// authors are the configurations that wrote leaves.
	authors map[string]Author
	// bare are the objects whose metadata has nothing of what is inside them.
	bare map[string]bool
}

// Author is a configuration that wrote a leaf, which has the version of that
// write until another writer comes.
type Author struct {
	Version       int64  `json:"version"`
	Configuration string `json:"configuration"`
	Digest        string `json:"digest"`
}

// author is the configuration that wrote the leaf at a path as it is now.
func (n *notes) author(path string, leaf *stamp) (Author, bool) {
	if n == nil {
		return Author{}, false
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

// WrittenBy notes who wrote the leaves of the section's current version.
func (s Section) WrittenBy(authors map[string]Author) Section {
	kept := map[string]Author{}
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

func (s Section) noted(authors map[string]Author, bare map[string]bool) Section {
	s.notes = nil
	if len(authors) > 0 || len(bare) > 0 {
		s.notes = &notes{authors: authors, bare: bare}
	}
	return s
}

// BaredSince notes the objects that replaced another value than an object since
// the section was what before is, and forgets those that are none any more.
func (s Section) BaredSince(before Section) Section {
	bare := map[string]bool{}
	var authors map[string]Author
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
func compareObjects(path string, before, after *Tree, visit func(string)) {
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
func (s Section) eachLeaf(visit func(path string, leaf *child)) {
	var walk func(path string, t *Tree)
	walk = func(path string, t *Tree) {
		properties := t.properties()
		for i := range properties {
			at := (&notes{}).below(path, properties[i].name.Value())
			if inside := properties[i].inside(); !inside.Empty() {
				walk(at, inside)
				continue
			}
			visit(at, &properties[i])
		}
	}
	walk("", s.root)
}

func (s Section) hasObject(path string) bool {
	value, found := Below(s.root, strings.Split(path, "."))
	_, isObject := value.(map[string]any)
	return found && isObject
}
