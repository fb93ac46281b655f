package store

import (
	"cmp"
	"strings"
)

// ID names a device, or one of its modules.
type ID struct {
	Device string
	// Module is empty for the device itself.
	Module string
}

// Compare orders ids by device, then by module: the order that lists and
// queries are answered in.
func (id ID) Compare(other ID) int {
	return cmp.Or(strings.Compare(id.Device, other.Device), strings.Compare(id.Module, other.Module))
}

// Source is what a query ranges over.
type Source string

// The sources of twins.
const (
	Devices Source = "devices"
	Modules Source = "devices.modules"
)

func (id ID) source() Source {
	if id.Module != "" {
		return Modules
	}
	return Devices
}
