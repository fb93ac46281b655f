package reference

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The reasons of Ready that tell at rest how things are.
const (
	Succeeded      = "Succeeded"
	Suspended      = "Suspended"
	DeviceNotFound = "DeviceNotFound"
	DeviceClaimed  = "DeviceClaimed"
	Conflict       = "Conflict"
	HubReadOnly    = "HubReadOnly"
)

// Seen is what there is to be seen when everything is at rest.
type Seen struct {
	Registered bool
	Hub        Leaves
	// Holder is the object whose status names the twin as its own; "" for none.
	Holder string
	// Reasons of Ready, and Drifted, by object.
	Reasons map[string]string
	Drifted map[string]bool
	// Kept are the objects that a finalizer keeps when they are deleted.
	Kept map[string]bool
}

func (s Seen) String() string {
	var reasons []string
	for _, id := range slices.Sorted(maps.Keys(s.Reasons)) {
		reasons = append(reasons, fmt.Sprintf("%s %s drifted=%t kept=%t", id, s.Reasons[id], s.Drifted[id], s.Kept[id]))
	}
	return fmt.Sprintf("registered=%t hub=%s holder=%s [%s]", s.Registered, s.Hub, s.Holder, strings.Join(reasons, "; "))
}

func (s Seen) equal(other Seen) bool {
	return s.Registered == other.Registered && s.Hub.Equal(other.Hub) && s.Holder == other.Holder &&
		maps.Equal(s.Reasons, other.Reasons) && maps.Equal(s.Drifted, other.Drifted) && maps.Equal(s.Kept, other.Kept)
}

// Rest holds what is seen against what may be when no visit has anything left to
// do, nothing is on its way, and one manager runs. From then on only what fits is
// possible.
func (d *Device) Rest(seen Seen) error {
	if d.managers != 1 {
		return errors.New("the reference is at rest with one manager only")
	}
	d.overlapped = false // whatever another one saw, this one goes on from what it sees itself
	d.close()
	fitting, possible := d.fitting(seen)
	if len(fitting) == 0 {
		return fmt.Errorf("the rules do not allow what is seen:\n    %s\nbut one of %d:\n    %s",
			seen, len(possible), strings.Join(slices.Sorted(maps.Keys(possible)), "\n    "))
	}
	d.settle(fitting, seen)
	return nil
}

// Fits reports whether what is seen may be what things come to rest at. It changes nothing.
func (d *Device) Fits(seen Seen) bool {
	fitting, _ := d.fitting(seen)
	return len(fitting) > 0
}

// fitting are the states of rest that look like what is seen, and how all of them look.
func (d *Device) fitting(seen Seen) (fitting states, possible map[string]struct{}) {
	fitting, possible = states{}, map[string]struct{}{}
	for _, s := range d.states {
		expected, atRest := d.expect(s)
		if !atRest {
			continue
		}
		possible[expected.String()] = struct{}{}
		if expected.equal(seen) {
			fitting.add(s)
		}
	}
	return fitting, possible
}

// expect says what a state looks like, if it is one of rest.
func (d *Device) expect(s *state) (Seen, bool) {
	seen := Seen{
		Registered: s.registered, Hub: s.hub, Holder: s.holder,
		Reasons: map[string]string{}, Drifted: map[string]bool{}, Kept: map[string]bool{},
	}
	if len(s.queued) > 0 || s.holder != "" && (d.left(s, s.holder) || !d.keeps(s)) {
		return seen, false
	}
	for id, o := range d.objects {
		if d.left(s, id) {
			continue
		}
		if o.current().Clear {
			seen.Kept[id] = true
		}
		switch {
		case o.leaving:
			return seen, false
		case o.current().Suspend:
			seen.Reasons[id] = Suspended
			continue
		case !s.claims(id, o.current()): // it only looks
		case s.holder == "":
			return seen, false
		case s.holder != id:
			seen.Reasons[id] = DeviceClaimed
			continue
		}
		reason, drifted, atRest := d.expectHolder(s, o.current(), s.records[id])
		if !atRest {
			return seen, false
		}
		seen.Reasons[id], seen.Drifted[id] = reason, drifted
	}
	maps.DeleteFunc(seen.Drifted, func(_ string, drifted bool) bool { return !drifted })
	return seen, true
}

// keeps reports whether the holder goes on to keep the twin. One that is suspended is not
// reconciled: if it claims nothing any more, it keeps the twin until another one wants it.
func (d *Device) keeps(s *state) bool {
	holder := d.objects[s.holder].current()
	if s.claims(s.holder, holder) {
		return true
	}
	for id, o := range d.objects {
		if !d.left(s, id) && !o.current().Suspend && s.claims(id, o.current()) {
			return false
		}
	}
	return holder.Suspend
}

func (d *Device) expectHolder(s *state, spec Spec, r record) (reason string, drifted, atRest bool) {
	if !s.registered {
		return DeviceNotFound, false, true
	}
	planned := planFor(spec, r, s.hub, nil, nil)
	switch readOnly := d.readOnly[len(d.readOnly)-1]; {
	case !planned.patch.Nothing() && readOnly:
		return HubReadOnly, planned.left, true
	case !planned.patch.Nothing(), planned.settled.String() != r.String():
		return "", false, false
	case planned.conflict:
		return Conflict, planned.left, true
	}
	return Succeeded, planned.left, true
}

// settle goes on from the states that fit.
func (d *Device) settle(fitting states, seen Seen) {
	for id, o := range d.objects {
		o.forget()
		if o.deleted || o.leaving {
			delete(d.objects, id)
		}
	}
	d.readOnly = d.readOnly[len(d.readOnly)-1:]
	d.foreign, d.confirmed, d.renewed = 0, seen.Holder, false
	d.states = fitting.each(func(s *state) []*state {
		out := s.clone()
		out.gone = map[string]bool{}
		maps.DeleteFunc(out.records, func(id string, _ record) bool { return d.objects[id] == nil })
		out.saved = maps.Clone(out.records)
		return []*state{out}
	})
}

// States counts the ways in which things may be.
func (d *Device) States() int { return len(d.states) }
