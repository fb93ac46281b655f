package controllers_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// terminate deletes a namespace and what is in it of ours, as the namespace
// controller does, which the test's API server has not.
func (w *world) terminate(namespace string, objects ...client.Object) {
	w.Helper()
	w.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	w.Eventually(func() corev1.NamespacePhase {
		var found corev1.Namespace
		w.Expect(w.client.Get(w.Context(), client.ObjectKey{Name: namespace}, &found)).To(Succeed())
		return found.Status.Phase
	}, patience).Should(Equal(corev1.NamespaceTerminating))
	for _, obj := range objects {
		w.delete(obj)
	}
}

// TestANamespaceThatGoesIsCleanedUpBehind: a namespace that is terminating takes no
// events and no new objects; what was left behind is said on the HubConnection.
func TestANamespaceThatGoesIsCleanedUpBehind(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		down bool // the hub, until the time is over
		tags string
		// device tells whether the registered device stays.
		device bool
		events []string // on the HubConnection
	}{
		"the hub answers": {
			tags:   `{"taken":"by another"}`,
			events: []string{"LeftBehind d1 of a namespace that was deleted: the hub holds values of another writer: tags.taken"},
		},
		"the hub does not answer": {
			down: true, tags: `{"a":1,"taken":"by another"}`, device: true,
			events: []string{
				"LeftBehind d1 of a namespace that was deleted: the hub was not cleaned up: ",
				"LeftBehind fresh of a namespace that was deleted: the hub was not cleaned up: ",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := testenv.Namespace(t, newClient(t), nil)
			fake := clocktesting.NewFakePassiveClock(time.Now())
			w := newWorld(t, withNamespace(tenant), withClock(fake), withPolicy("iothubowner"))
			conn := w.connect()
			w.edit(conn, func() { conn.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll })
			in := func(obj *v1alpha1.DeviceTwin, policy v1alpha1.DeletionPolicy) *v1alpha1.DeviceTwin {
				obj.Namespace, obj.Spec.HubRef.Namespace, obj.Spec.DeletionPolicy = tenant, w.ns, policy
				return obj
			}
			cleared := in(w.twin("cleared", "d1", `{"a":1,"taken":1}`, ""), v1alpha1.DeletionClear)
			cleared.Spec.Policies = []v1alpha1.PathPolicy{{Path: "tags.taken", Policy: v1alpha1.PolicyYield}}
			deleted := in(w.twin("deleted", "fresh", `{"a":1}`, ""), v1alpha1.DeletionDelete)
			deleted.Spec.Registration, deleted.Spec.ConnectionSecretName = v1alpha1.RegistrationCreate, "fresh"
			w.create(cleared)
			w.create(deleted)
			w.awaitReady(cleared)
			w.awaitReady(deleted)
			w.anotherWriter("d1", map[string]any{"taken": "by another"})
			w.awaitCondition(cleared, v1alpha1.ConditionDrifted, v1alpha1.ReasonYielded)

			if tt.down {
				_, err := w.hub.AddFault(hubemulator.Fault{Operation: "*", Action: hubemulator.FaultReset})
				w.Expect(err).NotTo(HaveOccurred())
			}
			w.terminate(tenant, cleared, deleted)
			if tt.down {
				w.await(cleared, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
				w.await(deleted, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
				fake.SetTime(fake.Now().Add(11 * time.Minute))
			}
			w.awaitGone(cleared)
			w.awaitGone(deleted)
			w.Expect(w.tags("d1")).To(Equal(tt.tags))
			_, err := w.hub.TwinJSON("fresh")
			w.Expect(err == nil).To(Equal(tt.device), "%v", err)
			for _, event := range tt.events {
				w.Eventually(func() []string { return w.eventsAbout(conn) }, patience).Should(ContainElement(HavePrefix(event)))
			}
		})
	}
}

// eventsAbout are the events about one object: reason and note.
func (w *world) eventsAbout(obj client.Object) []string {
	w.Helper()
	var out []string
	for _, e := range w.events(obj.GetNamespace()) {
		if e.Regarding.UID == obj.GetUID() {
			out = append(out, e.Reason+" "+e.Note)
		}
	}
	return out
}
