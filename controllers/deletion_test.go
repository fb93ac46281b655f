package controllers_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// awaitGone waits until an object does not exist any more.
func (w *world) awaitGone(obj client.Object) {
	w.Helper()
	w.Eventually(func() bool {
		return apierrors.IsNotFound(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj.DeepCopyObject().(client.Object)))
	}, patience, "20ms").Should(BeTrue())
}

// clearing makes a DeviceTwin that is to be cleaned up behind, and waits for it.
func (w *world) clearing(tags, desired string) *v1alpha1.DeviceTwin {
	w.Helper()
	obj := w.twin("t1", "d1", tags, desired)
	obj.Spec.DeletionPolicy = v1alpha1.DeletionClear
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(obj.Finalizers).To(ConsistOf(v1alpha1.CleanupFinalizer))
	return obj
}

func TestClearDeletesOwnLeavesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.clearing(`{"location":{"plant":"Redmond43","floor":1},"taken":1}`, `{"level":1}`)
	w.edit(obj, func() { obj.Spec.Policies = []v1alpha1.PathPolicy{{Path: "tags.taken", Policy: v1alpha1.PolicyYield}} })
	w.awaitReady(obj)
	w.anotherWriter("d1", map[string]any{"taken": "by another", "location": map[string]any{"theirs": 1}})
	w.awaitCondition(obj, v1alpha1.ConditionDrifted, v1alpha1.ReasonYielded)
	w.delete(obj)
	w.awaitGone(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"location":{"theirs":1},"taken":"by another"}`))
	w.Expect(w.desired("d1")).To(Equal(`{}`))
	w.Eventually(w.eventReasons, patience).Should(ContainElement(And(HavePrefix("LeftBehind"), HaveSuffix("tags.taken"))))
}

func TestTheFinalizerFollowsThePolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.clearing(`{"plant":"Redmond43"}`, "")
	w.edit(obj, func() { obj.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
	w.Eventually(func() []string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		return obj.Finalizers
	}, patience).Should(BeEmpty())
	w.stop() // Retain needs no manager
	w.delete(obj)
	w.awaitGone(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Redmond43"}`))
}

func TestAnOutageIsNoDeparture(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.clearing(`{"plant":"Redmond43"}`, "")
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "*", Action: hubemulator.FaultStatus, Status: 503})
	w.Expect(err).NotTo(HaveOccurred())
	w.delete(obj)
	deleting := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
	w.Expect(deleting.Message).To(ContainSubstring("503"))
	w.hub.RemoveFault(fault)
	w.awaitGone(obj)
	w.Expect(w.tags("d1")).To(Equal("{}"))
}

// The deletion ends whatever has gone, and says what stays.
func TestDeletionNeverHangs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		breakIt func(w *world, conn *v1alpha1.HubConnection, obj *v1alpha1.DeviceTwin)
		// atOnce: nothing can be waited for.
		atOnce bool
		tags   string
		event  string
	}{
		"the hub does not answer": {func(w *world, _ *v1alpha1.HubConnection, _ *v1alpha1.DeviceTwin) {
			_, err := w.hub.AddFault(hubemulator.Fault{Operation: "*", Action: hubemulator.FaultReset})
			w.Expect(err).NotTo(HaveOccurred())
		}, false, `{"a":1}`, "LeftBehind the hub was not cleaned up"},
		"the credential is refused": {func(w *world, _ *v1alpha1.HubConnection, _ *v1alpha1.DeviceTwin) {
			_, err := w.hub.AddFault(hubemulator.Fault{Operation: "*", Action: hubemulator.FaultStatus, Status: 401})
			w.Expect(err).NotTo(HaveOccurred())
		}, false, `{"a":1}`, "LeftBehind the hub was not cleaned up"},
		"the Secret is gone": {func(w *world, _ *v1alpha1.HubConnection, obj *v1alpha1.DeviceTwin) {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "hub"}}
			w.delete(secret)
			w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotReady) // the session is gone too
		}, false, `{"a":1}`, "LeftBehind the hub was not cleaned up"},
		"the HubConnection is gone": {func(w *world, conn *v1alpha1.HubConnection, obj *v1alpha1.DeviceTwin) {
			w.delete(conn)
			w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotFound) // the session is gone too
		}, true, `{"a":1}`, "LeftBehind the hub was not cleaned up"},
		"the hub is read-only": {func(w *world, conn *v1alpha1.HubConnection, _ *v1alpha1.DeviceTwin) {
			w.edit(conn, func() { conn.Spec.Mode = v1alpha1.ModeReadOnly })
			w.awaitReady(conn)
		}, false, `{"a":1}`, "LeftBehind the hub was not cleaned up"},
		"the device is gone": {func(w *world, _ *v1alpha1.HubConnection, _ *v1alpha1.DeviceTwin) {
			w.Expect(w.hub.RemoveDevice("d1")).To(Succeed())
		}, true, "", "CleanedUp"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := clocktesting.NewFakePassiveClock(time.Now())
			w := newWorld(t, withClock(fake))
			conn := w.connect()
			obj := w.clearing(`{"a":1}`, "")
			tt.breakIt(w, conn, obj)
			w.delete(obj)
			if !tt.atOnce {
				w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
				w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
				fake.SetTime(fake.Now().Add(11 * time.Minute))
			}
			w.awaitGone(obj)
			if tt.tags != "" {
				w.Expect(w.tags("d1")).To(Equal(tt.tags))
			}
			w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix(tt.event)))
		})
	}
}

func TestALostWriteLeavesNoOrphan(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, withClock(fake))
	w.connect()
	obj := w.clearing(`{"a":1}`, "")
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: hubemulator.FaultQueue, Count: 1})
	w.Expect(err).NotTo(HaveOccurred())
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"b":1}`) })
	w.awaitHeld(1)
	w.stop()
	w.anotherWriter("d1", map[string]any{"a": nil}) // so that a look at the hub finds nothing to clear
	w.startManager()
	w.delete(obj)
	deleting := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
	w.Expect(deleting.Message).To(ContainSubstring("may still be on its way"))
	w.letArrive(fault, "updateTwin")
	fake.SetTime(fake.Now().Add(3 * time.Minute))
	w.awaitGone(obj)
	w.Expect(w.tags("d1")).To(Equal("{}"))
}

func TestASuccessorTakesOverWhatBothDeclare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	first := w.clearing(`{"both":1,"first":1}`, `{"both":1}`)
	second := w.twin("t2", "d1", `{"both":1,"second":1}`, `{"both":2}`)
	w.create(second)
	w.await(second, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)
	version := func() any { return w.held("d1")["properties"].(map[string]any)["desired"].(map[string]any)["$version"] }
	before := version().(float64)
	w.delete(first)
	w.awaitGone(first)
	w.awaitReady(second)
	w.Expect(w.tags("d1")).To(Equal(`{"both":1,"second":1}`))
	w.Expect(w.desired("d1")).To(Equal(`{"both":2}`))
	w.Expect(version()).To(Equal(before+1), "the device is told of one change, and of no gap")
}

// TestAHandOverKeepsTheOwnerTag: at no time is the twin anybody's to take.
func TestAHandOverKeepsTheOwnerTag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tapped := w.tap()
	conn := w.connectThrough(tapped.host, tapped.ca)
	w.edit(conn, func() { conn.Spec.OwnerTag = &v1alpha1.OwnerTag{Name: "managedBy", Value: "plant-a"} })
	first := w.clearing(`{"first":1}`, "")
	second := w.twin("t2", "d1", `{"second":1}`, "")
	w.create(second)
	w.await(second, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)
	before := tapped.count()
	w.delete(first)
	w.awaitGone(first)
	w.awaitReady(second)
	w.Expect(w.tags("d1")).To(Equal(`{"managedBy":"plant-a","second":1}`))
	w.Expect(tapped.changes(before)).To(HaveExactElements(
		HaveSuffix(`"tags":{"first":null}}`), HaveSuffix(`"tags":{"second":1}}`)))
}
