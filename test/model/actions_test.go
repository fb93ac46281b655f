package model_test

import (
	"cmp"
	"fmt"
	"slices"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

const (
	// A sequence has so many actions, each of one event or a few.
	minActions, maxActions = 20, 30
	// maxObjects is how many DeviceTwins one device has at the most.
	maxObjects = 3
	// maxEvents is after how many events everything comes to rest at the latest; a race
	// or a crash is several.
	maxEvents = 14
	// maxStates is how many ways in which things may be are followed at the most:
	// everything comes to rest then, so that what is possible is known again.
	maxStates = 60
)

// run is one sequence.
func (w *world) run() {
	var names []string
	actions := map[string]func(*rapid.T){}
	add := func(weight int, name string, action func(*rapid.T)) {
		actions[name] = action
		names = append(names, slices.Repeat([]string{name}, weight)...)
	}
	add(5, "edit", w.actEdit) // what shrinking leaves
	add(3, "create", w.actCreate)
	add(2, "change policies", w.actChangePolicies)
	add(1, "switch", w.actSwitch)
	add(1, "delete", w.actDelete)
	add(1, "rename", w.actRename)
	add(4, "write", w.actWrite)
	add(1, "report", w.actReport)
	add(1, "re-create the device", w.actRecreate)
	add(1, "change the mode", w.actMode)
	add(2, "disturb", w.actDisturb)
	add(1, "calm", w.actCalm)
	add(3, "race", w.actRace)
	add(3, "crash", w.actCrash)
	add(1, "restart", w.actRestart)
	add(1, "overlap", w.actOverlap)
	add(1, "tamper", w.actTamper)
	add(3, "replace", w.actReplace)
	add(1, "prune", w.actPrune)
	add(1, "wipe the status", w.actWipe)
	add(2, "pause", w.actPause)
	add(1, "restore the hub", w.actRestoreHub)
	add(2, "the other tenant", w.actTenant)
	add(2, "rest", func(*rapid.T) { w.rest() })
	for range rapid.IntRange(minActions, maxActions).Draw(w.t, "actions") {
		if w.events >= maxEvents || w.states() > maxStates {
			w.rest()
		}
		actions[rapid.SampledFrom(names).Draw(w.t, "action")](w.t)
	}
	w.finish()
}

func (w *world) states() int {
	most := 0
	for _, d := range w.devices {
		most = max(most, d.reference.States())
	}
	return most
}

func (w *world) someDevice(t *rapid.T) *device {
	return w.devices[rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "device")]
}

// staying are the objects of a device that are not being deleted, the oldest first.
func (d *device) staying() []*declared {
	var out []*declared
	for _, o := range d.objects {
		if !o.leaving {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *declared) int { return cmp.Compare(a.number, b.number) })
	return out
}

// someObject is one that is not being deleted.
func (w *world) someObject(t *rapid.T) (*device, *declared) {
	var owners []*device
	var objects []*declared
	for _, d := range w.devices {
		for _, o := range d.staying() {
			owners, objects = append(owners, d), append(objects, o)
		}
	}
	if len(objects) == 0 {
		d := w.someDevice(t)
		return d, w.createOn(t, d)
	}
	i := rapid.IntRange(0, len(objects)-1).Draw(t, "object")
	return owners[i], objects[i]
}

// someWriter is an object that is likely to write: the oldest of its device is likely
// to keep the twin.
func (w *world) someWriter(t *rapid.T) (*device, *declared) {
	d := w.someDevice(t)
	objects := d.staying()
	if len(objects) == 0 {
		objects = append(objects, w.createOn(t, d))
	}
	if w.readOnly {
		w.setReadOnly(false)
	}
	return d, objects[0]
}

// editAnew edits an object so that it is likely to write at once.
func (w *world) editAnew(t *rapid.T, d *device, o *declared) {
	policy := somePolicy().Draw(t, "policy")
	w.edit(d, o, edited(t, o.leaves), func(spec *v1alpha1.DeviceTwinSpec) {
		spec.Suspend = false
		if spec.Policy == v1alpha1.PolicyObserve {
			spec.Policy = policy
		}
	})
}

func (d *device) declaredPaths() []reference.Path {
	var paths []reference.Path
	for _, o := range d.staying() {
		paths = append(paths, o.leaves.Paths()...)
	}
	return paths
}

func (w *world) actCreate(t *rapid.T) {
	d := w.someDevice(t)
	if len(d.staying()) < maxObjects {
		w.createOn(t, d)
	}
}

func (w *world) createOn(t *rapid.T, d *device) *declared {
	return w.create(d, &v1alpha1.DeviceTwinSpec{
		Policy: somePolicy().Draw(t, "policy"), Policies: somePolicies(t),
		DeletionPolicy: rapid.SampledFrom([]v1alpha1.DeletionPolicy{
			v1alpha1.DeletionRetain, v1alpha1.DeletionRetain, v1alpha1.DeletionClear, v1alpha1.DeletionDelete,
		}).Draw(t, "deletion"),
	}, someLeaves(0, 4).Draw(t, "declaration"))
}

func unchanged(*v1alpha1.DeviceTwinSpec) {}

func (w *world) actEdit(t *rapid.T) {
	d, o := w.someObject(t)
	w.edit(d, o, edited(t, o.leaves), unchanged)
}

func (w *world) actChangePolicies(t *rapid.T) {
	d, o := w.someObject(t)
	policy, policies := somePolicy().Draw(t, "policy"), somePolicies(t)
	w.edit(d, o, o.leaves, func(spec *v1alpha1.DeviceTwinSpec) { spec.Policy, spec.Policies = policy, policies })
}

// actSwitch changes what is not about leaves.
func (w *world) actSwitch(t *rapid.T) {
	d, o := w.someObject(t)
	suspend := !o.spec.Suspend
	if rapid.Bool().Draw(t, "suspend") {
		w.edit(d, o, o.leaves, func(spec *v1alpha1.DeviceTwinSpec) { spec.Suspend = suspend })
		return
	}
	deletion := rapid.SampledFrom([]v1alpha1.DeletionPolicy{
		v1alpha1.DeletionRetain, v1alpha1.DeletionClear, v1alpha1.DeletionDelete,
	}).Draw(t, "deletion")
	w.edit(d, o, o.leaves, func(spec *v1alpha1.DeviceTwinSpec) { spec.DeletionPolicy = deletion })
}

func (w *world) actDelete(t *rapid.T) {
	d, o := w.someObject(t)
	w.delete(d, o)
}

// actRename deletes an object and creates it anew by another name, with or without
// its record, as a backup or a commit would have it.
func (w *world) actRename(t *rapid.T) {
	d, o := w.someObject(t)
	record := ""
	if rapid.Bool().Draw(t, "with its record") {
		record = w.record(o)
	}
	w.delete(d, o)
	spec := o.spec
	renamed := w.create(d, &spec, o.leaves)
	if record != "" {
		w.copyRecord(d, o, renamed, record)
	}
}

// copyRecord gives an object the record of another one, where it counts for nothing.
func (w *world) copyRecord(d *device, from, to *declared, record string) {
	w.setRecord(to, record)
	d.reference.LoseRecord(to.uid)
	w.note("the record of %s is copied to %s", from.name, to.name)
}

func (w *world) actWrite(t *rapid.T) {
	d := w.someDevice(t)
	w.write(t, d)
}

func (w *world) write(t *rapid.T, d *device) {
	change := written(t, d.declaredPaths())
	w.anotherWriter(d, change)
	w.note("another writer writes to %s: %s", d.id, change)
}

func (w *world) actReport(t *rapid.T) {
	d := w.someDevice(t)
	if _, _, registered := w.held(d.id); !registered {
		return
	}
	report := fmt.Sprintf(`{"a":{"n":%d}}`, rapid.IntRange(1, 3).Draw(t, "reported"))
	_, err := w.hub.Report(d.id, []byte(report))
	w.Expect(err).NotTo(HaveOccurred())
	w.note("%s reports %s", d.id, report)
}

func (w *world) actRecreate(t *rapid.T) {
	d := w.someDevice(t)
	_, _, registered := w.held(d.id)
	if registered {
		w.Expect(w.hub.RemoveDevice(d.id)).To(Succeed())
		if rapid.Bool().Draw(t, "for good") {
			d.reference.Deregister()
			w.note("%s is deleted from the hub", d.id)
			return
		}
	}
	_, err := w.hub.AddDevice(d.id)
	w.Expect(err).NotTo(HaveOccurred())
	d.reference.Reregister()
	w.note("%s is registered anew", d.id)
}

func (w *world) actMode(*rapid.T) { w.setReadOnly(!w.readOnly) }

func (w *world) setReadOnly(readOnly bool) {
	mode := v1alpha1.ModeReadWrite
	if readOnly {
		mode = v1alpha1.ModeReadOnly
	}
	conn := &v1alpha1.HubConnection{ObjectMeta: w.meta("hub")}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"mode":%q}}`, mode))
	w.Expect(w.client.Patch(w.context(), conn, patch)).To(Succeed())
	w.readOnly = readOnly
	for _, d := range w.devices {
		d.reference.SetReadOnly(readOnly)
	}
	w.note("the hub's mode is %s", mode)
}

func (w *world) actDisturb(t *rapid.T) {
	d := w.someDevice(t)
	id := w.disturb(someFault(t, d.id))
	if rapid.Bool().Draw(t, "wait") {
		w.awaitHit(id)
	}
}

func (w *world) actCalm(t *rapid.T) {
	faults := w.hub.Faults()
	if len(faults) > 0 {
		w.calm(rapid.SampledFrom(faults).Draw(t, "fault"))
	}
}

// actRace writes to a twin while a manager's own write to it is held on its way.
func (w *world) actRace(t *rapid.T) {
	d, o := w.someWriter(t)
	id := w.disturb(hubemulator.Fault{Operation: updateTwin, DeviceID: d.id, Action: hubemulator.FaultHold})
	before := o.leaves
	w.editAnew(t, d, o)
	w.awaitHit(id)
	w.write(t, d)
	if rapid.IntRange(0, 3).Draw(t, "edit again") == 0 {
		w.editOrTakeBack(t, d, o, before)
	}
	w.calm(hubemulator.FaultState{ID: id, Fault: hubemulator.Fault{Operation: updateTwin, DeviceID: d.id, Action: hubemulator.FaultHold}})
}

// actCrash stops the managers amid a write, and goes on while none is there.
func (w *world) actCrash(t *rapid.T) {
	d, o := w.someWriter(t)
	id := w.disturb(hubemulator.Fault{
		Operation: updateTwin, DeviceID: d.id, Count: 1,
		Action: rapid.SampledFrom([]string{
			hubemulator.FaultDropAnswer, hubemulator.FaultDropAnswer, hubemulator.FaultQueue, hubemulator.FaultHold,
		}).Draw(t, "action"),
	})
	before := o.leaves
	w.editAnew(t, d, o)
	w.awaitHit(id)
	w.stopAll()
	for range rapid.SampledFrom([]int{0, 1, 1, 2}).Draw(t, "events meanwhile") {
		w.meanwhile(t, d, o, before)
	}
	w.startManager()
	w.note("a manager starts")
}

// meanwhile is what happens to an object's twin while no manager is there.
func (w *world) meanwhile(t *rapid.T, d *device, o *declared, before reference.Leaves) {
	kind := rapid.IntRange(0, 5).Draw(t, "event")
	deleted := o.leaving || d.objects[o.name] != o
	switch {
	case kind == 0 || deleted:
		w.write(t, d)
	case kind == 1:
		w.delete(d, o)
	default:
		w.editOrTakeBack(t, d, o, before)
	}
}

// editOrTakeBack edits an object, most often back to what it was before.
func (w *world) editOrTakeBack(t *rapid.T, d *device, o *declared, before reference.Leaves) {
	if rapid.IntRange(0, 2).Draw(t, "take it back") == 0 {
		before = edited(t, o.leaves)
	}
	w.edit(d, o, before, unchanged)
}

func (w *world) stopAll() {
	for len(w.managers) > 0 {
		w.stopManager()
	}
	w.note("all managers stop")
}

func (w *world) actRestart(*rapid.T) {
	w.stopAll()
	w.startManager()
	w.note("a manager starts")
}

func (w *world) actOverlap(*rapid.T) {
	if len(w.managers) < 2 {
		w.startManager()
		w.note("another manager starts")
	}
}

// actTamper changes an object's ownership record.
func (w *world) actTamper(t *rapid.T) {
	d, o := w.someObject(t)
	_, from := w.someObject(t)
	switch rapid.SampledFrom([]string{"lose", "lose", "copy", "restore"}).Draw(t, "how") {
	case "copy":
		if text := w.record(from); text != "" && from != o {
			w.copyRecord(d, from, o, text)
		}
	case "restore":
		if o.saved != "" {
			w.setRecord(o, o.saved)
			d.reference.RestoreRecord(o.uid)
			w.note("the record of %s is restored as it was at the last rest", o.name)
		}
	default:
		w.setRecord(o, "")
		d.reference.LoseRecord(o.uid)
		w.note("the record of %s is removed", o.name)
	}
}
