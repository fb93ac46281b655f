package reference

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// state is one way in which things may be. States are not changed once made.
type state struct {
	registered bool
	hub        Leaves
	// holder is the object that keeps the twin; "" when none does yet.
	holder  string
	records map[string]record
	// saved are the records as they were when everything was at rest last.
	saved map[string]record
	// gone are deleted objects that needed, and have had, the hub cleaned up.
	gone map[string]bool
	// queued are patches that may still arrive: planned for the twin as it is.
	queued []Patch
}

func (s *state) clone() *state {
	out := *s
	out.records, out.gone = maps.Clone(s.records), maps.Clone(s.gone)
	out.queued = slices.Clone(s.queued)
	return &out
}

// wrote returns the state with another twin on the hub: whatever was on its way
// there is refused now.
func (s *state) wrote(hub Leaves) *state {
	out := s.clone()
	out.hub, out.queued = hub, nil
	return out
}

func (s *state) with(id string, r record) *state {
	out := s.clone()
	out.records[id] = r
	return out
}

func (s *state) heldBy(id string) *state {
	out := s.clone()
	out.holder = id
	return out
}

// String is for humans, and equal for equal states.
func (s *state) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "registered=%t hub=%s holder=%s", s.registered, s.hub, s.holder)
	for _, records := range []map[string]record{s.records, s.saved} {
		text.WriteString(" records=")
		for _, id := range slices.Sorted(maps.Keys(records)) {
			text.WriteString(id + records[id].String())
		}
	}
	fmt.Fprintf(&text, " gone=%v", slices.Sorted(maps.Keys(s.gone)))
	for _, patch := range s.queued {
		text.WriteString(" queued=" + patch.String())
	}
	return text.String()
}

// states is a set of them.
type states map[string]*state

func (ss states) add(s *state) bool {
	key := s.String()
	if _, known := ss[key]; known {
		return false
	}
	ss[key] = s
	return true
}

func (ss states) each(change func(*state) []*state) states {
	out := states{}
	for _, s := range ss {
		for _, changed := range change(s) {
			out.add(changed)
		}
	}
	return out
}
