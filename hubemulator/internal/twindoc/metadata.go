package twindoc

import "strconv"

// metadata is when the property at a path and what is inside were last written,
// as a twin's document shows it.
func (c *child) metadata(n *notes, path string) map[string]any {
	properties := c.inside().properties()
	document := make(map[string]any, len(properties)+2)
	if !n.isBare(path) {
		for i := range properties {
			name := properties[i].name.Value()
			document[name] = properties[i].metadata(n, n.below(path, name))
		}
	}
	document["$lastUpdated"] = FormatTime(c.updated())
	if c.version != 0 {
		document["$lastUpdatedVersion"] = c.version
	}
	if by, known := n.author(path, c.stamp); known {
		document["$lastUpdatedBy"], document["$lastUpdatedByDigest"] = by.Configuration, by.Digest
	}
	return document
}

// appendMetadata is metadata as JSON, the hub's own fields first.
func (c *child) appendMetadata(text []byte, n *notes) []byte {
	written := metadataText{text: text, notes: n}
	written.append(c, "")
	return written.text
}

// metadataText is metadata as JSON. Most of it is of one write: its fields are
// copied from where they are already.
type metadataText struct {
	text     []byte
	notes    *notes
	last     *stamp
	from, to int // its fields in the text
}

func (m *metadataText) append(c *child, path string) {
	m.text = append(m.text, '{')
	m.appendFields(c.stamp)
	if by, known := m.notes.author(path, c.stamp); known {
		m.text = appendText(appendMember(m.text, "$lastUpdatedBy"), by.Configuration)
		m.text = appendText(appendMember(m.text, "$lastUpdatedByDigest"), by.Digest)
	}
	var properties []child
	if !m.notes.isBare(path) {
		properties = c.inside().properties()
	}
	for i := range properties {
		name := properties[i].name.Value()
		m.text = appendMember(m.text, name)
		m.append(&properties[i], m.notes.below(path, name))
	}
	m.text = append(m.text, '}')
}

func (m *metadataText) appendFields(s *stamp) {
	if s == m.last {
		m.text = append(m.text, m.text[m.from:m.to]...)
		return
	}
	m.last, m.from = s, len(m.text)
	m.text = append(appendTime(append(m.text, `"$lastUpdated":"`...), s.updated()), '"')
	if s.version != 0 {
		m.text = strconv.AppendInt(append(m.text, `,"$lastUpdatedVersion":`...), s.version, 10)
	}
	m.to = len(m.text)
}
