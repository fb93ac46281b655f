// Package count counts the calls an emulated hub received.
package count

import (
	"strconv"
	"sync"
)

// Operation counts one operation's calls and how they were answered.
type Operation struct {
	Calls    int64            `json:"calls"`
	Statuses map[string]int64 `json:"statuses"`
	// BilledMessages is what the calls cost of the hub's daily quota.
	BilledMessages int64 `json:"billedMessages"`
	// PeakConcurrency is the most calls that were worked on at the same time.
	PeakConcurrency int64 `json:"peakConcurrency"`
}

// Set holds the counters of one hub. The zero value is ready to use.
type Set struct {
	mu         sync.Mutex
	operations map[string]*counted
}

type counted struct {
	calls, billed  int64
	statuses       map[int]int64
	inFlight, peak int64
}

// Call is one call that is being worked on.
type Call struct {
	set       *Set
	operation string
}

// Begin notes that a call has begun. End must be called exactly once.
func (s *Set) Begin(operation string) Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry := s.entry(operation)
	entry.inFlight++
	entry.peak = max(entry.peak, entry.inFlight)
	return Call{set: s, operation: operation}
}

// End counts the call, which was answered with status. Status 0 stands for a
// call that was never answered.
func (c Call) End(status int) {
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	entry := c.set.entry(c.operation)
	entry.inFlight--
	entry.add(status)
}

// Cancel ends a call that is not to be counted, instead of End.
func (c Call) Cancel() {
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	c.set.entry(c.operation).inFlight--
}

// Add counts one call that took no time and was answered with status.
func (s *Set) Add(operation string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry := s.entry(operation)
	entry.peak = max(entry.peak, entry.inFlight+1)
	entry.add(status)
}

// Bill adds to what the operation's calls cost, in messages.
func (s *Set) Bill(operation string, messages int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entry(operation).billed += messages
}

func (s *Set) entry(operation string) *counted {
	if s.operations == nil {
		s.operations = make(map[string]*counted)
	}
	entry := s.operations[operation]
	if entry == nil {
		entry = &counted{statuses: make(map[int]int64)}
		s.operations[operation] = entry
	}
	return entry
}

func (c *counted) add(status int) {
	c.calls++
	c.statuses[status]++
}

// Snapshot returns a copy of the counters of every operation that was called.
// A call that is still being worked on shows in the peak only.
func (s *Set) Snapshot() map[string]Operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied := make(map[string]Operation, len(s.operations))
	for name, entry := range s.operations {
		if entry.peak == 0 && entry.billed == 0 {
			continue // nothing since the last reset
		}
		statuses := make(map[string]int64, len(entry.statuses))
		for status, calls := range entry.statuses {
			statuses[strconv.Itoa(status)] = calls
		}
		copied[name] = Operation{
			Calls: entry.calls, Statuses: statuses,
			BilledMessages: entry.billed, PeakConcurrency: entry.peak,
		}
	}
	return copied
}

// Reset sets every counter back to zero. Calls that are being worked on are
// counted when they end.
func (s *Set) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, entry := range s.operations {
		if entry.inFlight == 0 {
			delete(s.operations, name)
			continue
		}
		*entry = counted{statuses: make(map[int]int64), inFlight: entry.inFlight}
	}
}
