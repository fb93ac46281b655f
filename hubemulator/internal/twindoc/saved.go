package twindoc

import (
	"errors"
	"time"
	"unique"
)

// SavedSection is a section as a file keeps it.
type SavedSection struct {
	Values  map[string]any `json:"values"`
	Meta    *savedMeta     `json:"meta"`
	Version int64          `json:"version"`
	// Authors are the configurations that wrote leaves, and Bare the objects
	// without metadata of what is inside, both by path.
	Authors map[string]Author `json:"authors,omitempty"`
	Bare    map[string]bool   `json:"bare,omitempty"`
}

// savedMeta has short names: there is one for every property.
type savedMeta struct {
	Updated  time.Time             `json:"t,omitzero"`
	Version  int64                 `json:"v,omitempty"`
	Children map[string]*savedMeta `json:"c,omitempty"`
}

// Saved is the section as a file keeps it.
func (s Section) Saved() SavedSection {
	root := child{value: s.root, stamp: s.root.stamp}
	saved := SavedSection{Values: s.root.Values(), Meta: root.saved(), Version: s.version}
	if s.notes != nil {
		saved.Authors, saved.Bare = s.notes.authors, s.notes.bare
	}
	return saved
}

func (c *child) saved() *savedMeta {
	saved := &savedMeta{Updated: c.updated(), Version: c.version}
	if properties := c.inside().properties(); len(properties) > 0 {
		saved.Children = make(map[string]*savedMeta, len(properties))
		for i := range properties {
			saved.Children[properties[i].name.Value()] = properties[i].saved()
		}
	}
	return saved
}

// Section is the section that was saved.
func (saved SavedSection) Section(common *Common) (Section, error) {
	root, err := saved.Meta.tree(saved.Values, Write{newStamp(time.Time{}, 0), common})
	return Section{root: root, version: saved.Version}.noted(saved.Authors, saved.Bare), err
}

var errNotMirrored = errors.New("the metadata is not that of the twin's properties")

// tree makes an object of its values, with their metadata.
func (saved *savedMeta) tree(values map[string]any, above Write) (*Tree, error) {
	t := &Tree{stamp: saved.stamp(above.stamp)}
	if len(saved.children()) != len(values) {
		return nil, errNotMirrored
	}
	for _, name := range sortedNames(values) {
		meta, known := saved.Children[name]
		if !known {
			return nil, errNotMirrored
		}
		next := child{name: unique.Make(name), value: above.common.share(values[name])}
		if object, isObject := next.value.(map[string]any); isObject {
			inside, err := meta.tree(object, Write{t.stamp, above.common})
			if err != nil {
				return nil, err
			}
			next.value, next.stamp = inside, inside.stamp
		} else if next.stamp = meta.stamp(t.stamp); len(meta.children()) > 0 {
			return nil, errNotMirrored
		}
		t.children = append(t.children, next)
	}
	return t, nil
}

// stamp shares that of what is above where it is the same.
func (saved *savedMeta) stamp(above *stamp) *stamp {
	if saved == nil || Ticks(saved.Updated) == above.ticks && saved.Version == above.version {
		return above
	}
	return newStamp(saved.Updated, saved.Version)
}

func (saved *savedMeta) children() map[string]*savedMeta {
	if saved == nil {
		return nil
	}
	return saved.Children
}
