package store

// Snapshot is a twin as it was at one moment. It never builds more of the
// document than it is asked for.
type Snapshot struct {
	identity identity
	twin     twin
}

func (d *entry) snapshot() Snapshot { return Snapshot{identity: d.identity, twin: d.twin} }

// Document is the whole twin as the service API shows it. The caller may keep
// it but must not change it.
func (x *Snapshot) Document() map[string]any {
	return x.document().values()
}

// Etag is the twin's etag, without quotes.
func (x *Snapshot) Etag() string { return x.twin.etag() }

// AppendJSON appends the whole document as JSON.
func (x *Snapshot) AppendJSON(text []byte) []byte {
	return x.document().appendJSON(text)
}

// Property returns the value at a path of names from the top of the document,
// and whether there is one. The value must not be changed.
func (x *Snapshot) Property(path []string) (any, bool) {
	if len(path) == 0 {
		return x.Document(), true
	}
	switch path[0] {
	case "deviceId":
		return below(x.identity.id.Device, path[1:])
	case "etag":
		return below(x.twin.etag(), path[1:])
	case "status":
		return below(x.identity.status, path[1:])
	case "connectionState":
		return below(x.identity.connectionState(), path[1:])
	case "lastActivityTime":
		return below(formatTime(x.identity.lastActivity), path[1:])
	case "tags":
		if x.twin.tags.empty() {
			return nil, false
		}
		return below(x.twin.tags, path[1:])
	case "configurations":
		return x.twin.configurationProperty(path[1:])
	case "properties":
		if len(path) > 1 {
			return x.section(path[1], path[2:])
		}
	}
	return below(x.Document(), path)
}

func (x *Snapshot) section(name string, path []string) (any, bool) {
	switch name {
	case "desired":
		return x.twin.desired.property(path)
	case "reported":
		return x.twin.reported.property(path)
	}
	return nil, false
}

// below walks down from a value.
func below(value any, path []string) (any, bool) {
	for _, name := range path {
		switch object := value.(type) {
		case *tree:
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

// property is the part of document() at a path.
func (s section) property(path []string) (any, bool) {
	switch {
	case len(path) == 0:
		return s.document(), true
	case path[0] == "$version":
		return below(s.version, path[1:])
	case path[0] == "$metadata":
		return s.metadata().property(s.notes, path[1:])
	}
	return below(s.root, path)
}

// property is the part of metadata() at a path.
func (c *child) property(n *notes, path []string) (any, bool) {
	at := ""
	for i, name := range path {
		by, hasAuthor := n.author(at, c.stamp)
		switch {
		case name == "$lastUpdated":
			return below(formatTime(c.updated()), path[i+1:])
		case name == "$lastUpdatedVersion" && c.version != 0:
			return below(c.version, path[i+1:])
		case name == "$lastUpdatedBy" && hasAuthor:
			return below(by.Configuration, path[i+1:])
		case name == "$lastUpdatedByDigest" && hasAuthor:
			return below(by.Digest, path[i+1:])
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
