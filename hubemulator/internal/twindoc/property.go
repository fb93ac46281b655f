package twindoc

// Below walks down from a value of a document along a path of names, and reports
// whether there is a value.
func Below(value any, path []string) (any, bool) {
	for _, name := range path {
		switch object := value.(type) {
		case *Tree:
			c := object.child(name)
			if c == nil {
				return nil, false
			}
			value = c.value
		case map[string]any:
			deeper, present := object[name]
			if !present {
				return nil, false
			}
			value = deeper
		default:
			return nil, false
		}
	}
	return plain(value), true
}

// Property is the part of the section's document at a path, and whether there is
// one. It builds no more of the document than that.
func (s Section) Property(path []string) (any, bool) {
	switch {
	case len(path) == 0:
		return s.document(), true
	case path[0] == "$version":
		return Below(s.version, path[1:])
	case path[0] == "$metadata":
		return s.metadata().property(s.notes, path[1:])
	}
	return Below(s.root, path)
}

// property is the part of metadata() at a path.
func (c *child) property(n *notes, path []string) (any, bool) {
	at := ""
	for i, name := range path {
		by, hasAuthor := n.author(at, c.stamp)
		switch {
		case name == "$lastUpdated":
			return Below(FormatTime(c.updated()), path[i+1:])
		case name == "$lastUpdatedVersion" && c.version != 0:
			return Below(c.version, path[i+1:])
		case name == "$lastUpdatedBy" && hasAuthor:
			return Below(by.Configuration, path[i+1:])
		case name == "$lastUpdatedByDigest" && hasAuthor:
			return Below(by.Digest, path[i+1:])
		}
		if n.isBare(at) {
			return nil, false
		}
		if c = c.inside().child(name); c == nil {
			return nil, false
		}
		at = n.below(at, name)
	}
	return c.metadata(n, at), true
}
