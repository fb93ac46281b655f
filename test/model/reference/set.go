package reference

import (
	"fmt"
	"slices"
)

// Where selects devices by one tag.
type Where struct {
	Path  Path
	Value string
}

func (w Where) selects(hub Leaves) bool { return hub[w.Path] == w.Value }

// Wave is a part of a set's devices: those of a condition, or without one a share of all.
type Wave struct {
	Name    string
	Where   *Where
	Approve bool
	// MaxInFlight in place of the set's; 0 for none of its own.
	MaxInFlight int
}

// RestWave is the wave that takes what no other took.
const RestWave = "rest"

// SetSpec is what a DeviceTwinSet declares.
type SetSpec struct {
	Leaves      Leaves
	Where       Where
	Waves       []Wave
	MaxInFlight int
	// Judged tells that devices count by what they acknowledge.
	Judged bool
	// Still tells that nothing may be written: the set is paused or suspended.
	Still bool
	// TakesBack tells that the revision before may come back, by a failure or by the user.
	TakesBack bool
	// JoinersAtOnce tells that a device which joins may get the revision before.
	JoinersAtOnce bool
	// JoinersWait tells that a device which joins during a rollout is not written yet.
	JoinersWait bool
	// ClearsLeavers has what is ours deleted on a device that leaves.
	ClearsLeavers bool
	// Leaving tells that the set is deleted, and its devices are to be cleared.
	Leaving bool
	// Gone tells that it is deleted, and its devices are left as they are.
	Gone bool
}

// most is how many devices may be in flight at the same time, whatever the wave.
func (s SetSpec) most() int {
	most := s.MaxInFlight
	for _, wave := range s.Waves {
		most = max(most, wave.MaxInFlight)
	}
	return most
}

// index of a wave by its name, the rest at the end; -1 for none.
func (s SetSpec) index(wave string) int {
	if wave == RestWave {
		return len(s.Waves)
	}
	return slices.IndexFunc(s.Waves, func(w Wave) bool { return w.Name == wave })
}

// belongs says why a device does not belong to a wave; "" where it may.
func (s SetSpec) belongs(hub Leaves, wave string) string {
	at := s.index(wave)
	if at < 0 {
		return "there is no wave " + wave
	}
	for _, before := range s.Waves[:at] {
		if before.Where != nil && before.Where.selects(hub) {
			return "the device belongs to wave " + before.Name + ", not " + wave
		}
	}
	if at < len(s.Waves) && s.Waves[at].Where != nil && !s.Waves[at].Where.selects(hub) {
		return "the device does not belong to wave " + wave
	}
	return ""
}

// hashed tells whether it is by its hash that a device belongs to a wave.
func (s SetSpec) hashed(hub Leaves) bool {
	return !slices.ContainsFunc(s.Waves, func(w Wave) bool { return w.Where != nil && w.Where.selects(hub) })
}

// Marker is what a set notes in a twin.
type Marker struct{ Revision, Wave string }

// fleetSet is one DeviceTwinSet with what is known of it.
type fleetSet struct {
	// key of its markers, and age, by which the older of two is the smaller.
	key, age string
	// versions that a manager may still go by, the newest last.
	versions []SetSpec
	// unseen tells that a manager may not know yet that the set was created.
	unseen bool
	// declared is how often the template has had a content.
	declared map[string]int
	// revisions are contents by the names that markers have for them.
	revisions map[string]Leaves
	// approved are waves, as revision/wave, and approval is the one that the set names.
	approved map[string]bool
	approval string
	// places are the waves that devices came in by their hash, with a revision.
	places map[string]string
}

func (s *fleetSet) current() SetSpec { return s.versions[len(s.versions)-1] }

func (s *fleetSet) declare(spec SetSpec) {
	text := spec.Leaves.String()
	if len(s.versions) == 0 || s.current().Leaves.String() != text {
		s.declared[text]++
	}
	s.versions = append(s.versions, spec)
}

const markerTag = "deviceTwinSets"

func markerPath(key, member string) Path { return At("tags", markerTag, key, member) }

// MarkerOf is the marker of a set in a twin; false where there is none.
func MarkerOf(hub Leaves, key string) (Marker, bool) {
	revision, wave := hub[markerPath(key, "revision")], hub[markerPath(key, "wave")]
	return Marker{Revision: unquoted(revision), Wave: unquoted(wave)}, revision != ""
}

func unquoted(text string) string {
	if len(text) < 2 {
		return text
	}
	return text[1 : len(text)-1]
}

// leaves of a marker as a twin holds them.
func (m Marker) leaves(key string) Leaves {
	return Leaves{markerPath(key, "revision"): fmt.Sprintf("%q", m.Revision), markerPath(key, "wave"): fmt.Sprintf("%q", m.Wave)}
}

// record is what the set has written to a twin: what its marker speaks of, and the marker.
func (s *fleetSet) record(hub Leaves, markerAlone bool) record {
	out := record{}.clone()
	marker, ok := MarkerOf(hub, s.key)
	if !ok {
		return out
	}
	for path, value := range marker.leaves(s.key) {
		out.add(path, value)
	}
	if !markerAlone {
		for path, value := range s.revisions[marker.Revision] {
			out.add(path, value)
		}
	}
	return out
}

// beside is a declaration without what others keep.
func beside(declared, others Leaves) Leaves {
	out := Leaves{}
	for path, value := range declared {
		kept := others.anyWithin(path)
		for other := range others {
			kept = kept || path.below(other)
		}
		if !kept {
			out[path] = value
		}
	}
	return out
}
