// Package fault makes chosen requests of an emulated hub fail or wait.
package fault

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// Verdict is what a rule decided about one request. The zero value lets it pass.
type Verdict struct {
	Action    Action
	Status    int
	ErrorCode string
	// Index is what action IndexStall answers from.
	Index *store.Frozen
}

// Set holds the rules of one hub, oldest first. The zero value is ready to use.
type Set struct {
	// Seed decides which requests a rule with a probability applies to. The
	// same seed, rules and requests lead to the same faults.
	Seed int64
	// Clock measures delays. Nil means the real clock.
	Clock clock.Clock
	// Freeze returns what queries see at this moment. Action IndexStall needs it.
	Freeze func() *store.Frozen
	// Stopping is closed when the hub stops: what it queues is dropped then.
	Stopping <-chan struct{}

	mu     sync.Mutex
	nextID int
	rules  []*rule
}

type rule struct {
	Rule
	removed chan struct{}
	dice    dice
	index   *store.Frozen // of action IndexStall
}

// Add validates a rule, puts it in force and returns its id. operations are
// those that a rule may be about.
func (s *Set) Add(r Rule, operations []Operation) (string, error) {
	if err := r.validate(operations); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	r.ID, r.Hits, r.Held = strconv.Itoa(s.nextID), 0, 0
	added := &rule{
		Rule: r, removed: make(chan struct{}),
		dice: dice{seed: s.Seed, rule: r.ID, probability: r.Probability},
	}
	if r.Action == IndexStall {
		added.index = s.Freeze()
	}
	s.rules = append(s.rules, added)
	return r.ID, nil
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

// Apply finds the oldest rule for the request and returns its verdict. Rules
// that make the request wait do it here, until it is over or the rule is
// removed; Apply returns an error when ctx ends first, or for Queue when the hub
// stops, and the request must then be dropped without being applied.
func (s *Set) Apply(ctx context.Context, operation, deviceID string) (Verdict, error) {
	r := s.take(operation, deviceID)
	switch {
	case r == nil:
		return Verdict{}, nil
	case !r.Action.waits():
		return Verdict{Action: r.Action, Status: r.Status, ErrorCode: r.ErrorCode, Index: r.index}, nil
	}
	defer s.letGo(r)
	var over <-chan time.Time
	if r.Action == Delay {
		timer := s.clock().NewTimer(time.Duration(r.Delay))
		defer timer.Stop()
		over = timer.C()
	}
	left := ctx.Done()
	if r.Action == Queue {
		left = s.Stopping
	}
	select {
	case <-over:
		return Verdict{}, nil
	case <-r.removed:
		return Verdict{}, nil
	case <-left:
		return Verdict{}, cmp.Or(context.Cause(ctx), context.Canceled)
	}
}

func (s *Set) clock() clock.Clock {
	if s.Clock == nil {
		return clock.RealClock{}
	}
	return s.Clock
}

func (s *Set) take(operation, deviceID string) *rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		matches := (r.Operation == operation || r.Operation == AnyOperation) && (r.DeviceID == "" || r.DeviceID == deviceID)
		if !matches || (r.Count > 0 && r.Hits >= r.Count) || !r.dice.hit(operation, deviceID) {
			continue
		}
		r.Hits++
		if r.Action.waits() {
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
