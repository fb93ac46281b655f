package model_test

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

// maxSets is how many sets there are at once.
const maxSets = 2

// run is one sequence.
func (w *setWorld) run() {
	var names []string
	actions := map[string]func(*rapid.T){}
	add := func(weight int, name string, action func(*rapid.T)) {
		actions[name] = action
		names = append(names, slices.Repeat([]string{name}, weight)...)
	}
	add(6, "go on", w.actGoOn) // what shrinking leaves
	add(4, "edit the template", w.actTemplate)
	add(3, "move a device", w.actMove)
	add(3, "write", w.actForeign)
	add(4, "report", w.actAnswer)
	add(2, "connect", w.actConnect)
	add(2, "edit the rollout", w.actRollout)
	add(3, "approve", w.actApprove)
	add(2, "pause", w.actPauseSet)
	add(2, "command", w.actCommand)
	add(3, "disturb", w.actTrap)
	add(3, "crash", w.actCrashSet)
	add(1, "stall the index", w.actIndex)
	add(1, "change the mode", func(*rapid.T) { w.setMode(!w.readOnly) })
	add(2, "a DeviceTwin", w.actTwin)
	add(1, "another set", w.actSet)
	add(1, "rest", func(*rapid.T) { w.rest() })
	for range rapid.IntRange(15, 25).Draw(w.t, "actions") {
		actions[rapid.SampledFrom(names).Draw(w.t, "action")](w.t)
		w.judged()
	}
	w.finish()
}

func (w *setWorld) someSet(t *rapid.T) *declaredSet {
	staying := w.staying()
	if len(staying) == 0 {
		w.addSet(t, true)
		staying = w.staying()
		w.note("create %s", staying[0])
	}
	return staying[rapid.IntRange(0, len(staying)-1).Draw(t, "set")]
}

func (w *setWorld) someID(t *rapid.T) string { return rapid.SampledFrom(w.ids).Draw(t, "device") }

// actGoOn lets the sets make a few steps.
func (w *setWorld) actGoOn(t *rapid.T) {
	acknowledged := false
	for range rapid.IntRange(1, 4).Draw(t, "steps") {
		acknowledged = w.visit(moment)
	}
	w.note("the sets go on (all is known to them: %t)", acknowledged)
}

func (w *setWorld) actTemplate(t *rapid.T) {
	s := w.someSet(t)
	leaves := someSetLeaves().Draw(t, "template")
	if leaves.Equal(s.rules.Leaves) {
		return
	}
	s.rules.Leaves = leaves
	s.rules.TakesBack = false
	w.editSet(s, "edit")
}

// actMove has a device join or leave, or changes its wave.
func (w *setWorld) actMove(t *rapid.T) {
	for range rapid.IntRange(1, 3).Draw(t, "devices") {
		device := w.someID(t)
		tag := rapid.SampledFrom([]reference.Path{tagPlant, tagPlant, tagLine, tagRing}).Draw(t, "tag")
		values := map[reference.Path][]string{tagPlant: {`"43"`, `"44"`}, tagLine: {`"a"`, `"b"`}, tagRing: {`"canary"`, `"none"`}}[tag]
		value := rapid.SampledFrom(values).Draw(t, "value")
		w.writeAs(device, set(tag, value))
		w.note("%s of %s is %s", tag, device, value)
	}
}

func (w *setWorld) actForeign(t *rapid.T) {
	for range rapid.IntRange(1, 3).Draw(t, "writes") {
		device, change := w.someID(t), someForeign(t)
		w.writeAs(device, change)
		w.note("another writer writes to %s: %s", device, change)
	}
}

// actAnswer has devices say what they make of what they are to hold.
func (w *setWorld) actAnswer(t *rapid.T) {
	for range rapid.IntRange(1, 6).Draw(t, "devices") {
		device := w.someID(t)
		w.refuses[device] = rapid.IntRange(0, 4).Draw(t, "refuses") == 0
		if w.connected[device] != nil {
			w.report(device)
			w.note("%s answers (refuses: %t)", device, w.refuses[device])
		}
	}
}

func (w *setWorld) actConnect(t *rapid.T) {
	device := w.someID(t)
	connected := w.connected[device] == nil
	w.setConnected(device, connected)
	w.note("%s is connected: %t", device, connected)
}

func (w *setWorld) actRollout(t *rapid.T) {
	s := w.someSet(t)
	s.draw(t, someSetLeaves().Draw(t, "template"))
	s.rules.TakesBack = false
	w.editSet(s, "edit with its rollout")
}

// actApprove approves the wave that a set is at, or one of another revision.
func (w *setWorld) actApprove(t *rapid.T) {
	s := w.someSet(t)
	status := w.statusOf(s)
	if status.Revision == "" || status.Wave == "" {
		return
	}
	what := status.Revision + "/" + status.Wave
	w.hubEvents.Lock()
	w.fleet.Approve(s.key, what)
	w.hubEvents.Unlock()
	w.annotate(s, v1alpha1.ApproveAnnotation, what)
	w.note("approve %s of %s", what, s.name)
}

func (w *setWorld) actPauseSet(t *rapid.T) {
	s := w.someSet(t)
	if rapid.Bool().Draw(t, "suspend") {
		s.spec.Suspend = !s.spec.Suspend
	} else {
		s.spec.Rollout.Paused = !s.spec.Rollout.Paused
	}
	w.editSet(s, "pause or go on")
}

// actCommand has a user stop a revision, take it back, or go on.
func (w *setWorld) actCommand(t *rapid.T) {
	s := w.someSet(t)
	status := w.statusOf(s)
	revision := status.Revision
	verb := rapid.SampledFrom([]string{"abort", "rollback", "rollback", "resume"}).Draw(t, "verb")
	if verb == "resume" && status.FailedRevision != "" {
		revision = status.FailedRevision
	}
	s.rules.TakesBack = true
	w.declareSet(s)
	w.annotate(s, v1alpha1.RolloutAnnotation, revision+"/"+verb)
	w.note("%s %s of %s", verb, revision, s.name)
}

// actTrap disturbs the next changes of twins.
func (w *setWorld) actTrap(t *rapid.T) {
	for range rapid.IntRange(1, 3).Draw(t, "traps") {
		w.traps.set(w.someTrap(t, []string{trapDrop, trapStatus, trapRace, trapRace}))
	}
}

func (w *setWorld) someTrap(t *rapid.T, kinds []string) *trap {
	one := &trap{kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	switch one.kind {
	case trapStatus:
		one.status = rapid.SampledFrom([]int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}).Draw(t, "status")
	case trapRace:
		change := someForeign(t)
		one.before = func(device string) { w.writeAs(device, change) }
		w.note("another writer is going to be faster: %s", change)
		return one
	}
	w.note("the next change of a twin: %s %d", one.kind, one.status)
	return one
}

// actCrashSet stops the managers amid a change, and goes on while none is there.
func (w *setWorld) actCrashSet(t *rapid.T) {
	w.traps.openAll()
	one := w.traps.set(w.someTrap(t, []string{trapHold, trapQueue, trapQueue, trapDrop}))
	s := w.someSet(t)
	leaves := someSetLeaves().Draw(t, "template")
	if rapid.Bool().Draw(t, "edit") && !leaves.Equal(s.rules.Leaves) {
		s.rules.Leaves = leaves
		w.editSet(s, "edit")
	} else {
		device, change := w.someID(t), someForeign(t)
		w.writeAs(device, change)
		w.note("another writer writes to %s: %s", device, change)
	}
	w.give(moment, func() bool {
		w.nudge()
		select {
		case <-one.sprung:
			return true
		default:
			return false
		}
	})
	w.stopAll()
	for range rapid.IntRange(0, 2).Draw(t, "events meanwhile") {
		rapid.SampledFrom([]func(*rapid.T){w.actForeign, w.actMove, w.actAnswer, w.actTemplate}).Draw(t, "event")(t)
	}
	w.startManager()
	w.note("a manager starts")
	if one.kind == trapQueue && rapid.Bool().Draw(t, "goes on first") {
		w.visit(moment)
	}
	w.traps.openAll()
}

// actIndex has queries answered by an old index for a while.
func (w *setWorld) actIndex(*rapid.T) {
	if w.still != "" {
		w.hub.RemoveFault(w.still)
		w.still = ""
		w.note("the index is up to date again")
		return
	}
	id, err := w.hub.AddFault(hubemulator.Fault{Operation: query, Action: hubemulator.FaultIndexStall})
	w.Expect(err).NotTo(HaveOccurred())
	w.still = id
	w.note("the index stands still")
}

// actTwin has the DeviceTwin of a device come, or go.
func (w *setWorld) actTwin(t *rapid.T) {
	device := w.ids[rapid.IntRange(0, 2).Draw(t, "device")]
	if known := w.twins[device]; known != nil {
		if !known.leaving {
			w.deleteTwin(device)
		}
		return
	}
	w.made++
	twin := &declaredTwin{name: fmt.Sprintf("t%d", w.made), leaves: someSetLeaves().Draw(t, "declaration")}
	obj := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(twin.name)}
	obj.Spec.HubRef.Name, obj.Spec.DeviceID, obj.Spec.DeletionPolicy = "hub", device, v1alpha1.DeletionClear
	obj.Spec.Tags, obj.Spec.Desired = rawSection(twin.leaves, "tags"), rawSection(twin.leaves, "desired")
	w.twins[device] = twin
	w.hubEvents.Lock()
	w.fleet.DeclareTwin(device, twin.name, twin.leaves)
	w.hubEvents.Unlock()
	w.Expect(w.client.Create(w.context(), obj)).To(Succeed())
	w.note("create DeviceTwin %s of %s: %s", twin.name, device, twin.leaves)
}

func (w *setWorld) deleteTwin(device string) {
	twin := w.twins[device]
	twin.leaving = true
	w.hubEvents.Lock()
	w.fleet.DeclareTwin(device, twin.name, nil)
	w.hubEvents.Unlock()
	w.Expect(w.client.Delete(w.context(), &v1alpha1.DeviceTwin{ObjectMeta: w.meta(twin.name)})).To(Succeed())
	w.note("delete DeviceTwin %s", twin.name)
}

// actSet has another set come, or one go.
func (w *setWorld) actSet(t *rapid.T) {
	if staying := w.staying(); len(staying) == maxSets {
		if s := staying[rapid.IntRange(0, maxSets-1).Draw(t, "set")]; !s.spec.Suspend {
			w.deleteSet(s)
		}
		return
	}
	w.addSet(t, len(w.staying()) == 0)
	w.note("create %s", w.sets[len(w.sets)-1])
}

func (w *setWorld) setMode(readOnly bool) {
	mode := v1alpha1.ModeReadWrite
	if readOnly {
		mode = v1alpha1.ModeReadOnly
	}
	w.hubEvents.Lock()
	w.fleet.SetReadOnly(readOnly)
	w.hubEvents.Unlock()
	conn := &v1alpha1.HubConnection{ObjectMeta: w.meta(setsHub)}
	w.Expect(w.client.Patch(w.context(), conn, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"mode":%q}}`, mode)))).To(Succeed())
	w.readOnly = readOnly
	w.note("the mode of the sets' hub is %s", mode)
}

// pulse is how far a visit puts the managers' clock forward: more than any pause between two steps.
const pulse = 15 * time.Second
