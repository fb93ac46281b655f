package store

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// Choices settle what IoT Hub does neither by its documents nor by any record.
// The zero value is what this hub does unless told otherwise.
type Choices struct {
	// RefuseStaleVersion refuses a write of a twin, with status 412, whose
	// desired properties bring a $version that is not the current one. The
	// version is ignored otherwise.
	RefuseStaleVersion bool
	// NullTags is what a twin's update means by "tags": null.
	NullTags twindoc.NullTags
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
func (c Choices) checkVersion(wanted twindoc.Change, current twindoc.Section) error {
	if !c.RefuseStaleVersion || wanted.Version == nil {
		return nil
	}
	if number, isNumber := wanted.Version.(json.Number); isNumber {
		if version, err := number.Int64(); err == nil && version == current.Version() {
			return nil
		}
	}
	return preconditionFailed("Desired properties version mismatch")
}

func (c Choices) checkTwinSizes(t twin) error {
	if t.tags.Size(c.ArraysAsText) > twindoc.MaxTagsSize {
		return c.oversize("Tags", twindoc.MaxTagsSize)
	}
	if t.desired.Root().Size(c.ArraysAsText) > twindoc.MaxPropertiesSize {
		return c.oversize("Properties.Desired", twindoc.MaxPropertiesSize)
	}
	return nil
}

func (c Choices) checkReportedSize(reported twindoc.Section) error {
	if reported.Root().Size(c.ArraysAsText) > twindoc.MaxPropertiesSize {
		return tooLarge("Properties.Reported", twindoc.MaxPropertiesSize)
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
