package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

func TestTheFirstKeepsATwinAndTheNextTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	first := w.twin("first", "d1", `{"plant":"Redmond43"}`, "")
	w.create(first)
	w.awaitReady(first)
	w.Expect(first.Status.Target).To(HaveSuffix("/d1"))
	second := w.twin("second", "d1", `{"plant":"Elsewhere"}`, "")
	w.create(second)
	ready := w.await(second, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)
	w.Expect(ready.Message).To(ContainSubstring(`DeviceTwin "first" keeps this twin`))
	w.Expect(second.Status.Target).To(BeEmpty())
	writes := w.calls("updateTwin")
	w.awaitReadBacks(2)
	w.Expect(w.calls("updateTwin")).To(Equal(writes))

	// A restart does not change hands, whichever is reconciled first.
	w.stop()
	w.startManager()
	w.visitTwin(second)
	w.visitTwin(first)
	w.await(second, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)
	w.awaitReady(first)
	w.checkConditions()

	w.delete(first)
	w.awaitReady(second)
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Elsewhere"}`))
}

// TestWhoWroteKeepsItsTwin also when it was suspended before its first status was
// written, and the manager that wrote has gone. A record that was made up takes
// nothing from anybody.
func TestWhoWroteKeepsItsTwin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	first, second := w.twin("first", "d1", `{"a":1}`, ""), w.twin("second", "d1", `{"a":2}`, "")
	w.create(first)
	w.awaitReady(first)
	w.stop()
	never := first.DeepCopy()
	never.Status = v1alpha1.DeviceTwinStatus{Record: first.Status.Record}
	w.Expect(w.client.Status().Update(w.Context(), never)).To(Succeed())
	w.edit(first, func() { first.Spec.Suspend = true })
	w.startManager()
	w.await(first, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	w.Expect(first.Status.Target).To(HaveSuffix("/d1"))

	w.stop()
	second.Spec.Suspend = true
	w.create(second)
	record := strings.ReplaceAll(first.Status.Record, string(first.UID), string(second.UID))
	w.setStatus(second, func() { second.Status.Record = record })
	w.startManager()
	w.await(second, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	w.Expect(second.Status.Target).To(BeEmpty())
	w.checkConditions()
}

// TestWhoWaitsForATwinIsWoken: not at the next look, which may be a minute off.
func TestWhoWaitsForATwinIsWoken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPatience())
	w.connect()
	first, second := w.twin("first", "d1", `{"a":1}`, ""), w.twin("second", "d1", `{"a":2}`, "")
	w.create(first)
	w.awaitReady(first)
	w.create(second)
	w.await(second, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)
	w.delete(first)
	w.awaitReady(second)
}

// TestASuspendedTwinClaimsNothing: it keeps what it has, and takes nothing.
func TestASuspendedTwinClaimsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	for i := range 8 { // any of them may have the smallest UID
		suspended := w.twin(fmt.Sprintf("suspended-%d", i), "d1", `{"a":0}`, "")
		suspended.Spec.Suspend = true
		w.create(suspended)
		w.await(suspended, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	}
	active := w.twin("active", "d1", `{"a":1}`, "")
	w.create(active)
	w.awaitReady(active)
	w.edit(active, func() { active.Spec.Suspend = true })
	w.await(active, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	w.stop()
	w.startManager() // so that only what is recorded counts
	another := w.twin("another", "d1", `{"a":2}`, "")
	w.create(another)
	w.await(another, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)
	w.Expect(w.tags("d1")).To(Equal(`{"a":1}`))
}

func TestClaimsCountAcrossHubConnectionsAndNamespaces(t *testing.T) {
	t.Parallel()
	tenant := testenv.Namespace(t, newClient(t), nil)
	w := newWorld(t, withNamespace(tenant))
	conn := w.connect()
	w.edit(conn, func() { conn.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll })
	w.createSecret("again", w.credential("iothubowner"))
	w.create(w.connection("again"))
	first := w.twin("first", "d1", `{"a":1}`, "")
	w.create(first)
	w.awaitReady(first)

	sameHost := w.twin("second", "d1", `{"a":2}`, "")
	sameHost.Spec.HubRef.Name = "again"
	w.create(sameHost)
	w.await(sameHost, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)
	elsewhere := w.twin("third", "d1", `{"a":3}`, "")
	elsewhere.Namespace, elsewhere.Spec.HubRef.Namespace = tenant, w.ns
	w.create(elsewhere)
	ready := w.await(elsewhere, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)
	w.Expect(ready.Message).To(And(ContainSubstring("another namespace"), Not(ContainSubstring("first")), Not(ContainSubstring(w.ns))))
	module := w.twin("module", "d1", "", "")
	module.Spec.ModuleID = "absent"
	w.create(module)
	w.await(module, metav1.ConditionFalse, v1alpha1.ReasonDeviceNotFound) // another twin: no claim against it
	w.Expect(w.tags("d1")).To(Equal(`{"a":1}`))

	// The winner may not use the hub any more.
	w.delete(sameHost)
	w.edit(conn, func() {
		conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: w.ns, DeviceIDPrefix: "x"}, {Namespace: tenant, DeviceIDPrefix: "d"}}
	})
	w.await(first, metav1.ConditionFalse, v1alpha1.ReasonDeviceNotAllowed)
	w.awaitReady(elsewhere)
	w.Expect(w.tags("d1")).To(Equal(`{"a":3}`))
}

func TestANamesakeTakesThePlaceOfADeletedTwin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"a":1}`, "")
	w.create(obj)
	w.awaitReady(obj)
	for range 5 { // sometimes so fast that it is not seen gone
		w.delete(obj)
		obj = w.twin("t1", "d1", `{"a":2}`, "")
		w.create(obj)
		w.awaitReady(obj)
	}
	w.Expect(w.tags("d1")).To(Equal(`{"a":2}`))
}

func TestOfManyAtOnceExactlyOneKeepsTheTwin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	var twins []*v1alpha1.DeviceTwin
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		obj := w.twin(name, "d1", `{"by":"`+name+`"}`, "")
		w.create(obj)
		twins = append(twins, obj)
	}
	reasons := func() string {
		var found []string
		for _, obj := range twins {
			if ready := w.condition(obj, v1alpha1.ConditionReady); ready != nil {
				found = append(found, ready.Reason)
			}
		}
		slices.Sort(found)
		return strings.Join(found, " ")
	}
	w.Eventually(reasons, patience).Should(Equal(strings.Repeat("DeviceClaimed ", 5) + "Succeeded"))
	w.Expect(w.calls("updateTwin")).To(Equal(1))
}

func TestATenantSeesNothingBeyondItsScope(t *testing.T) {
	t.Parallel()
	tenant := testenv.Namespace(t, newClient(t), nil)
	w := newWorld(t, withNamespace(tenant))
	conn := w.connect()
	w.edit(conn, func() {
		conn.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll
		conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: "another", DeviceIDPrefix: "d"}}
	})
	w.awaitReady(conn)
	for _, device := range []string{"line7-a", "line7-b", "line8-a", "it's"} {
		_, err := w.hub.AddDevice(device)
		w.Expect(err).NotTo(HaveOccurred())
	}
	in := func(obj *v1alpha1.DeviceTwin) *v1alpha1.DeviceTwin {
		obj.Namespace, obj.Spec.HubRef.Namespace = tenant, w.ns
		return obj
	}
	mine, theirs, missing := in(w.twin("mine", "line7-a", `{"a":1}`, "")), in(w.twin("theirs", "line8-a", `{"a":1}`, "")), in(w.twin("missing", "absent", "", ""))
	query := w.query("everything", "status = 'enabled' OR status != 'enabled'")
	query.Namespace, query.Spec.HubRef.Namespace = tenant, w.ns
	w.create(query)
	for _, obj := range []*v1alpha1.DeviceTwin{mine, theirs, missing} {
		w.create(obj)
		w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeviceNotAllowed)
	}
	w.await(query, metav1.ConditionFalse, v1alpha1.ReasonDeviceNotAllowed)
	w.Expect(w.calls("query")).To(BeZero())
	w.Expect(w.calls("getTwin")).To(Equal(1), "the HubConnection's own")

	w.edit(conn, func() {
		conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: tenant, DeviceIDPrefix: "line7-"}, {Namespace: tenant, DeviceIDPrefix: "it's"}}
	})
	w.awaitReady(mine)
	w.awaitReady(query)
	w.Expect(query.Status.Devices).To(Equal([]string{"it's", "line7-a", "line7-b"}))
	out := w.await(theirs, metav1.ConditionFalse, v1alpha1.ReasonDeviceNotAllowed)
	absent := w.await(missing, metav1.ConditionFalse, v1alpha1.ReasonDeviceNotAllowed)
	w.Expect(strings.ReplaceAll(out.Message, "line8-a", "absent")).To(Equal(absent.Message), "whether a device exists is not told")
	w.Expect(w.tags("line8-a")).To(Equal("{}"))
	// The owner's namespace is bound only by entries of its own.
	own := w.twin("own", "line8-a", `{"b":1}`, "")
	w.create(own)
	w.awaitReady(own)
}

func TestAnotherClustersDeviceIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	w.edit(conn, func() { conn.Spec.OwnerTag = &v1alpha1.OwnerTag{Value: "cluster-a"} })
	w.awaitReady(conn)
	_, err := w.hub.AddDevice("d2")
	w.Expect(err).NotTo(HaveOccurred())
	w.anotherWriter("d2", map[string]any{"managedBy": "cluster-b"})
	mine, foreign := w.twin("mine", "d1", `{"a":1}`, ""), w.twin("foreign", "d2", `{"a":1}`, "")
	w.create(mine)
	w.create(foreign)
	w.awaitReady(mine)
	w.Expect(w.tags("d1")).To(Equal(`{"a":1,"managedBy":"cluster-a"}`))
	ready := w.await(foreign, metav1.ConditionFalse, v1alpha1.ReasonOwnedElsewhere)
	w.Expect(ready.Message).To(ContainSubstring(`"cluster-b"`))
	w.Expect(w.tags("d2")).To(Equal(`{"managedBy":"cluster-b"}`))
	w.checkConditions()

	w.edit(mine, func() { mine.Spec.Tags = raw(`{"a":1,"managedBy":"me"}`) })
	ready = w.await(mine, metav1.ConditionFalse, v1alpha1.ReasonInvalidTwin)
	w.Expect(ready.Message).To(HavePrefix("spec.tags.managedBy: Invalid value: the owner tag"))
	w.anotherWriter("d2", map[string]any{"managedBy": nil})
	w.awaitReady(foreign)
	w.edit(conn, func() { conn.Spec.OwnerTag = nil })
	w.Eventually(func() string { return w.tags("d2") }, patience).Should(Equal(`{"a":1}`))
}

// TestADeletionTouchesNoOtherClustersTwin: what carries another writer's owner tag is
// theirs, also what we wrote there before.
func TestADeletionTouchesNoOtherClustersTwin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	w.edit(conn, func() { conn.Spec.OwnerTag = &v1alpha1.OwnerTag{Name: "managedBy", Value: "cluster-a"} })
	obj := w.clearing(`{"a":1}`, "")
	w.anotherWriter("d1", map[string]any{"managedBy": "cluster-b"})
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonOwnedElsewhere)
	w.delete(obj)
	w.awaitGone(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"a":1,"managedBy":"cluster-b"}`))
	w.Eventually(w.eventReasons, patience).Should(ContainElement(And(HavePrefix("LeftBehind"), ContainSubstring(`"cluster-b"`))))
}

func TestASuspendedTwinKeepsWhatItWroteJustBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	first := w.twin("t1", "d1", `{"first":1}`, "")
	release := w.createHeld("updateTwin", []*v1alpha1.DeviceTwin{first})
	w.edit(first, func() { first.Spec.Suspend = true })
	release()
	w.await(first, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	w.Expect(w.tags("d1")).To(Equal(`{"first":1}`))
	w.stop()
	w.startManager()
	second := w.twin("t2", "d1", `{"second":1}`, "")
	w.create(second)
	w.await(second, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)
}

// TestAScopeOfItsOwnBeatsASquatter: whichever came first, and after a restart.
func TestAScopeOfItsOwnBeatsASquatter(t *testing.T) {
	t.Parallel()
	tenant := testenv.Namespace(t, newClient(t), nil)
	w := newWorld(t, withNamespace(tenant), withPatience())
	conn := w.connect()
	w.edit(conn, func() {
		conn.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll
		conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: tenant, DeviceIDPrefix: "d"}}
	})
	squatter := w.twin("squatter", "d1", `{"a":1}`, "") // the owner's namespace is not bound by the scopes of others
	w.create(squatter)
	w.awaitReady(squatter)
	entitled := w.twin("entitled", "d1", `{"a":2}`, "")
	entitled.Namespace, entitled.Spec.HubRef.Namespace = tenant, w.ns
	w.create(entitled)
	w.awaitReady(entitled)
	w.await(squatter, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)
	w.Expect(squatter.Status.Target).To(BeEmpty())
	w.Expect(w.tags("d1")).To(Equal(`{"a":2}`))

	w.stop()
	w.startManager()
	w.visitTwin(squatter)
	w.await(squatter, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)
	w.visitTwin(entitled)
	w.awaitReady(entitled)
	w.delete(entitled)
	w.awaitReady(squatter)
}

// TestWhoNeverWritesKeepsNoOtherOneOut: both show the twin, and only one writes.
func TestWhoNeverWritesKeepsNoOtherOneOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	w.edit(conn, func() { conn.Spec.OwnerTag = &v1alpha1.OwnerTag{Name: "managedBy", Value: "cluster-a"} })
	w.awaitReady(conn)
	empty, observer := w.twin("empty", "d1", "", ""), w.twin("observer", "d1", `{"a":0}`, "")
	observer.Spec.Policy = v1alpha1.PolicyObserve
	for _, obj := range []*v1alpha1.DeviceTwin{empty, observer} {
		w.create(obj)
		w.awaitReady(obj)
	}
	w.Expect(w.tags("d1")).To(Equal("{}"), "not even the owner tag")
	writer := w.twin("writer", "d1", `{"a":1}`, "")
	w.create(writer)
	w.awaitReady(writer)
	w.Expect(w.tags("d1")).To(Equal(`{"a":1,"managedBy":"cluster-a"}`))
	for _, obj := range []*v1alpha1.DeviceTwin{empty, observer} {
		w.Eventually(func() string {
			w.awaitReady(obj)
			return obj.Status.ETag
		}, patience).Should(Equal(writer.Status.ETag), "it shows what the writer wrote")
		w.Expect(obj.Status.Target).To(BeEmpty())
	}
	writes := w.calls("updateTwin")

	// What it declared is taken off, and the twin is anybody's.
	w.edit(writer, func() { writer.Spec.Tags = nil })
	w.Eventually(func() string { return w.tags("d1") }, patience).ShouldNot(ContainSubstring(`"a"`))
	w.edit(empty, func() { empty.Spec.Tags = raw(`{"a":3}`) })
	w.awaitReady(empty)
	w.Expect(w.tags("d1")).To(ContainSubstring(`"a":3`))
	w.Expect(w.calls("updateTwin")).To(BeNumerically("<=", writes+3))
	w.checkConditions()
}

// TestTheFirstWriteTellsWhoKeepsTheTwin: a manager may end right after it, before the rest of
// the status is written. No rival may take over then what another object has written.
func TestTheFirstWriteTellsWhoKeepsTheTwin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("first", "d1", `{"a":1}`, "")
	release := w.createHeld("updateTwin", []*v1alpha1.DeviceTwin{obj})
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
	w.Expect(obj.Status.ObservedGeneration).To(BeEquivalentTo(-1), "nothing but what is written ahead")
	w.Expect(obj.Status.Target).To(HaveSuffix("/d1"))
	release()
	w.awaitReady(obj)
}
