package reference

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// others are what DeviceTwins and older sets may keep of a device, in all ways in which they may be seen.
func (f *Fleet) others(s *fleetSet, device string, hub Leaves) iter.Seq[Leaves] {
	var all [][]Leaves
	for _, seen := range f.devices[device].twins {
		all = append(all, seen)
	}
	for _, key := range slices.Sorted(maps.Keys(f.sets)) {
		if other := f.sets[key]; other.age < s.age {
			all = append(all, other.keeps(hub))
		}
	}
	return func(yield func(Leaves) bool) { combine(Leaves{}, all, yield) }
}

// keeps are what an older set may be seen to keep of a device.
func (s *fleetSet) keeps(hub Leaves) []Leaves {
	var out []Leaves
	if s.unseen {
		out = append(out, nil)
	}
	for _, v := range s.versions {
		if v.Gone || v.Leaving || !v.Where.selects(hub) {
			out = append(out, nil)
			continue
		}
		// Besides what it declares, it keeps the revision that the device holds.
		marker, _ := MarkerOf(hub, s.key)
		out = append(out, Join(v.Leaves, s.revisions[marker.Revision]))
	}
	return out
}

func combine(so Leaves, rest [][]Leaves, yield func(Leaves) bool) bool {
	if len(rest) == 0 {
		return yield(so)
	}
	for _, one := range rest[0] {
		if !combine(Join(so, one), rest[1:], yield) {
			return false
		}
	}
	return true
}

// takeOff counts a device that got another revision as in flight, unless it has answered, and judges
// how many there are.
func (f *Fleet) takeOff(s *fleetSet, w Write) error {
	marker, marked := MarkerOf(w.After, s.key)
	held, _ := MarkerOf(w.Before, s.key)
	judged := !slices.ContainsFunc(s.versions, func(v SetSpec) bool { return !v.Judged })
	if !marked || held.Revision == marker.Revision || !judged {
		return nil
	}
	content := s.revisions[marker.Revision]
	if f.answered(s, w.Device, content, w.After) {
		return nil
	}
	f.devices[w.Device].flights[s.key] = marker.Revision
	if !slices.ContainsFunc(s.versions, func(v SetSpec) bool { return v.Leaves.Equal(content) || v.TakesBack }) {
		return nil
	}
	most := 0
	for _, v := range s.versions {
		most = max(most, v.most())
	}
	if flying := f.flying(s.key, marker.Revision); len(flying) > most {
		return fmt.Errorf("%s: with %s, %d devices are in flight with revision %s, and at most %d may be: %s",
			s.key, w.Device, len(flying), marker.Revision, most, strings.Join(flying, " "))
	}
	return nil
}

// answered tells whether a device has nothing left to say of a revision that it just got.
func (f *Fleet) answered(s *fleetSet, device string, content, hub Leaves) bool {
	d := f.devices[device]
	if !d.connected {
		return true
	}
	elsewhere := Leaves{}
	for others := range f.others(s, device, hub) {
		elsewhere = Join(elsewhere, others)
	}
	for path, value := range beside(content, elsewhere) {
		switch {
		case !path.within(At("desired")) || hub[path] != value:
		case d.rejected[path] == value:
			return true
		case d.reported[path] != value:
			return false
		}
	}
	return true
}

func (f *Fleet) flying(key, revision string) []string {
	var out []string
	for _, device := range slices.Sorted(maps.Keys(f.devices)) {
		if f.devices[device].flights[key] == revision {
			out = append(out, device)
		}
	}
	return out
}

// SetSeen is what there is to be seen of a set when everything is at rest.
type SetSeen struct {
	Phase, Revision, Wave string
	Selected, Written     int64
	InFlight              []string
}

// Rest holds what is seen of a set against what the rules want of one that has nothing left to do.
func (f *Fleet) Rest(key string, seen SetSeen, twins map[string]Leaves) error {
	s := f.sets[key]
	spec := s.current()
	if spec.Still || f.readOnly[len(f.readOnly)-1] {
		return nil
	}
	switch seen.Phase {
	case "Complete", "CompletedWithOffline":
		if known, ok := s.revisions[seen.Revision]; ok && !known.Equal(spec.Leaves) {
			return fmt.Errorf("%s is complete with %s, and declares %s", key, known, spec.Leaves)
		}
	case "RolledBack":
		if !spec.TakesBack {
			return fmt.Errorf("%s was taken back, which it was not to be", key)
		}
	case "AwaitingApproval":
		return s.awaits(spec, seen, twins)
	case "Failed", "Aborted":
		return nil // nothing is written of it any more
	default:
		return fmt.Errorf("%s does not come to rest: %s, wave %s", key, seen.Phase, seen.Wave)
	}
	return f.complete(s, spec, seen, twins)
}

// awaits judges a set that waits for the approval of a wave.
func (s *fleetSet) awaits(spec SetSpec, seen SetSeen, twins map[string]Leaves) error {
	at := spec.index(seen.Wave)
	if at < 0 || at == len(spec.Waves) || !spec.Waves[at].Approve {
		return fmt.Errorf("%s waits for the approval of wave %s, which needs none", s.key, seen.Wave)
	}
	if s.declared[spec.Leaves.String()] == 1 && s.approval == seen.Revision+"/"+seen.Wave {
		return fmt.Errorf("%s waits for the approval of wave %s, which it has", s.key, seen.Wave)
	}
	for _, device := range slices.Sorted(maps.Keys(twins)) {
		hub := twins[device]
		marker, marked := MarkerOf(hub, s.key)
		if !spec.Where.selects(hub) || spec.hashed(hub) || !marked && spec.JoinersWait || marker.Revision == seen.Revision {
			continue
		}
		first := slices.IndexFunc(spec.Waves, func(w Wave) bool { return w.Where != nil && w.Where.selects(hub) })
		if first <= at {
			return fmt.Errorf("%s waits behind wave %s, and %s of it does not hold revision %s", s.key, seen.Wave, device, seen.Revision)
		}
	}
	return nil
}

// complete judges a set that has brought its revision to all of its devices.
func (f *Fleet) complete(s *fleetSet, spec SetSpec, seen SetSeen, twins map[string]Leaves) error {
	var selected int64
	for _, device := range slices.Sorted(maps.Keys(twins)) {
		hub := twins[device]
		marker, marked := MarkerOf(hub, s.key)
		if !spec.Where.selects(hub) {
			if marked {
				return fmt.Errorf("%s does not select %s, which has its marker", s.key, device)
			}
			continue
		}
		if selected++; marker.Revision != seen.Revision {
			return fmt.Errorf("%s is complete, and %s holds revision %q in place of %s", s.key, device, marker.Revision, seen.Revision)
		}
		for others := range f.others(s, device, hub) {
			want := Spec{Leaves: Join(beside(s.revisions[marker.Revision], others), marker.leaves(s.key))}
			if due := planFor(want, s.record(hub, false), hub, others, nil).patch; !due.Nothing() {
				return fmt.Errorf("%s is complete, and %s is yet to be changed: %s", s.key, device, due)
			}
		}
	}
	if seen.Selected != selected || seen.Written != selected {
		return fmt.Errorf("%s counts %d devices and %d written, and selects %d", s.key, seen.Selected, seen.Written, selected)
	}
	if len(seen.InFlight) > 0 {
		return fmt.Errorf("%s is complete with devices in flight: %s", s.key, strings.Join(seen.InFlight, " "))
	}
	return nil
}
