package twindoc

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// appendJSON appends a value of a document as JSON, with the names of each
// object in order. It writes what encoding/json does, HTML left alone, but
// without reflection, and knows sections besides.
func appendJSON(text []byte, value any) []byte {
	switch value := value.(type) {
	case string:
		return appendText(text, value)
	case json.Number:
		return append(text, value...)
	case bool:
		return strconv.AppendBool(text, value)
	case int:
		return strconv.AppendInt(text, int64(value), 10)
	case int64:
		return strconv.AppendInt(text, value, 10)
	case map[string]any:
		return appendMap(text, value)
	case []any:
		return appendArray(text, value)
	case Object:
		return value.AppendJSON(text)
	case Section:
		return value.appendJSON(text)
	case *Tree:
		return value.appendJSON(text)
	case time.Time:
		return append(appendTime(append(text, '"'), value), '"')
	case nil:
		return append(text, "null"...)
	}
	return appendAny(text, value)
}

// appendAny is for values that are rare.
func appendAny(text []byte, value any) []byte {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // what was decoded from JSON, and lists of names, always encode
	return append(text, bytes.TrimSuffix(encoded.Bytes(), []byte("\n"))...)
}

// appendText leaves to encoding/json what has to be escaped, or may have to.
func appendText(text []byte, value string) []byte {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendAny(text, value)
		}
	}
	text = append(text, '"')
	text = append(text, value...)
	return append(text, '"')
}

func appendMap(text []byte, values map[string]any) []byte {
	text = append(text, '{')
	for _, name := range sortedNames(values) {
		text = appendJSON(appendMember(text, name), values[name])
	}
	return append(text, '}')
}

// appendMember appends a member's name, and a comma unless it is the first.
func appendMember(text []byte, name string) []byte {
	if text[len(text)-1] != '{' {
		text = append(text, ',')
	}
	return append(appendText(text, name), ':')
}

func sortedNames[T any](values map[string]T) []string {
	if len(values) == 0 {
		return nil
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func appendArray(text []byte, array []any) []byte {
	text = append(text, '[')
	for i, element := range array {
		if i > 0 {
			text = append(text, ',')
		}
		text = appendJSON(text, element)
	}
	return append(text, ']')
}

// appendJSON is document as JSON. The hub's own members come where its
// documents show them, at the end.
func (s Section) appendJSON(text []byte) []byte {
	text = s.root.appendProperties(append(text, '{'))
	text = s.metadata().appendMetadata(appendMember(text, "$metadata"), s.notes)
	text = strconv.AppendInt(appendMember(text, "$version"), s.version, 10)
	return append(text, '}')
}
