package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
)

// parseJSON decodes exactly one JSON value, keeping numbers as they are spelled.
func parseJSON(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return badFormat("The body is not the JSON that is expected: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badFormat("The body has text after its JSON value")
	}
	return nil
}

func parseObject(text []byte) (map[string]any, error) {
	var object map[string]any
	if err := parseJSON(text, &object); err != nil {
		return nil, err
	}
	if object == nil {
		return nil, badFormat("The body is null; it should be a JSON object")
	}
	return object, nil
}

// change is what a back end wants to write. A nil section is not part of it.
type change struct {
	tags    map[string]any
	desired map[string]any
	// clearTags and clearDesired say that all of a section is to go.
	clearTags, clearDesired bool
	// version is the $version that the desired properties came with, nil for
	// none.
	version any
}

// parseChange takes from a twin document what a back end may write: tags and
// desired properties. Everything else a full twin holds is ignored.
func (c Choices) parseChange(body []byte) (change, error) {
	document, err := parseObject(body)
	if err != nil {
		return change{}, err
	}
	return changeOf(document, c.NullTags)
}

func changeOf(document map[string]any, nullTags NullTags) (change, error) {
	var wanted change
	var err error
	if tags, present := document["tags"]; present && tags == nil && nullTags != RefuseNullTags {
		wanted.clearTags = nullTags == ClearNullTags
		document = maps.Clone(document)
		delete(document, "tags")
	}
	if wanted.tags, err = member(document, "tags"); err != nil {
		return change{}, err
	}
	if document["properties"] != nil {
		properties, err := member(document, "properties")
		if err != nil {
			return change{}, err
		}
		if desired, present := properties["desired"]; present && desired == nil {
			wanted.clearDesired = true
		} else if wanted.desired, err = member(properties, "desired"); err != nil {
			return change{}, err
		}
	}
	if wanted.desired != nil {
		// Clients send back what they read; the hub's own members are no content.
		wanted.desired = maps.Clone(wanted.desired)
		wanted.version = wanted.desired["$version"]
		delete(wanted.desired, "$metadata")
		delete(wanted.desired, "$version")
	}
	return wanted, nil
}

// against spells out what null for all desired properties comes to for a twin:
// null for each of them, which is also what its device is told.
func (c change) against(current twin) change {
	if c.clearDesired {
		properties := current.desired.root.properties()
		c.desired = make(map[string]any, len(properties))
		for _, property := range properties {
			c.desired[property.name.Value()] = nil
		}
	}
	return c
}

// isEmpty reports whether the change is none.
func (c change) isEmpty() bool {
	return c.tags == nil && c.desired == nil && !c.clearTags && !c.clearDesired
}

// member returns a document's object-valued member, or nil when there is none.
func member(document map[string]any, name string) (map[string]any, error) {
	value, present := document[name]
	if !present {
		return nil, nil
	}
	object, isObject := value.(map[string]any)
	if !isObject {
		return nil, invalidArgument("'%s' should be a JSON object", name)
	}
	return object, nil
}

func (c change) check() error {
	if err := checkContent(c.tags); err != nil {
		return err
	}
	return checkContent(c.desired)
}

func parseContent(body []byte) (map[string]any, error) {
	content, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	return content, checkContent(content)
}
