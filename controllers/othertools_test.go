package controllers_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// deed is what a tool that knows nothing of the operator does to an object. Its name is
// that of the object and of its device.
type deed string

const (
	replaced         deed = "replaced"         // by the same manifest
	replacedAnew     deed = "replaced-anew"    // by one that declares something else
	lostAnnotations  deed = "lost-annotations" // all that it had
	lostItsFinalizer deed = "lost-its-finalizer"
)

var deeds = []deed{replaced, replacedAnew, lostAnnotations, lostItsFinalizer}

// What the objects declare in Git, and what replacedAnew makes of it: a tag goes, and a
// scalar becomes an object.
const (
	tagsInGit     = `{"firmware":"1.2.0","obsolete":true,"plant":"Redmond43"}`
	tagsInGitAnew = `{"firmware":{"version":"1.3.0"},"plant":"Redmond43"}`
)

// stage is a state of the life cycle, with how objects come to it.
type stage struct {
	// registers tells that every object registers its device, not only those that
	// deregister it.
	registers bool
	// reach brings new objects to it; the function it returns ends it.
	reach func(w *world, conn *v1alpha1.HubConnection, objects []*v1alpha1.DeviceTwin) (leave func())
	// leavesNothing: an object that loses its finalizer then is gone at once.
	leavesNothing bool
	// idle: no request to the hub is on its way, so that the finalizer is back at once.
	idle bool
}

var stages = map[string]stage{
	"fresh": {reach: func(w *world, _ *v1alpha1.HubConnection, objects []*v1alpha1.DeviceTwin) func() {
		return w.createHeld("getTwin", objects)
	}},
	"registering": {registers: true, reach: func(w *world, _ *v1alpha1.HubConnection, objects []*v1alpha1.DeviceTwin) func() {
		return w.createHeld("putDevice", objects)
	}},
	"synced": {idle: true, reach: func(w *world, _ *v1alpha1.HubConnection, objects []*v1alpha1.DeviceTwin) func() {
		w.createReady(objects)
		return func() {}
	}},
	"drifted": {idle: true, reach: func(w *world, conn *v1alpha1.HubConnection, objects []*v1alpha1.DeviceTwin) func() {
		w.createReady(objects)
		w.edit(conn, func() { conn.Spec.Mode = v1alpha1.ModeReadOnly })
		w.awaitReady(conn)
		for _, obj := range objects {
			w.anotherWriter(obj.Spec.DeviceID, map[string]any{"plant": "another"})
			w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubReadOnly)
		}
		return func() { w.edit(conn, func() { conn.Spec.Mode = v1alpha1.ModeReadWrite }) }
	}},
	"suspended": {idle: true, reach: func(w *world, _ *v1alpha1.HubConnection, objects []*v1alpha1.DeviceTwin) func() {
		w.createReady(objects)
		for _, obj := range objects {
			w.edit(obj, func() { obj.Spec.Suspend = true })
			w.await(obj, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
		}
		return func() {
			for _, obj := range objects {
				w.edit(obj, func() { obj.Spec.Suspend = false })
			}
		}
	}},
	"deleting": {leavesNothing: true, reach: func(w *world, _ *v1alpha1.HubConnection, objects []*v1alpha1.DeviceTwin) func() {
		w.createReady(objects)
		outage, err := w.hub.AddFault(hubemulator.Fault{Operation: hubemulator.FaultAnyOperation, Action: hubemulator.FaultStatus, Status: 503})
		w.Expect(err).NotTo(HaveOccurred())
		for _, obj := range objects {
			w.delete(obj)
			w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
		}
		return func() { w.hub.RemoveFault(outage) }
	}},
}

// createHeld creates objects, and waits until the hub holds a request for each of them.
func (w *world) createHeld(operation string, objects []*v1alpha1.DeviceTwin) (release func()) {
	w.Helper()
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: operation, Action: hubemulator.FaultHold})
	w.Expect(err).NotTo(HaveOccurred())
	for _, obj := range objects {
		w.create(obj)
	}
	w.awaitHeld(len(objects))
	return func() { w.hub.RemoveFault(fault) }
}

func (w *world) createReady(objects []*v1alpha1.DeviceTwin) {
	w.Helper()
	for _, obj := range objects {
		w.create(obj)
	}
	for _, obj := range objects {
		w.awaitReady(obj)
	}
	w.awaitReadBacks(2)
}

// TestOtherToolsHarmNothing: what a tool does to objects that it has in Git, by a replace
// or by pruning what it does not know, orphans no leaf, registers no device again, and has
// no clean-up left out without a word.
func TestOtherToolsHarmNothing(t *testing.T) {
	t.Parallel()
	for _, name := range slices.Sorted(maps.Keys(stages)) {
		for _, policy := range []v1alpha1.DeletionPolicy{v1alpha1.DeletionRetain, v1alpha1.DeletionClear, v1alpha1.DeletionDelete} {
			if name == "deleting" && policy == v1alpha1.DeletionRetain {
				continue // is gone at once
			}
			t.Run(name+" "+string(policy), func(t *testing.T) {
				t.Parallel()
				stages[name].run(t, policy)
			})
		}
	}
}

func (s stage) run(t *testing.T, policy v1alpha1.DeletionPolicy) {
	t.Helper()
	registers := s.registers || policy == v1alpha1.DeletionDelete
	w := newWorld(t, withPolicy("iothubowner"), withDevices(registers))
	conn := w.connect()
	w.awaitReady(conn)
	var objects []*v1alpha1.DeviceTwin
	for _, done := range deeds {
		obj := w.twin(string(done), string(done), tagsInGit, "")
		obj.Spec.DeletionPolicy = policy
		if registers {
			obj.Spec.Registration, obj.Spec.ConnectionSecretName = v1alpha1.RegistrationCreate, "keys-of-"+string(done)
		}
		objects = append(objects, obj)
	}
	leave := s.reach(w, conn, objects)
	w.doAll(objects)
	if s.leavesNothing {
		leave()
		w.checkToldWhatBecame(objects)
		return
	}
	if s.idle {
		w.awaitFinalizers(objects, policy)
	}
	leave()
	for _, obj := range objects {
		w.awaitReady(obj)
		w.Expect(w.tags(obj.Spec.DeviceID)).To(Equal(tagsAfter(obj)), obj.Name)
		w.anotherWriter(obj.Spec.DeviceID, map[string]any{"theirs": 1})
	}
	w.awaitFinalizers(objects, policy)
	for _, obj := range objects {
		w.delete(obj)
	}
	for _, obj := range objects {
		w.awaitGone(obj)
		w.checkLeft(obj)
	}
	if registers {
		w.Expect(w.calls("putDevice")).To(Equal(len(objects)), "no device is registered twice")
	}
}

// withDevices has the hub know the devices of all deeds, unless they are to be registered.
func withDevices(registered bool) setting {
	return func(w *world) {
		w.hubOptions.Devices = nil
		for _, done := range deeds {
			if !registered {
				w.hubOptions.Devices = append(w.hubOptions.Devices, string(done))
			}
		}
	}
}

func tagsAfter(obj *v1alpha1.DeviceTwin) string {
	if obj.Name == string(replacedAnew) {
		return tagsInGitAnew
	}
	return tagsInGit
}

// doAll does to each object what its name says.
func (w *world) doAll(objects []*v1alpha1.DeviceTwin) {
	w.Helper()
	var manifests []*v1alpha1.DeviceTwin
	for _, obj := range objects {
		switch deed(obj.Name) {
		case replaced:
			manifests = append(manifests, obj)
		case replacedAnew:
			obj.Spec.Tags = raw(tagsInGitAnew)
			manifests = append(manifests, obj)
		case lostAnnotations:
			w.prune(obj, "annotations")
		case lostItsFinalizer:
			w.prune(obj, "finalizers")
		}
	}
	w.replace(manifests...)
}

// replace is `kubectl replace -f` of what is in Git of the objects: nothing that the API
// server or a manager added. Argo CD does the same with the option Replace=true.
func (w *world) replace(objects ...*v1alpha1.DeviceTwin) {
	w.Helper()
	for _, obj := range objects {
		text, err := json.Marshal(map[string]any{
			"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "DeviceTwin",
			"metadata": map[string]any{"namespace": obj.Namespace, "name": obj.Name}, "spec": obj.Spec,
		})
		w.Expect(err).NotTo(HaveOccurred())
		w.Eventually(func(g Gomega) {
			out, err := w.kubectlReplace(text)
			if err == nil {
				return
			}
			// kubectl reads the version that it replaces; a status may be written in between.
			g.Expect(out).NotTo(ContainSubstring("Error from server (Conflict)"))
			StopTrying(out).Wrap(err).Now()
		}, patience).Should(Succeed())
	}
}

func (w *world) kubectlReplace(manifest []byte) (string, error) {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), w.env.Kubectl(), "--kubeconfig", w.env.KubeconfigFile(w.T), "replace", "-f", "-")
	cmd.Stdin = bytes.NewReader(manifest)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// awaitFinalizers waits until each object has the finalizer that its policy needs.
func (w *world) awaitFinalizers(objects []*v1alpha1.DeviceTwin, policy v1alpha1.DeletionPolicy) {
	w.Helper()
	wanted := ConsistOf(v1alpha1.CleanupFinalizer)
	if policy == v1alpha1.DeletionRetain {
		wanted = BeEmpty()
	}
	for _, obj := range objects {
		w.Eventually(w.finalizers(obj), patience, "20ms").Should(wanted, obj.Name)
	}
}

// checkLeft holds what is left of an object that is gone against its policy.
func (w *world) checkLeft(obj *v1alpha1.DeviceTwin) {
	w.Helper()
	switch obj.Spec.DeletionPolicy {
	case v1alpha1.DeletionRetain:
		w.Expect(w.tags(obj.Spec.DeviceID)).To(Equal(strings.TrimSuffix(tagsAfter(obj), "}") + `,"theirs":1}`))
		return
	case v1alpha1.DeletionClear:
		w.Expect(w.tags(obj.Spec.DeviceID)).To(Equal(`{"theirs":1}`), obj.Name)
	case v1alpha1.DeletionDelete:
		w.Expect(w.registered(obj.Spec.DeviceID)).To(BeFalse(), obj.Name)
	}
	w.Eventually(func() []string { return w.eventsAbout(obj) }, patience).Should(ContainElement(HavePrefix(v1alpha1.EventCleanedUp)), obj.Name)
}

// checkToldWhatBecame is for objects whose deletion another tool cut short: the hub is
// cleaned up, or an event says that it was not.
func (w *world) checkToldWhatBecame(objects []*v1alpha1.DeviceTwin) {
	w.Helper()
	for _, obj := range objects {
		w.awaitGone(obj)
		if obj.Name == string(lostAnnotations) {
			w.checkCleanedUp(obj)
			continue
		}
		w.Eventually(func() []string { return w.eventsNaming(obj) }, patience).Should(ContainElement(HavePrefix(v1alpha1.EventLeftBehind)), obj.Name)
	}
}

// eventsNaming are the events about an object of that name: of one that is gone, no more
// than that may be known.
func (w *world) eventsNaming(obj client.Object) []string {
	w.Helper()
	var out []string
	for _, e := range w.events(obj.GetNamespace()) {
		if e.Regarding.Name == obj.GetName() {
			out = append(out, e.Reason+" "+e.Note)
		}
	}
	return out
}

func (w *world) checkCleanedUp(obj *v1alpha1.DeviceTwin) {
	w.Helper()
	if obj.Spec.DeletionPolicy == v1alpha1.DeletionDelete {
		w.Expect(w.registered(obj.Spec.DeviceID)).To(BeFalse(), obj.Name)
	} else {
		w.Expect(w.tags(obj.Spec.DeviceID)).To(Equal("{}"), obj.Name)
	}
	w.Eventually(func() []string { return w.eventsAbout(obj) }, patience).Should(ContainElement(HavePrefix(v1alpha1.EventCleanedUp)), obj.Name)
}

// TestAReplaceRegistersNothingAnew: a device that was decommissioned stays away, whatever
// is applied again.
func TestAReplaceRegistersNothingAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"))
	w.connect()
	obj := w.registering("new-1")
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(w.hub.RemoveDevice("new-1")).To(Succeed())
	w.replace(obj)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeviceDeleted)
	w.replace(obj)
	w.visitTwin(obj)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeviceDeleted)
	w.Expect(w.registered("new-1")).To(BeFalse())
	w.Expect(w.calls("putDevice")).To(Equal(1))
}
