// Package count counts the calls an emulated hub received.
package count

import (
	"maps"
	"strconv"
	"sync"
)

// Operation counts one operation's calls and how they were answered.
type Operation struct {
	Calls    int64            `json:"calls"`
	Statuses map[string]int64 `json:"statuses"`
}

// Set holds the counters of one hub. The zero value is ready to use.
type Set struct {
	mu         sync.Mutex
	operations map[string]Operation
}

// Add counts one call that was answered with status. Status 0 stands for a
// call that was never answered.
func (s *Set) Add(operation string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.operations == nil {
		s.operations = make(map[string]Operation)
	}
	counted := s.operations[operation]
	if counted.Statuses == nil {
		counted.Statuses = make(map[string]int64)
	}
	counted.Calls++
	counted.Statuses[strconv.Itoa(status)]++
	s.operations[operation] = counted
}

// Snapshot returns a copy of all counters.
func (s *Set) Snapshot() map[string]Operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied := make(map[string]Operation, len(s.operations))
	for name, counted := range s.operations {
		counted.Statuses = maps.Clone(counted.Statuses)
		copied[name] = counted
	}
	return copied
}

// Reset sets every counter back to zero.
func (s *Set) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.operations = nil
}
