package hub

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
)

// ID names the twin of a device, or of one of its modules.
type ID struct {
	Device string
	// Module is empty for the device's own twin.
	Module string
}

// Compare orders ids by device, then by module.
func (id ID) Compare(other ID) int {
	return cmp.Or(strings.Compare(id.Device, other.Device), strings.Compare(id.Module, other.Module))
}

// String is the id as people write it: device, or device/module. No id contains a
// slash.
func (id ID) String() string {
	if id.Module == "" {
		return id.Device
	}
	return id.Device + "/" + id.Module
}

// describe says in a message what the id names.
func (id ID) describe() string {
	if id.Module == "" {
		return fmt.Sprintf("device %q", shortID(id.Device))
	}
	return fmt.Sprintf("module %q of device %q", shortID(id.Module), shortID(id.Device))
}

func shortID(id string) string {
	if len(id) <= maxIDLength {
		return id
	}
	return strings.ToValidUTF8(id[:maxIDLength], "") + "…"
}

// path is where the service API has the twin or the identity, decoded and encoded
// so that no character of an id can be read as anything else.
func (id ID) path(op operation) (decoded, encoded string) {
	collection := "/twins/"
	if op.onRegistry() {
		collection = "/devices/"
	}
	decoded, encoded = collection+id.Device, collection+escapeID(id.Device)
	if id.Module != "" {
		decoded, encoded = decoded+"/modules/"+id.Module, encoded+"/modules/"+escapeID(id.Module)
	}
	if op == opInvokeMethod {
		decoded, encoded = decoded+"/methods", encoded+"/methods"
	}
	return decoded, encoded
}

func escapeID(id string) string { return strings.ReplaceAll(url.QueryEscape(id), "+", "%20") }

// maxIDLength is the longest device or module id IoT Hub accepts.
const maxIDLength = 128

// check refuses the ids that no path of the service API can carry.
func (id ID) check() error {
	if err := checkID("device", id.Device); err != nil {
		return err
	}
	if id.Module == "" {
		return nil
	}
	return checkID("module", id.Module)
}

func checkID(kind, id string) error {
	switch {
	case id == "":
		return fmt.Errorf("the %s id is empty", kind)
	case len(id) > maxIDLength:
		return fmt.Errorf("the %s id is longer than %d characters", kind, maxIDLength)
	case id == "." || id == "..":
		return fmt.Errorf("the %s id %q means a directory in a path and cannot be addressed", kind, id)
	}
	return nil
}
