package twindoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
)

// ParseJSON decodes exactly one JSON value, keeping numbers as they are spelled.
// Its errors are of type *Error.
func ParseJSON(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return malformed("The body is not the JSON that is expected: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return malformed("The body has text after its JSON value")
	}
	return nil
}

func parseObject(text []byte) (map[string]any, error) {
	var object map[string]any
	if err := ParseJSON(text, &object); err != nil {
		return nil, err
	}
	if object == nil {
		return nil, malformed("The body is null; it should be a JSON object")
	}
	return object, nil
}

// NullTags is what "tags": null means.
type NullTags int

const (
	// ClearNullTags deletes all tags, as null deletes a single one.
	ClearNullTags NullTags = iota
	// RefuseNullTags makes it an error.
	RefuseNullTags
	// IgnoreNullTags takes the tags for left out.
	IgnoreNullTags
)

// Change is what a back end wants to write. A nil section is not part of it.
type Change struct {
	Tags    map[string]any
	Desired map[string]any
	// ClearTags and ClearDesired say that all of a section is to go.
	ClearTags, ClearDesired bool
	// Version is the $version that the desired properties came with, nil for
	// none.
	Version any
}

// ParseChange takes from a twin document what a back end may write: tags and
// desired properties. Everything else a full twin holds is ignored. Its errors
// are of type *Error.
func ParseChange(body []byte, nullTags NullTags) (Change, error) {
	document, err := parseObject(body)
	if err != nil {
		return Change{}, err
	}
	return ChangeOf(document, nullTags)
}

// ChangeOf is ParseChange for a document that was decoded already. It does not
// change the document.
func ChangeOf(document map[string]any, nullTags NullTags) (Change, error) {
	var wanted Change
	var err error
	if tags, present := document["tags"]; present && tags == nil && nullTags != RefuseNullTags {
		wanted.ClearTags = nullTags == ClearNullTags
		document = maps.Clone(document)
		delete(document, "tags")
	}
	if wanted.Tags, err = member(document, "tags"); err != nil {
		return Change{}, err
	}
	if document["properties"] != nil {
		properties, err := member(document, "properties")
		if err != nil {
			return Change{}, err
		}
		if desired, present := properties["desired"]; present && desired == nil {
			wanted.ClearDesired = true
		} else if wanted.Desired, err = member(properties, "desired"); err != nil {
			return Change{}, err
		}
	}
	if wanted.Desired != nil {
		// Clients send back what they read; the hub's own members are no content.
		wanted.Desired = maps.Clone(wanted.Desired)
		wanted.Version = wanted.Desired["$version"]
		delete(wanted.Desired, "$metadata")
		delete(wanted.Desired, "$version")
	}
	return wanted, nil
}

// Against spells out what null for all desired properties comes to for a twin:
// null for each of them, which is also what its device is told.
func (c Change) Against(desired Section) Change {
	if c.ClearDesired {
		names := desired.root.Names()
		c.Desired = make(map[string]any, len(names))
		for _, name := range names {
			c.Desired[name] = nil
		}
	}
	return c
}

// IsEmpty reports whether the change is none.
func (c Change) IsEmpty() bool {
	return c.Tags == nil && c.Desired == nil && !c.ClearTags && !c.ClearDesired
}

// member returns a document's object-valued member, or nil when there is none.
func member(document map[string]any, name string) (map[string]any, error) {
	value, present := document[name]
	if !present {
		return nil, nil
	}
	object, isObject := value.(map[string]any)
	if !isObject {
		return nil, invalid("'%s' should be a JSON object", name)
	}
	return object, nil
}

// Check applies the rules on content to the change. Its errors are of type *Error.
func (c Change) Check() error {
	if err := CheckContent(c.Tags); err != nil {
		return err
	}
	return CheckContent(c.Desired)
}

// ParseContent reads a JSON object that is to be merged into a section, and
// applies the rules on content to it. Its errors are of type *Error.
func ParseContent(body []byte) (map[string]any, error) {
	content, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	return content, CheckContent(content)
}
