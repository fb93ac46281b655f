package hub

import (
	"bytes"
	stdjson "encoding/json"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decode reads JSON of a hub's answer as encoding/json does, but for the names of members, which are exactly those
// declared. It takes half the time: a rollout decodes two twins for each device.
func decode(document []byte, into any) error { return json.Unmarshal(document, into, asEncodingJSON) }

// decodeFirst reads the first of several documents.
func decodeFirst(documents []byte, into any) error {
	return json.UnmarshalDecode(jsontext.NewDecoder(bytes.NewReader(documents), asEncodingJSON), into)
}

var asEncodingJSON = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// members are those of any object. Numbers are json.Number, as the hub spells them: it may be one that no float64 is.
type members map[string]any

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (m *members) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	*m = members{}
	return eachMember(from, func(name string) (err error) {
		(*m)[name], err = value(from)
		return err
	})
}

// section is a part of a twin, beside what IoT Hub keeps at its top. It has no members where it is null.
type section struct {
	members  members
	metadata jsontext.Value
	version  any
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *section) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	*s = section{members: members{}}
	return eachMember(from, func(name string) (err error) {
		switch name {
		case "$metadata":
			s.metadata, err = from.ReadValue()
			s.metadata = s.metadata.Clone()
		case "$version":
			s.version, err = value(from)
		default:
			s.members[name], err = value(from)
		}
		return err
	})
}

// properties are the section's own; empty rather than nil where there are none.
func (s *section) properties() map[string]any {
	if s.members == nil {
		return map[string]any{}
	}
	return s.members
}

// number is the section's $version, or 0 when it has none.
func (s *section) number() int64 {
	number, _ := s.version.(stdjson.Number)
	version, err := number.Int64()
	if err != nil {
		return 0
	}
	return version
}

var errNoObject = errors.New("it is no object")

// eachMember has the value of each member of the next object read; null has none.
func eachMember(from *jsontext.Decoder, read func(name string) error) error {
	begin, err := from.ReadToken()
	switch {
	case err != nil:
		return err
	case begin.Kind() == jsontext.KindNull:
		return nil
	case begin.Kind() != jsontext.KindBeginObject:
		return errNoObject
	}
	for from.PeekKind() != jsontext.KindEndObject {
		name, err := from.ReadToken()
		if err == nil {
			err = read(name.String())
		}
		if err != nil {
			return err
		}
	}
	_, err = from.ReadToken()
	return err
}

// value reads the next value.
func value(from *jsontext.Decoder) (any, error) {
	next := from.PeekKind()
	if next == jsontext.KindBeginObject {
		var object members
		err := object.UnmarshalJSONFrom(from)
		return map[string]any(object), err
	}
	if next == jsontext.KindBeginArray {
		return array(from)
	}
	if next == jsontext.KindNumber {
		number, err := from.ReadValue()
		return stdjson.Number(number), err
	}
	token, err := from.ReadToken()
	if err != nil || next == jsontext.KindNull {
		return nil, err
	}
	if next == jsontext.KindString {
		return token.String(), nil
	}
	return token.Bool(), nil
}

func array(from *jsontext.Decoder) ([]any, error) {
	if _, err := from.ReadToken(); err != nil {
		return nil, err
	}
	elements := []any{}
	for from.PeekKind() != jsontext.KindEndArray {
		element, err := value(from)
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
	}
	_, err := from.ReadToken()
	return elements, err
}
