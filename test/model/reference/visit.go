package reference

import (
	"maps"
	"slices"
)

// visitor is one object as a visit may see it: in its newest version, or in one
// that was replaced a moment ago.
type visitor struct {
	id   string
	spec Spec
	// stale is true when the object is another one, or gone, by now: its record
	// cannot be written any more.
	stale bool
	// leaving is true when the object is deleted, and the hub to be cleaned up.
	leaving  bool
	readOnly bool
}

// visits are the states that one visit may lead to.
func (d *Device) visits(s *state, v visitor) []*state {
	if s.gone[v.id] {
		return nil
	}
	if v.leaving {
		return d.cleanUps(s, v)
	}
	if v.spec.Suspend {
		return nil
	}
	if !s.claims(v.id, v.spec) {
		return s.released(v.id)
	}
	s, claimed := d.claim(s, v.id)
	if !claimed {
		return nil
	}
	out := []*state{s}
	if !s.registered {
		return out
	}
	for _, postponed := range d.fights(s, v) {
		out = append(out, d.pushes(s, v, postponed)...)
	}
	return out
}

// claims reports whether an object writes to the twin, or has something there that it
// wrote: one that only looks keeps the twin from no other one.
func (s *state) claims(id string, spec Spec) bool { return spec.writes() || !s.records[id].empty() }

// released are the states in which an object does not keep the twin any more that kept it.
func (s *state) released(id string) []*state {
	if s.holder != id {
		return nil
	}
	return []*state{s.heldBy("")}
}

// claim reports whether an object keeps the twin, or may take it.
func (d *Device) claim(s *state, id string) (*state, bool) {
	switch {
	case s.holder == id:
		return s, true
	case s.holder == "", d.disputed(s):
		return s.heldBy(id), true
	}
	return s, false
}

// disputed reports whether two managers may see different holders: they agree on one
// that a status names.
func (d *Device) disputed(s *state) bool {
	return d.overlapped && (d.confirmed == "" || d.left(s, d.confirmed))
}

// fights are the sets of leaves that a visit may leave for now, since they were
// changed back too often.
func (d *Device) fights(s *state, v visitor) []map[Path]bool {
	out := []map[Path]bool{nil}
	if d.foreign < reversals {
		return out
	}
	drift := planFor(v.spec, s.records[v.id], s.hub, nil, nil).drift
	all := map[Path]bool{}
	for _, path := range drift {
		all[path] = true
		out = append(out, map[Path]bool{path: true})
	}
	return append(out, all)
}

// reversals of a leaf within an hour are the least that make it contended.
const reversals = 2

// pushes are a visit's steps: record, write, settle. It may be cut short after
// each of them.
func (d *Device) pushes(s *state, v visitor, postponed map[Path]bool) []*state {
	before := s.records[v.id].clone()
	planned := planFor(v.spec, before, s.hub, nil, postponed)
	if planned.patch.Nothing() {
		return d.settles(s, v, planned)
	}
	grows := planned.wide.String() != before.String()
	if v.readOnly || v.stale && grows {
		return nil
	}
	recorded := s.with(v.id, planned.wide)
	written := recorded.wrote(s.hub.Apply(planned.patch))
	out := []*state{recorded, written}
	if !v.stale {
		after := planFor(v.spec, planned.wide, written.hub, nil, postponed)
		out = append(out, written.with(v.id, after.settled))
	}
	return out
}

// settles is a visit that has nothing to write. It forgets what it knows to be over.
func (d *Device) settles(s *state, v visitor, planned plan) []*state {
	if v.stale {
		return nil
	}
	out := []*state{s.with(v.id, planned.wide)}
	if len(s.queued) == 0 {
		out = append(out, s.with(v.id, planned.settled))
	}
	return out
}

// cleanUps are the steps of a visit to a deleted object.
func (d *Device) cleanUps(s *state, v visitor) []*state {
	if !v.spec.Clear || v.spec.Suspend {
		return []*state{s.removed(v.id)}
	}
	if !s.claims(v.id, v.spec) {
		return append(s.released(v.id), s.removed(v.id))
	}
	s, claimed := d.claim(s, v.id)
	if !claimed || !s.registered {
		return []*state{s, s.removed(v.id)}
	}
	out := []*state{s}
	for _, spared := range d.successions(s, v.id) {
		planned := planFor(Spec{}, s.records[v.id].clone(), s.hub, spared, nil)
		switch {
		case planned.patch.Nothing():
			if len(s.queued) == 0 {
				out = append(out, s.removed(v.id))
			}
		case !v.readOnly:
			written := s.wrote(s.hub.Apply(planned.patch))
			out = append(out, written, written.removed(v.id))
		}
	}
	return out
}

// removed is the state once an object is gone.
func (s *state) removed(id string) *state {
	out := s.clone()
	out.gone[id] = true
	if out.holder == id {
		out.holder = ""
	}
	return out
}

// successions are what the object declares that takes the twin over: the one with
// the smallest id of those that claim it, in any version that may be seen.
func (d *Device) successions(s *state, leaving string) []Leaves {
	var out []Leaves
	for _, id := range slices.Sorted(maps.Keys(d.objects)) {
		o := d.objects[id]
		if id == leaving || o.deleted || o.leaving || o.current().Suspend && id != s.holder {
			continue
		}
		certain := true
		for _, version := range o.versions {
			if s.claims(id, version) {
				out = append(out, version.Leaves)
			} else {
				certain = false
			}
		}
		if certain {
			return out
		}
	}
	return append(out, nil)
}
