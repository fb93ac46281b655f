package store

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// Choices settle what IoT Hub does neither by its documents nor by any record.
// The zero value is what this hub does unless told otherwise.
type Choices struct {
	// RefuseStaleVersion refuses a write of a twin, with status 412, whose
	// desired properties bring a $version that is not the current one. The
	// version is ignored otherwise.
	RefuseStaleVersion bool
	// NullTags is what a twin's update means by "tags": null.
	NullTags NullTags
	// UnquotedIfMatch is what a twin's update means by an etag without quotes.
	UnquotedIfMatch UnquotedIfMatch
	// OversizeTooLarge refuses tags and desired properties that are too large
	// with status 413, as too large a message, instead of with 403.
	OversizeTooLarge bool
	// ArraysAsText lets an array count towards a section's size as its JSON
	// text does, instead of as the sum of its elements.
	ArraysAsText bool
	// BareReplacements leaves out of the metadata of desired properties what is
	// inside an object that replaced another value.
	BareReplacements bool
}

// NullTags is what "tags": null means.
type NullTags int

const (
	// ClearNullTags deletes all tags, as null deletes a single one.
	ClearNullTags NullTags = iota
	// RefuseNullTags answers 400.
	RefuseNullTags
	// IgnoreNullTags takes the tags for left out.
	IgnoreNullTags
)

// UnquotedIfMatch is what an If-Match value without quotes means, unless it is
// the wildcard.
type UnquotedIfMatch int

const (
	// IgnoreUnquoted takes it for no condition at all.
	IgnoreUnquoted UnquotedIfMatch = iota
	// CompareUnquoted takes it for an etag.
	CompareUnquoted
	// RefuseUnquoted answers 400.
	RefuseUnquoted
)

// checkTwinEtag applies an If-Match value to a twin's etag. Some SDKs put
// quotes around the wildcard.
func (c Choices) checkTwinEtag(ifMatch string, current twin, deviceID string) error {
	value, quoted := unquote(ifMatch)
	switch {
	case ifMatch == "" || value == "*":
		return nil
	case !quoted && c.UnquotedIfMatch == IgnoreUnquoted:
		return nil
	case !quoted && c.UnquotedIfMatch == RefuseUnquoted:
		return invalidArgument("The If-Match header should be an etag in quotes, or *")
	case value != current.etag():
		// For a module's twin too, the hub names the device.
		return preconditionFailed("ETag mismatch for device ID '" + deviceID + "'")
	}
	return nil
}

func unquote(text string) (value string, quoted bool) {
	if len(text) >= 2 && strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`) {
		return text[1 : len(text)-1], true
	}
	return text, false
}

// checkVersion applies the $version that a change brings, if it brings one.
func (c Choices) checkVersion(wanted change, current section) error {
	if !c.RefuseStaleVersion || wanted.version == nil {
		return nil
	}
	if number, isNumber := wanted.version.(json.Number); isNumber {
		if version, err := number.Int64(); err == nil && version == current.version {
			return nil
		}
	}
	return preconditionFailed("Desired properties version mismatch")
}

func (c Choices) checkTwinSizes(t twin) error {
	if c.sizeOf(t.tags) > maxTagsSize {
		return c.oversize("Tags", maxTagsSize)
	}
	if c.sizeOf(t.desired.root) > maxPropertiesSize {
		return c.oversize("Properties.Desired", maxPropertiesSize)
	}
	return nil
}

func (c Choices) checkReportedSize(reported section) error {
	if c.sizeOf(reported.root) > maxPropertiesSize {
		return tooLarge("Properties.Reported", maxPropertiesSize)
	}
	return nil
}

// oversize is the refusal of what a back end writes; what a device writes is
// known to be refused with 403.
func (c Choices) oversize(section string, limit int) *Error {
	refusal := tooLarge(section, limit)
	if c.OversizeTooLarge {
		refusal.Status, refusal.Number, refusal.Code = http.StatusRequestEntityTooLarge, 413001, "MessageTooLarge"
	}
	return refusal
}

// sizeOf counts like the hub does: characters of keys and strings without
// control characters, 8 for a number, 4 for a boolean, containers by their
// content.
func (c Choices) sizeOf(value any) int {
	size := 0
	switch value := value.(type) {
	case string:
		size = sizeOfText(value)
	case json.Number:
		size = 8
	case bool:
		size = 4
	case *tree:
		for _, property := range value.properties() {
			size += sizeOfText(property.name.Value()) + c.sizeOf(property.value)
		}
	case map[string]any:
		for key, child := range value {
			size += sizeOfText(key) + c.sizeOf(child)
		}
	case []any:
		if c.ArraysAsText {
			return lengthAsText(value)
		}
		for _, element := range value {
			size += c.sizeOf(element)
		}
	}
	return size
}

// lengthAsText is how many bytes of JSON an array is.
func lengthAsText(array []any) int {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(array) // what was decoded from JSON always encodes
	return text.Len() - len("\n")
}
