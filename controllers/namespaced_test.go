package controllers_test

import (
	"net/http"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// label sets a label of a namespace, as an administrator does.
func (w *world) label(namespace, key, value string) {
	w.Helper()
	obj := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	w.edit(obj, func() { metav1.SetMetaDataLabel(&obj.ObjectMeta, key, value) })
}

// checkAskedOnlyFor holds that the manager asked for nothing beyond namespaces, and was
// refused nothing.
func (w *world) checkAskedOnlyFor(namespaces ...string) {
	w.Helper()
	requests := w.requests()
	w.Expect(requests).NotTo(BeEmpty())
	for _, r := range requests {
		w.Expect(r.ResponseStatus.Code).NotTo(Equal(http.StatusForbidden), "%s %s", r.Verb, r.RequestURI)
		if r.ObjectRef.Resource != "" {
			w.Expect(namespaces).To(ContainElement(r.ObjectRef.Namespace), "%s %s", r.Verb, r.RequestURI)
		}
	}
}

// TestTwoNamespacesAreEnough: with Roles in two namespaces a HubConnection of one serves both,
// as its labels say, and the manager asks for nothing else.
func TestTwoNamespacesAreEnough(t *testing.T) {
	t.Parallel()
	owner := testenv.Namespace(t, newClient(t), nil)
	w := newWorld(t, withAccountIn(boundNamespace), withNamespace(owner), withPolicy("iothubowner"))
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: owner, Name: "hub"}, StringData: map[string]string{"connectionString": w.credential("iothubowner")},
	})
	conn := w.connection("hub")
	conn.Namespace = owner
	conn.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
		From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"plant": "admitted"}},
	}
	w.create(conn)
	w.awaitReady(conn)
	obj := w.registering("new-1")
	obj.Spec.HubRef.Namespace = owner
	asks := w.query("q", "tags.plant = 'Redmond43'")
	asks.Spec.HubRef.Namespace = owner
	w.create(obj)
	w.create(asks)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotAllowed)

	w.label(w.ns, "plant", "admitted")
	w.awaitReady(obj)
	w.awaitReady(asks)
	w.Eventually(w.memberships(obj), patience).Should(ConsistOf("q"))
	w.Expect(metav1.IsControlledBy(w.connectionSecret(), obj)).To(BeTrue())
	w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix("Registered")))

	w.label(w.ns, "plant", "another")
	w.await(asks, metav1.ConditionFalse, v1alpha1.ReasonHubNotAllowed)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotAllowed)
	w.label(w.ns, "plant", "admitted")
	w.awaitReady(obj)
	w.edit(obj, func() { obj.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	w.awaitReady(obj)
	w.delete(obj)
	w.awaitGone(obj)
	w.Expect(w.registered("new-1")).To(BeFalse())
	w.checkAskedOnlyFor(w.ns, owner)
}

// TestAHubOfANamespaceThatIsNotWatched is not looked for, whether there is one or not.
func TestAHubOfANamespaceThatIsNotWatched(t *testing.T) {
	t.Parallel()
	elsewhere := testenv.Namespace(t, newClient(t), nil)
	w := newWorld(t, withAccountIn(boundNamespace))
	conn := w.connection("hub")
	conn.Namespace = elsewhere
	conn.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll
	w.create(conn)
	t.Cleanup(func() { w.delete(conn) })
	for _, name := range []string{"hub", "none"} {
		obj := w.twin("to-"+name, "d1", "", "")
		obj.Spec.HubRef = v1alpha1.HubReference{Name: name, Namespace: elsewhere}
		w.create(obj)
		ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubOutsideShard)
		w.Expect(ready.Message).To(And(ContainSubstring("%q", elsewhere), ContainSubstring("--watch-namespaces="+w.ns)))
		w.delete(obj)
	}
	w.checkAskedOnlyFor(w.ns)
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(conn), conn)).To(Succeed())
	w.Expect(conn.Status.Conditions).To(BeEmpty(), "no manager keeps it")
}

// TestShardsOfANamespace: what is divided by labels there as well is looked for there alone.
func TestShardsOfANamespace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAccountIn(boundNamespace), withShard("a"))
	w.createSecret("hub", w.credential("service"))
	conn := in("b", w.connection("hub"))
	w.create(conn)
	obj := in("a", w.twin("t1", "d1", `{"a":1}`, ""))
	w.create(obj)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubOutsideShard)
	w.move(conn, "a")
	w.awaitReady(obj)
	w.checkAskedOnlyFor(w.ns)
}
