// Package fault makes chosen requests of an emulated hub fail or wait.
package fault

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// Action is what happens to a request that a rule applies to.
type Action string

const (
	// Hold makes the request wait, before it is applied, until the rule is
	// removed; then it is processed normally.
	Hold Action = "hold"
	// Status refuses the request with the rule's status, without applying it.
	Status Action = "status"
	// DropAnswer applies the request and then cuts the connection.
	DropAnswer Action = "dropAnswer"
	// None lets the request pass.
	None Action = ""
)

// Rule says which requests are disturbed, and how.
type Rule struct {
	ID        string `json:"id,omitempty"`
	Operation string `json:"operation"`
	// DeviceID restricts the rule to one device; empty means any.
	DeviceID string `json:"deviceId,omitempty"`
	// Count is how many requests the rule applies to; 0 means no limit.
	Count  int    `json:"count"`
	Action Action `json:"action"`
	// Status and ErrorCode are the answer of action "status".
	Status    int    `json:"status,omitempty"`
	ErrorCode string `json:"errorCode,omitempty"`
	// Hits is how many requests the rule has applied to so far, and Held how
	// many of them are waiting right now. Both are ignored on input.
	Hits int `json:"hits"`
	Held int `json:"held"`
}

// Verdict is what a rule decided about one request. The zero value lets it pass.
type Verdict struct {
	Action    Action
	Status    int
	ErrorCode string
}

// Set holds the rules of one hub, oldest first. The zero value is ready to use.
type Set struct {
	mu     sync.Mutex
	nextID int
	rules  []*rule
}

type rule struct {
	Rule
	removed chan struct{}
}

// Add validates a rule, puts it in force and returns its id. operations lists
// the names that a rule may use.
func (s *Set) Add(r Rule, operations []string) (string, error) {
	if err := validate(r, operations); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	r.ID, r.Hits, r.Held = strconv.Itoa(s.nextID), 0, 0
	s.rules = append(s.rules, &rule{Rule: r, removed: make(chan struct{})})
	return r.ID, nil
}

func validate(r Rule, operations []string) error {
	switch {
	case !slices.Contains(operations, r.Operation):
		return fmt.Errorf("operation %q is unknown; use one of %q", r.Operation, operations)
	case r.Count < 0:
		return fmt.Errorf("count %d is negative; use 0 for no limit", r.Count)
	case r.Action != Hold && r.Action != Status && r.Action != DropAnswer:
		return fmt.Errorf("action %q is unknown; use %q, %q or %q", r.Action, Hold, Status, DropAnswer)
	case r.Action == Status && (r.Status < 400 || r.Status > 599):
		return fmt.Errorf("status %d is no failure; use %d to 599", r.Status, http.StatusBadRequest)
	}
	return nil
}

// Remove ends a rule and lets go whatever it holds. An unknown id is ignored.
// It reports whether the rule existed.
func (s *Set) Remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.rules {
		if r.ID == id {
			s.rules = slices.Delete(s.rules, i, i+1)
			close(r.removed)
			return true
		}
	}
	return false
}

// List returns a copy of the rules in force, oldest first.
func (s *Set) List() []Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	rules := make([]Rule, 0, len(s.rules))
	for _, r := range s.rules {
		rules = append(rules, r.Rule)
	}
	return rules
}

// Apply finds the oldest rule for the request and returns its verdict. With
// action "hold" it waits here; it returns ctx's error when ctx ends first, and
// the request must then be dropped without being applied.
func (s *Set) Apply(ctx context.Context, operation, deviceID string) (Verdict, error) {
	r := s.take(operation, deviceID)
	if r == nil {
		return Verdict{}, nil
	}
	if r.Action != Hold {
		return Verdict{Action: r.Action, Status: r.Status, ErrorCode: r.ErrorCode}, nil
	}
	defer s.letGo(r)
	select {
	case <-r.removed:
		return Verdict{}, nil
	case <-ctx.Done():
		return Verdict{}, context.Cause(ctx)
	}
}

func (s *Set) take(operation, deviceID string) *rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		matches := r.Operation == operation && (r.DeviceID == "" || r.DeviceID == deviceID)
		if !matches || (r.Count > 0 && r.Hits >= r.Count) {
			continue
		}
		r.Hits++
		if r.Action == Hold {
			r.Held++
		}
		return r
	}
	return nil
}

func (s *Set) letGo(r *rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Held--
}
