package store

import (
	"maps"
	"slices"
)

// ModulesOf returns the identities of a device's modules, in the order of
// their ids.
func (s *Store) ModulesOf(deviceID string) ([]map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.enabled(ID{Device: deviceID}) {
		return nil, Unauthorized()
	}
	modules := s.devices[deviceID].modules
	documents := make([]map[string]any, 0, len(modules))
	for _, id := range slices.Sorted(maps.Keys(modules)) {
		documents = append(documents, modules[id].identity.view().Document)
	}
	return documents, nil
}

// Statistics counts devices, not modules.
type Statistics struct{ Enabled, Disabled, Connected int }

// Statistics returns the counts of this moment.
func (s *Store) Statistics() Statistics {
	s.mu.Lock()
	defer s.mu.Unlock()
	var counted Statistics
	for _, device := range s.devices {
		if device.identity.status == statusEnabled {
			counted.Enabled++
		} else {
			counted.Disabled++
		}
		if device.identity.connected {
			counted.Connected++
		}
	}
	return counted
}
