package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// configured are the fields that hold what a manager is made of, whatever objects there
// are. Each one that is not listed has to be empty when there are none.
var configured = []string{
	"connections.suffixes",                                                                                                  // the hosts that are allowed
	"twins.connections.subscribers",                                                                                         // the controllers that are told
	"twins.connections.namespaces.subscribers", "twins.connections.namespaces.polled", "twins.connections.namespaces.known", // with --watch-namespaces
	"connections.identities.entra.CABundle",
}

// TestNothingIsRememberedOfWhatIsGone: whatever became of the objects while they were
// there, every store of the manager is empty once they are gone.
func TestNothingIsRememberedOfWhatIsGone(t *testing.T) {
	t.Parallel()
	var remembered func() []string
	w := newWorld(t, withPolicy("iothubowner"), func(w *world) {
		w.hubOptions.Devices = []string{"d1", "d2", "d3", "d4"}
		w.options.ListedPages = 1
		w.remembered = &remembered
	})
	stores := func() []string {
		return slices.DeleteFunc(remembered(), func(store string) bool {
			field, _, _ := strings.Cut(store, ":")
			return slices.Contains(configured, field)
		})
	}
	_, err := w.hub.AddModule("d1", "m1")
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(stores()).To(BeEmpty())
	for range 2 {
		w.churn()
		w.Expect(stores()).NotTo(BeEmpty())
		w.clear()
		w.Eventually(stores, patience, "50ms").Should(BeEmpty())
	}
}

// churn makes objects of every kind and in every state.
func (w *world) churn() {
	w.Helper()
	conn := w.connect()
	w.awaitReady(conn)
	w.createSecret("refused", strings.Replace(w.credential("service"), "SharedAccessKey=", "SharedAccessKey=AAAA", 1))
	refused, secretless := w.connection("refused"), w.connection("secretless")
	w.create(refused)
	w.create(secretless)
	w.await(refused, metav1.ConditionFalse, v1alpha1.ReasonUnauthorized)
	w.await(secretless, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)

	through := func(obj *v1alpha1.DeviceTwin, hub string) *v1alpha1.DeviceTwin {
		obj.Spec.HubRef.Name = hub
		return obj
	}
	suspended := w.twin("suspended", "d2", `{"a":1}`, "")
	suspended.Spec.Suspend = true
	cleared := w.twin("cleared", "d2", `{"a":1}`, "")
	cleared.Spec.DeletionPolicy = v1alpha1.DeletionClear
	module := w.twin("module", "d1", `{"a":1}`, "")
	module.Spec.ModuleID = "m1"
	registered := w.twin("registered", "new", `{"a":1}`, "")
	registered.Spec.Registration, registered.Spec.DeletionPolicy = v1alpha1.RegistrationCreate, v1alpha1.DeletionDelete
	for _, step := range []struct {
		obj    *v1alpha1.DeviceTwin
		status metav1.ConditionStatus
		reason string
	}{
		{w.twin("kept", "d1", `{"a":1}`, ""), metav1.ConditionTrue, v1alpha1.ReasonSucceeded},
		{w.twin("claimed", "d1", `{"a":2}`, ""), metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed},
		{w.twin("shown", "d1", "", ""), metav1.ConditionTrue, v1alpha1.ReasonSucceeded},
		{w.twin("alone", "d3", "", ""), metav1.ConditionTrue, v1alpha1.ReasonSucceeded},
		{suspended, metav1.ConditionUnknown, v1alpha1.ReasonSuspended},
		{cleared, metav1.ConditionTrue, v1alpha1.ReasonSucceeded},
		{module, metav1.ConditionTrue, v1alpha1.ReasonSucceeded},
		{registered, metav1.ConditionTrue, v1alpha1.ReasonSucceeded},
		{w.twin("invalid", "d4", `{"a.b":1}`, ""), metav1.ConditionFalse, v1alpha1.ReasonInvalidTwin},
		{w.twin("missing", "absent", "", ""), metav1.ConditionFalse, v1alpha1.ReasonDeviceNotFound},
		{through(w.twin("hubless", "d4", "", ""), "nowhere"), metav1.ConditionFalse, v1alpha1.ReasonHubNotFound},
		{through(w.twin("unready", "d4", "", ""), "refused"), metav1.ConditionFalse, v1alpha1.ReasonHubNotReady},
	} {
		w.create(step.obj)
		w.await(step.obj, step.status, step.reason)
	}
	w.edit(conn, func() { conn.Spec.Guard = &v1alpha1.Guard{MaxChangesPerHour: 1} })
	w.awaitReady(conn)
	for _, device := range []string{"d3", "d4"} {
		w.create(w.twin("paused-"+device, device, `{"a":1}`, ""))
	}
	for i, where := range []string{"tags.a = 1", "tags.a = 1", "deviceId != ''", "tags.a = "} {
		w.create(w.query(fmt.Sprintf("q%d", i), where))
	}
	for name, policy := range map[string]v1alpha1.SetPolicy{"cleared": v1alpha1.SetClear, "retained": v1alpha1.SetRetain} {
		set := w.set(name, "deviceId = 'd3'", `{"of":"`+name+`"}`, "")
		set.Spec.DeletionPolicy = policy
		w.create(set)
	}
	w.create(w.asks("tags.a = 1"))
	w.create(w.plans(w.twin("kept", "d1", `{"a":2}`, "")))
	w.awaitReadBacks(2)
	w.namesake("kept", "d1")
	w.recreate(conn)
}

// namesake puts another object in the place of a DeviceTwin.
func (w *world) namesake(name, device string) {
	w.Helper()
	before := w.twin(name, device, "", "")
	w.delete(before)
	w.create(w.twin(name, device, `{"a":3}`, ""))
}

// recreate puts another HubConnection in the place of one, and has it looked at.
func (w *world) recreate(conn *v1alpha1.HubConnection) {
	w.Helper()
	w.delete(conn)
	again := w.connection(conn.Name)
	w.create(again)
	w.awaitReady(again)
}

// clear deletes all objects, in no particular order.
func (w *world) clear() {
	w.Helper()
	for _, list := range []client.Object{&v1alpha1.TwinRequest{}, &v1alpha1.TwinQuery{}, &v1alpha1.DeviceTwinSet{}, &v1alpha1.DeviceTwin{}} {
		w.Expect(w.client.DeleteAllOf(w.Context(), list, client.InNamespace(w.ns))).To(Succeed())
	}
	w.Eventually(func() (left []string) { // the hub is cleaned up through it
		w.Expect(w.client.DeleteAllOf(w.Context(), &v1alpha1.DeviceTwin{}, client.InNamespace(w.ns))).To(Succeed())
		for _, obj := range w.objects() {
			if _, isConnection := obj.(*v1alpha1.HubConnection); !isConnection {
				left = append(left, obj.GetName())
			}
		}
		return left
	}, patience, "100ms").Should(BeEmpty())
	w.Expect(w.client.DeleteAllOf(w.Context(), &v1alpha1.HubConnection{}, client.InNamespace(w.ns))).To(Succeed())
	w.Expect(w.client.DeleteAllOf(w.Context(), &corev1.Secret{}, client.InNamespace(w.ns))).To(Succeed())
}
