package model_test

import (
	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

// maxSnapshots bounds how far back a hub is restored to.
const maxSnapshots = 3

// snapshot is the hub at a rest.
type snapshot struct {
	hub   *hubemulator.Snapshot
	twins map[string]snapshotTwin // by device
}

type snapshotTwin struct {
	leaves     reference.Leaves
	registered bool
}

// takeSnapshot is for a moment at which nothing is written.
func (w *world) takeSnapshot() {
	taken := snapshot{hub: w.hub.Snapshot(), twins: map[string]snapshotTwin{}}
	for _, d := range w.devices {
		leaves, _, registered := w.held(d.id)
		taken.twins[d.id] = snapshotTwin{leaves, registered}
	}
	w.snapshots = append(w.snapshots, taken)
	w.snapshots = w.snapshots[max(0, len(w.snapshots)-maxSnapshots):]
}

// actRestoreHub restores the hub, or one device, from what it was at an earlier rest. No visit is
// asked for then: the read-back has to find out.
func (w *world) actRestoreHub(t *rapid.T) {
	w.rest()
	if len(w.snapshots) < 2 {
		d, o := w.someWriter(t)
		w.editAnew(t, d, o)
		w.rest()
	}
	from := w.snapshots[rapid.IntRange(0, len(w.snapshots)-2).Draw(t, "snapshot")]
	restored := w.devices
	if d := w.someDevice(t); rapid.Bool().Draw(t, "one device") && w.knows(d) {
		w.Expect(w.hub.Restore(from.hub, d.id)).To(Succeed())
		restored = []*device{d}
	} else {
		w.Expect(w.hub.Restore(from.hub)).To(Succeed())
	}
	for _, d := range restored {
		then := from.twins[d.id]
		d.reference.RestoreHub(then.registered, then.leaves)
		w.note("%s is restored as it was at an earlier rest: registered %t, %s", d.id, then.registered, then.leaves)
	}
	w.Eventually(w.unlike, patience, poll).Should(BeEmpty())
	w.note("   and in step again")
}

func (w *world) knows(d *device) bool {
	_, _, registered := w.held(d.id)
	return registered
}

// unlike are the devices that do not look as the rules want them to at rest.
func (w *world) unlike() []string {
	var out []string
	objects := w.list()
	for _, d := range w.devices {
		if seen := w.seen(d, objects); !d.reference.Fits(seen) {
			out = append(out, d.id+": "+w.readable(seen.String()))
		}
	}
	return out
}
