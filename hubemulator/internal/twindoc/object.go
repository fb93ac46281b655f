package twindoc

import "time"

// Object is a JSON object whose fields are in the order that the hub writes
// them in. Sections, trees and times may be among the values, at any depth.
type Object []field

type field struct {
	name  string
	value any
}

// With returns the object with a field after those that it has. Like append, it
// may use the memory of the object that it is called on.
func (o Object) With(name string, value any) Object { return append(o, field{name, value}) }

// Values is the object as encoding/json would decode it, sections included.
func (o Object) Values() map[string]any {
	values := make(map[string]any, len(o))
	for _, m := range o {
		switch value := m.value.(type) {
		case Object:
			values[m.name] = value.Values()
		case Section:
			values[m.name] = value.document()
		case time.Time:
			values[m.name] = FormatTime(value)
		default:
			values[m.name] = plain(value)
		}
	}
	return values
}

// AppendJSON appends the object as JSON.
func (o Object) AppendJSON(text []byte) []byte {
	text = append(text, '{')
	for _, m := range o {
		text = appendJSON(appendMember(text, m.name), m.value)
	}
	return append(text, '}')
}
