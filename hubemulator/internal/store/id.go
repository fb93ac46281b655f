package store

import (
	"cmp"
	"maps"
	"slices"
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

// idsLocked lists a source in order. The result is shared and never changed.
func (s *Store) idsLocked(source Source) []ID {
	known, found := s.sorted[source]
	if found {
		return known
	}
	ids := []ID{}
	for deviceID, device := range s.devices {
		if source == Devices {
			ids = append(ids, ID{Device: deviceID})
			continue
		}
		for moduleID := range maps.Keys(device.modules) {
			ids = append(ids, ID{Device: deviceID, Module: moduleID})
		}
	}
	slices.SortFunc(ids, ID.Compare)
	s.sorted[source] = ids
	return ids
}

// forgetOrder is to be called after a device or module came or went.
func (s *Store) forgetOrder() {
	clear(s.sorted)
	clear(s.ordered)
}
