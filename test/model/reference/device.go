package reference

import (
	"maps"
	"slices"
)

// object is a DeviceTwin.
type object struct {
	// versions are those that a visit may still see, the newest last.
	versions []Spec
	// deleted objects are gone from the API server, leaving ones are about to be.
	deleted, leaving bool
}

func (o *object) current() Spec { return o.versions[len(o.versions)-1] }

// forget drops the versions that no new manager sees.
func (o *object) forget() {
	keep := 1
	if o.deleted {
		keep = 0
	}
	o.versions = o.versions[max(0, len(o.versions)-keep):]
}

// Device is all that may be about one twin. Its methods say what happened, in the
// order in which it did.
type Device struct {
	objects map[string]*object
	states  states
	// managers that run, and whether there were two since the last rest.
	managers   int
	overlapped bool
	// queues is true when the hub queues what managers send.
	queues bool
	// readOnly are the modes that a visit may see, the current one last.
	readOnly []bool
	// foreign counts the writes of others since the last rest.
	foreign int
	// confirmed is the holder at the last rest.
	confirmed string
	// renewed is true when a manager has started since: it may not have seen who holds the
	// twin yet.
	renewed bool
}

// NewDevice is a registered device with an empty twin, and no manager yet.
func NewDevice() *Device {
	d := &Device{objects: map[string]*object{}, states: states{}, readOnly: []bool{false}}
	d.states.add(&state{
		registered: true, hub: Leaves{}, records: map[string]record{}, saved: map[string]record{}, gone: map[string]bool{},
	})
	return d
}

// Create says that an object came. Ids are ordered as the objects' UIDs are.
func (d *Device) Create(id string, spec Spec) {
	d.objects[id] = &object{versions: []Spec{spec}}
	d.happen(func(s *state) []*state { return []*state{s.with(id, record{}.clone())} })
}

// Edit says that an object's spec was replaced.
func (d *Device) Edit(id string, spec Spec) {
	o := d.objects[id]
	o.versions = append(o.versions, spec)
	if d.managers == 0 {
		o.forget()
	}
	d.close()
}

// Delete says that an object was deleted; leaving, that its finalizer keeps it.
func (d *Device) Delete(id string, leaving bool) {
	o := d.objects[id]
	o.deleted, o.leaving = !leaving, leaving
	if d.managers == 0 {
		o.forget()
	}
	d.close()
}

// LoseRecord says that an object's record was removed, or replaced by one that is
// not its own.
func (d *Device) LoseRecord(id string) {
	d.happen(func(s *state) []*state { return []*state{s.with(id, record{}.clone())} })
}

// RestoreRecord says that an object's record was replaced by the one that it had at
// the last rest.
func (d *Device) RestoreRecord(id string) {
	d.happen(func(s *state) []*state { return []*state{s.with(id, s.saved[id].clone())} })
}

// WipeStatus says that an object's status was emptied, as by a restore of the cluster:
// its record is lost, and with it that the object keeps the twin. What a tool puts in the
// place of the rest of an object, or takes away from its metadata, is no event: nothing
// that counts is there.
func (d *Device) WipeStatus(id string) {
	if d.confirmed == id {
		d.confirmed = ""
	}
	if d.renewed {
		d.states = d.states.each(func(s *state) []*state { return append(s.released(id), s) })
	}
	d.LoseRecord(id)
}

// RestoreHub says that the hub has the twin again as it was, with the etag and the
// versions of then, or does not know the device as it did not then. Nothing was on its way.
func (d *Device) RestoreHub(registered bool, leaves Leaves) {
	d.foreign++
	d.happen(func(s *state) []*state {
		out := s.wrote(leaves)
		out.registered = registered
		return []*state{out}
	})
}

// Write says that another writer changed the twin.
func (d *Device) Write(patch Patch) {
	d.foreign++
	d.happen(func(s *state) []*state {
		if !s.registered {
			return []*state{s}
		}
		return []*state{s.wrote(s.hub.Apply(patch))}
	})
}

// Deregister says that the device was deleted from the hub.
func (d *Device) Deregister() {
	d.happen(func(s *state) []*state {
		out := s.wrote(Leaves{})
		out.registered = false
		return []*state{out}
	})
}

// Reregister says that the device was deleted and registered anew at once. A write
// for the old twin may arrive at the new one, which starts with the same etags.
func (d *Device) Reregister() {
	d.happen(func(s *state) []*state {
		fresh := s.wrote(Leaves{})
		fresh.registered = true
		out := []*state{fresh}
		if !s.registered {
			return out
		}
		late := onWay(s)
		if d.managers > 0 {
			late = append(late, d.sent(s)...)
		}
		for _, sent := range late {
			late := sent.clone()
			late.hub = Leaves{}
			out = append(out, late)
		}
		return out
	})
}

func onWay(s *state) []*state {
	if len(s.queued) == 0 {
		return nil
	}
	return []*state{s}
}

// SetReadOnly says that the hub's mode was changed.
func (d *Device) SetReadOnly(readOnly bool) {
	d.readOnly = append(d.readOnly, readOnly)
	if d.managers == 0 {
		d.readOnly = d.readOnly[len(d.readOnly)-1:]
	}
	d.close()
}

// SetQueues says whether the hub queues writes from now on. What it has queued it
// handles when it stops.
func (d *Device) SetQueues(queues bool) {
	d.queues = queues
	d.close()
	if !queues {
		d.states = d.states.each(arrivals)
		d.close()
	}
}

// arrivals are what becomes of what was queued: one of it is taken, or none.
func arrivals(s *state) []*state {
	none := s.clone()
	none.queued = nil
	out := []*state{none}
	if s.registered {
		for _, patch := range s.queued {
			out = append(out, s.wrote(s.hub.Apply(patch)))
		}
	}
	return out
}

// Start says that a manager was started.
func (d *Device) Start() {
	if d.managers == 0 {
		d.forget()
	} else {
		d.overlapped = true
	}
	d.managers++
	d.close()
}

// forget drops what no new manager can know: versions before the newest, objects
// that are gone, and claims that no status names.
func (d *Device) forget() {
	d.renewed = true
	for _, o := range d.objects {
		o.forget()
	}
	d.readOnly = d.readOnly[len(d.readOnly)-1:]
	if !d.queues {
		d.states = d.states.each(arrivals)
	}
	d.states = d.states.each(func(s *state) []*state {
		out := []*state{s}
		if s.holder != "" && (s.holder != d.confirmed || d.left(s, s.holder)) {
			out = append(out, s.heldBy(""))
		}
		return out
	})
}

// Stop says that a manager stopped. What it sent last may still be on its way to
// the hub: for a moment, or for as long as the hub queues.
func (d *Device) Stop() {
	if d.managers--; d.managers == 0 {
		d.states = d.states.each(func(s *state) []*state { return append(d.sent(s), s) })
	}
}

// left reports whether an object is gone.
func (d *Device) left(s *state, id string) bool {
	o := d.objects[id]
	return o == nil || o.deleted || s.gone[id]
}

// sent are the states in which a write is on its way to the hub.
func (d *Device) sent(s *state) []*state {
	var out []*state
	for v := range d.visitors() {
		if s.gone[v.id] || v.readOnly || v.spec.Suspend {
			continue
		}
		claimed, ok := d.claim(s, v.id)
		if !ok || !s.registered || !s.claims(v.id, v.spec) {
			continue
		}
		before := s.records[v.id].clone()
		planned := planFor(v.spec, before, s.hub, nil, nil)
		if v.leaving {
			planned = planFor(Spec{}, before, s.hub, nil, nil)
			planned.wide = before
		}
		if planned.patch.Nothing() || v.stale && planned.wide.String() != before.String() {
			continue
		}
		queued := claimed.with(v.id, planned.wide)
		queued.queued = append(queued.queued, planned.patch)
		out = append(out, queued)
	}
	return out
}

// happen applies an event to every state.
func (d *Device) happen(event func(*state) []*state) {
	d.states = d.states.each(event)
	d.close()
}

// visitors are all ways in which an object may be seen.
func (d *Device) visitors() func(yield func(visitor) bool) {
	return func(yield func(visitor) bool) {
		for _, id := range slices.Sorted(maps.Keys(d.objects)) {
			o := d.objects[id]
			for i, spec := range o.versions {
				for _, readOnly := range d.readOnly {
					newest := i == len(o.versions)-1
					v := visitor{id: id, spec: spec, stale: o.deleted || o.leaving || !newest, readOnly: readOnly}
					if !yield(v) {
						return
					}
					if v.leaving = true; o.leaving && newest && !yield(v) {
						return
					}
				}
			}
		}
	}
}

// close adds every state that visits may lead to.
func (d *Device) close() {
	if d.managers == 0 {
		return
	}
	var todo []*state
	for _, s := range d.states {
		todo = append(todo, s)
	}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, next := range d.successors(s) {
			if d.states.add(next) {
				todo = append(todo, next)
			}
		}
	}
}

// onlyLooks reports whether an object may be seen as one that claims nothing.
func (d *Device) onlyLooks(s *state, id string) bool {
	return slices.ContainsFunc(d.objects[id].versions, func(version Spec) bool { return !s.claims(id, version) })
}

func (d *Device) successors(s *state) []*state {
	var out []*state
	for v := range d.visitors() {
		out = append(out, d.visits(s, v)...)
	}
	if s.holder != "" && (d.left(s, s.holder) || d.onlyLooks(s, s.holder)) {
		out = append(out, s.heldBy(""))
	}
	if len(s.queued) > 0 {
		out = append(out, arrivals(s)...)
	}
	return out
}
