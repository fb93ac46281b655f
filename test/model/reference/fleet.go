package reference

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Fleet is what DeviceTwinSets may do to the devices of a hub. It is told of each change of a twin
// in the order in which the hub makes them, and judges those that the sets make.
type Fleet struct {
	sets    map[string]*fleetSet
	devices map[string]*fleetDevice
	// readOnly are the modes of the hub that a manager may see, the current one last.
	readOnly []bool
	// content is what a revision of a set is kept as; false where none of the name is kept.
	content func(key, revision string) (Leaves, bool)
}

// fleetDevice is one device, beside its twin.
type fleetDevice struct {
	connected bool
	// reported are the values that it has taken over, by the paths of what is desired.
	reported Leaves
	// rejected are values that it has refused, and that stand unchanged since.
	rejected Leaves
	// flights are the revisions that it has not answered yet, by set.
	flights map[string]string
	// twins are the DeviceTwins of the device: what each may be seen to declare, nil for nothing.
	twins map[string][]Leaves
}

// NewFleet is a hub without a set or device. content tells what is kept as a revision of a set when a marker
// names it first.
func NewFleet(content func(key, revision string) (Leaves, bool)) *Fleet {
	return &Fleet{content: content, sets: map[string]*fleetSet{}, devices: map[string]*fleetDevice{}, readOnly: []bool{false}}
}

// Register says that a device came, which is not connected.
func (f *Fleet) Register(device string) {
	f.devices[device] = &fleetDevice{reported: Leaves{}, rejected: Leaves{}, flights: map[string]string{}, twins: map[string][]Leaves{}}
}

// Declare says that a set was created or edited. key is that of its markers; age orders sets.
func (f *Fleet) Declare(key, age string, spec SetSpec) {
	s := f.sets[key]
	if s == nil {
		s = &fleetSet{
			key: key, age: age, declared: map[string]int{}, revisions: map[string]Leaves{},
			approved: map[string]bool{}, places: map[string]string{}, unseen: true,
		}
		f.sets[key] = s
	}
	s.declare(spec)
	for _, d := range f.devices {
		for other := range d.flights {
			if s.age < f.sets[other].age {
				delete(d.flights, other) // what an older set declares is nothing to answer to a younger one
			}
		}
	}
}

// Approve says that a wave of a set was approved, as revision/wave.
func (f *Fleet) Approve(key, what string) {
	f.sets[key].approved[what], f.sets[key].approval = true, what
}

// SetReadOnly says that the hub's mode was changed.
func (f *Fleet) SetReadOnly(readOnly bool) { f.readOnly = append(f.readOnly, readOnly) }

// DeclareTwin says that a DeviceTwin of a device was created, edited, or deleted, nil then.
func (f *Fleet) DeclareTwin(device, name string, leaves Leaves) {
	d := f.devices[device]
	if d.twins[name] == nil {
		d.twins[name] = []Leaves{nil}
	}
	d.twins[name] = append(d.twins[name], leaves)
	clear(d.flights) // what it declares is nothing to answer to a set
}

// Acknowledged says that all that was declared so far is known to the managers. Of a set that went
// at once there may be a step under way.
func (f *Fleet) Acknowledged() {
	f.readOnly = f.readOnly[len(f.readOnly)-1:]
	for _, s := range f.sets {
		s.unseen = false
		if !s.current().Gone {
			s.versions = s.versions[len(s.versions)-1:]
		}
	}
	for _, d := range f.devices {
		for name, seen := range d.twins {
			if d.twins[name] = seen[len(seen)-1:]; d.twins[name][0] == nil {
				delete(d.twins, name)
			}
		}
	}
}

// Forget says that nothing of a set that was deleted is under way any more.
func (f *Fleet) Forget(key string) {
	delete(f.sets, key)
	for _, d := range f.devices {
		delete(d.flights, key)
	}
}

// Connect says whether a device is connected from now on.
func (f *Fleet) Connect(device string, connected bool) {
	d := f.devices[device]
	if d.connected = connected; !connected {
		clear(d.flights)
	}
}

// Report says that a device takes over what it is to hold, or refuses it.
func (f *Fleet) Report(device string, hub Leaves, accepts bool) {
	d := f.devices[device]
	desired := maps.Clone(hub)
	maps.DeleteFunc(desired, func(path Path, _ string) bool { return !path.within(At("desired")) })
	// What it said of other properties before stands.
	for path := range desired {
		spoken := At(path.keys()[:2]...)
		for _, said := range []Leaves{d.reported, d.rejected} {
			maps.DeleteFunc(said, func(path Path, _ string) bool { return path.within(spoken) })
		}
	}
	said := d.reported
	if !accepts {
		said = d.rejected
	}
	maps.Copy(said, desired)
	clear(d.flights)
}

// Changed says that a twin was changed, by any writer.
func (f *Fleet) Changed(device string, before, after Leaves) {
	d := f.devices[device]
	maps.DeleteFunc(d.rejected, func(path Path, _ string) bool { return before[path] != after[path] })
	for key, revision := range d.flights {
		if marker, _ := MarkerOf(after, key); marker.Revision != revision {
			delete(d.flights, key)
		}
	}
}

// Write is a change that the sets have made of a twin.
type Write struct {
	Device        string
	Before, After Leaves
	// Late tells that its manager was gone when it arrived.
	Late bool
}

// Wrote judges a change by the sets: one of them must have been allowed to make it.
func (f *Fleet) Wrote(w Write) error {
	f.Changed(w.Device, w.Before, w.After)
	var why []string
	for _, key := range slices.Sorted(maps.Keys(f.sets)) {
		s := f.sets[key]
		reason := f.explain(s, w)
		if reason == "" {
			return f.takeOff(s, w)
		}
		why = append(why, key+": "+reason)
	}
	return fmt.Errorf("no set may make of %s\n    %s\n  this:\n    %s\n  %s", w.Device, w.Before, w.After, strings.Join(why, "\n  "))
}

// explain says why a set may not make a change; "" where it may.
func (f *Fleet) explain(s *fleetSet, w Write) string {
	marker, marked := MarkerOf(w.After, s.key)
	_, had := MarkerOf(w.Before, s.key)
	reason := "it has no marker there"
	for _, v := range slices.Backward(s.versions) {
		switch {
		case marked:
			reason = f.bring(s, v, w, marker)
		case had:
			reason = f.clear(s, v, w)
		}
		if reason == "" {
			return ""
		}
	}
	return reason
}

// still says what keeps a set from writing.
func (f *Fleet) still(v SetSpec, w Write) string {
	switch {
	case w.Late:
		return ""
	case v.Gone:
		return "it is deleted"
	case v.Still:
		return "it is paused or suspended"
	case !slices.Contains(f.readOnly, false):
		return "the hub is read only"
	}
	return ""
}

// bring judges a change that brings a revision to a device, or restores it.
func (f *Fleet) bring(s *fleetSet, v SetSpec, w Write, marker Marker) string {
	reason := f.still(v, w)
	switch {
	case reason != "":
		return reason
	case v.Leaving:
		return "it is being deleted"
	case !v.Where.selects(w.Before):
		return "it does not select the device"
	}
	content, reason := f.named(s, marker.Revision)
	if reason != "" {
		return reason
	}
	return f.bringContent(s, v, w, marker, content)
}

// named is what a revision holds, which the set has to have declared.
func (f *Fleet) named(s *fleetSet, revision string) (content Leaves, reason string) {
	if known, ok := s.revisions[revision]; ok {
		return known, ""
	}
	kept, ok := f.content(s.key, revision)
	switch {
	case !ok:
		return nil, "there is no revision " + revision
	case s.declared[kept.String()] == 0:
		return nil, "revision " + revision + " was never declared: " + kept.String()
	}
	s.revisions[revision] = kept
	return kept, ""
}

func (f *Fleet) bringContent(s *fleetSet, v SetSpec, w Write, marker Marker, content Leaves) string {
	held, had := MarkerOf(w.Before, s.key)
	if held.Revision != marker.Revision {
		if reason := s.mayBring(v, w, marker, content, had); reason != "" {
			return reason
		}
	} else if held != marker {
		return "the wave of a device does not change with its revision"
	}
	for others := range f.others(s, w.Device, w.Before) {
		spec := Spec{Leaves: Join(beside(content, others), marker.leaves(s.key))}
		postponed := map[Path]bool{}
		for path := range spec.Leaves {
			postponed[path] = true
		}
		for _, left := range []map[Path]bool{nil, postponed} {
			if w.After.Equal(w.Before.Apply(planFor(spec, s.record(w.Before, false), w.Before, others, left).patch)) {
				return ""
			}
		}
	}
	return "revision " + marker.Revision + " would be written differently, if it is " + content.String()
}

// mayBring judges that a device gets a revision which it does not hold.
func (s *fleetSet) mayBring(v SetSpec, w Write, marker Marker, content Leaves, had bool) string {
	if !v.Leaves.Equal(content) {
		if w.Late || v.TakesBack || v.JoinersAtOnce && !had {
			return ""
		}
		return "revision " + marker.Revision + " is not declared any more"
	}
	if s.declared[content.String()] > 1 {
		return "" // it may be one that was taken back to
	}
	if reason := v.belongs(w.Before, marker.Wave); reason != "" {
		return reason
	}
	for _, before := range v.Waves[:v.index(marker.Wave)] {
		if before.Approve && !s.approved[marker.Revision+"/"+before.Name] {
			return "wave " + before.Name + " was not approved"
		}
	}
	return s.place(v, w, marker)
}

// place judges that a device has the same place in the waves by its hash each time.
func (s *fleetSet) place(v SetSpec, w Write, marker Marker) string {
	if !v.hashed(w.Before) {
		return ""
	}
	at := fmt.Sprint(w.Device, " ", marker.Revision, " ", len(v.Waves))
	if known, ok := s.places[at]; ok && known != marker.Wave {
		return "the device had its place in wave " + known
	}
	s.places[at] = marker.Wave
	return ""
}

// clear judges a change that takes a set's marker away.
func (f *Fleet) clear(s *fleetSet, v SetSpec, w Write) string {
	if reason := f.still(v, w); reason != "" {
		return reason
	}
	if !v.Leaving && v.Where.selects(w.Before) {
		return "it selects the device"
	}
	markerAlone := !v.Leaving && !v.ClearsLeavers
	for others := range f.others(s, w.Device, w.Before) {
		if w.After.Equal(w.Before.Apply(planFor(Spec{}, s.record(w.Before, markerAlone), w.Before, others, nil).patch)) {
			return ""
		}
	}
	return "it would be cleared differently"
}
