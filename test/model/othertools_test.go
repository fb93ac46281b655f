package model_test

import (
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

// actReplace has a tool put what is in Git in the place of an object, most often with an
// edit, which takes a leaf away more often than not.
func (w *world) actReplace(t *rapid.T) {
	d, o := w.someObject(t)
	w.replace(d, o, inGit(t, o.leaves))
}

func inGit(t *rapid.T, before reference.Leaves) reference.Leaves {
	if paths := before.Paths(); len(paths) > 0 && rapid.Bool().Draw(t, "takes a leaf away") {
		return before.Without(rapid.SampledFrom(paths).Draw(t, "declared"))
	}
	if rapid.Bool().Draw(t, "edits") {
		return edited(t, before)
	}
	return before
}

// actPrune has a tool take away what it does not know.
func (w *world) actPrune(t *rapid.T) {
	_, o := w.someObject(t)
	w.prune(o, rapid.SampledFrom([]string{"annotations", "finalizers"}).Draw(t, "what"))
}

// actWipe empties a status, as a restore of the cluster does that leaves statuses out.
func (w *world) actWipe(t *rapid.T) {
	d, o := w.someObject(t)
	w.patchStatus(o, nil)
	d.reference.WipeStatus(o.uid)
	w.note("the status of %s is wiped", o.name)
}

// actPause stops a manager as SIGSTOP does, for longer than its Lease lasts: another one
// takes over, things happen, and then the first one goes on with what it knew, until it
// finds that it does not lead any more.
func (w *world) actPause(t *rapid.T) {
	for len(w.managers) > 1 {
		w.stopManager()
	}
	d, o := w.someWriter(t)
	paused := w.managers[0]
	before := o.leaves
	amid := rapid.Bool().Draw(t, "amid a visit")
	if amid {
		w.editAnew(t, d, o)
	}
	paused.gate.shut()
	paused.gate.lapsed.Store(rapid.Bool().Draw(t, "it can tell that its Lease has run out"))
	w.note("a manager is paused")
	w.startManager()
	w.note("another one takes over")
	if !amid {
		w.edit(d, o, inGit(t, o.leaves), unchanged)
	}
	for range rapid.IntRange(0, 2).Draw(t, "events meanwhile") {
		w.meanwhile(t, d, o, before)
	}
	if rapid.IntRange(0, 3).Draw(t, "for a while") > 0 {
		w.awaitActed(d, paused)
	}
	asked := paused.gate.waiting.Load()
	paused.gate.requests.open()
	w.note("the first one goes on, with %d requests on their way", asked)
	if rapid.IntRange(0, 3).Draw(t, "learns late") > 0 {
		w.giveMoment(func() bool { return false })
	}
	paused.gate.watches.open()
	if rapid.Bool().Draw(t, "finds out") {
		w.stopManager()
		w.note("it does not lead any more, and stops")
	}
}

// awaitActed gives the manager that took over the time to change a twin, and the one that
// is paused the time to want something of the hub.
func (w *world) awaitActed(d *device, paused *manager) {
	_, before, _ := w.held(d.id)
	w.give(2*readBack, func() bool {
		_, now, _ := w.held(d.id)
		return now != before && paused.gate.waiting.Load() > 0
	})
}
