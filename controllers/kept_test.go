package controllers_test

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// prune takes something off an object's metadata, as tools do that know only what is in
// Git.
func (w *world) prune(obj client.Object, what string) {
	w.Helper()
	w.Expect(w.client.Patch(w.Context(), obj, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"`+what+`":null}}`)))).To(Succeed())
}

func (w *world) finalizers(obj *v1alpha1.DeviceTwin) func() []string {
	return func() []string {
		w.Helper()
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		return obj.Finalizers
	}
}

// registry is a client of the hub that may register devices.
func (w *world) registry() hub.Session {
	w.Helper()
	session, err := hub.Open(hub.Config{
		ConnectionString: w.credential("iothubowner"), CABundle: w.hub.CACertificatePEM(), AllowedHostSuffixes: []string{"localhost"},
	})
	w.Expect(err).NotTo(HaveOccurred())
	return session
}

// TestAFinalizerIsThereWhateverTheHubDoes: it needs no hub, and is put back when it is
// taken off.
func TestAFinalizerIsThereWhateverTheHubDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPatience())
	early := w.twin("early", "d1", `{"a":1}`, "")
	early.Spec.DeletionPolicy = v1alpha1.DeletionClear
	w.create(early) // before there is a HubConnection
	w.Eventually(w.finalizers(early), patience).Should(ConsistOf(v1alpha1.CleanupFinalizer))
	w.connect()
	w.awaitReady(early)

	later := w.twin("later", "d2", `{"a":1}`, "")
	_, err := w.hub.AddDevice("d2")
	w.Expect(err).NotTo(HaveOccurred())
	w.create(later)
	w.awaitReady(later)
	w.Expect(later.Finalizers).To(BeEmpty())
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "*", Action: hubemulator.FaultHang})
	w.Expect(err).NotTo(HaveOccurred())
	w.edit(later, func() { later.Spec.DeletionPolicy = v1alpha1.DeletionClear })
	w.Eventually(w.finalizers(later), patience).Should(ConsistOf(v1alpha1.CleanupFinalizer))
	for _, obj := range []*v1alpha1.DeviceTwin{early, later} {
		w.prune(obj, "finalizers")
		w.Eventually(w.finalizers(obj), patience).Should(ConsistOf(v1alpha1.CleanupFinalizer))
	}
	w.hub.RemoveFault(fault)
	for _, obj := range []*v1alpha1.DeviceTwin{early, later} {
		w.delete(obj)
		w.awaitGone(obj)
		w.Expect(w.tags(obj.Spec.DeviceID)).To(Equal("{}"))
	}
}

// TestACleanUpThatIsPreventedIsTold: an object that goes without its finalizer says so.
func TestACleanUpThatIsPreventedIsTold(t *testing.T) {
	t.Parallel()
	const told = "LeftBehind the hub was not cleaned up: the finalizer"
	t.Run("taken off while it is deleted", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.connect()
		obj := w.clearing(`{"a":1}`, "")
		_, err := w.hub.AddFault(hubemulator.Fault{Operation: "*", Action: hubemulator.FaultStatus, Status: 503})
		w.Expect(err).NotTo(HaveOccurred())
		w.delete(obj)
		w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
		w.prune(obj, "finalizers")
		w.awaitGone(obj)
		w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix(told)))
	})
	t.Run("taken off while another one stays", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.connect()
		obj := w.clearing(`{"a":1}`, "")
		w.edit(obj, func() { obj.Finalizers = append(obj.Finalizers, "example.com/other") })
		_, err := w.hub.AddFault(hubemulator.Fault{Operation: "*", Action: hubemulator.FaultStatus, Status: 503})
		w.Expect(err).NotTo(HaveOccurred())
		w.delete(obj)
		w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
		w.edit(obj, func() { obj.Finalizers = []string{"example.com/other"} })
		w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix(told)))
		w.edit(obj, func() { obj.Finalizers = nil })
		w.awaitGone(obj)
	})
	t.Run("not said of one that was cleaned up behind", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.connect()
		obj := w.clearing(`{"a":1}`, "")
		w.edit(obj, func() { obj.Finalizers = append(obj.Finalizers, "example.com/other") })
		w.delete(obj)
		w.Eventually(w.finalizers(obj), patience).Should(ConsistOf("example.com/other"))
		w.edit(obj, func() { obj.Finalizers = nil })
		w.awaitGone(obj)
		w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix("CleanedUp")))
		w.Consistently(w.eventReasons, "1s").ShouldNot(ContainElement(HavePrefix("LeftBehind")))
	})
}

// TestARecordThatIsGoneIsTold until the user does something about it.
func TestARecordThatIsGoneIsTold(t *testing.T) {
	t.Parallel()
	for name, wipe := range map[string]func(*v1alpha1.DeviceTwinStatus){
		"the record":       func(status *v1alpha1.DeviceTwinStatus) { status.Record = "" },
		"a damaged record": func(status *v1alpha1.DeviceTwinStatus) { status.Record = "{" },
		"the whole status": func(status *v1alpha1.DeviceTwinStatus) { *status = v1alpha1.DeviceTwinStatus{} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.connect()
			obj := w.twin("t1", "d1", `{"a":1,"gone":1}`, "")
			w.create(obj)
			w.awaitReady(obj)
			w.setStatus(obj, func() { wipe(&obj.Status) })
			if obj.Status.Record != "" {
				w.visitTwin(obj) // a damaged one is seen when it is needed
			}
			w.awaitCondition(obj, v1alpha1.ConditionRecordLost, v1alpha1.ReasonRecordLost)
			w.awaitReady(obj)
			w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix("RecordLost")))
			w.Expect(obj.Status.Record).NotTo(BeEmpty(), "what is declared and held is ours again")
			w.checkConditions()
			w.edit(obj, func() { obj.Spec.Tags = raw(`{"a":2}`) })
			w.awaitReady(obj)
			w.awaitCondition(obj, v1alpha1.ConditionRecordLost, "")
			w.Expect(w.tags("d1")).To(Equal(`{"a":2}`))
		})
	}
}

// TestARecordThatIsGoneIsToldOnce, also where none can be written anew.
func TestARecordThatIsGoneIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	obj := w.twin("t1", "d1", `{"a":1}`, "")
	w.create(obj)
	w.awaitReady(obj)
	w.edit(conn, func() { conn.Spec.Mode = v1alpha1.ModeReadOnly })
	w.awaitReady(conn)
	w.anotherWriter("d1", map[string]any{"a": 2})
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubReadOnly)
	w.setStatus(obj, func() { obj.Status.Record = "" })
	w.awaitCondition(obj, v1alpha1.ConditionRecordLost, v1alpha1.ReasonRecordLost)
	told := func() (n int) {
		for _, event := range w.events(w.ns) {
			if event.Reason == v1alpha1.ReasonRecordLost {
				n += int(ptr.Deref(event.Series, eventsv1.EventSeries{Count: 1}).Count)
			}
		}
		return n
	}
	w.Eventually(told, patience).Should(Equal(1))
	w.Eventually(func() error { return w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj) }).Should(Succeed())
	version := obj.ResourceVersion
	reads := w.calls("getTwin")
	w.Eventually(func() int { return w.calls("getTwin") - reads }, patience).Should(BeNumerically(">", 3))
	w.Expect(told()).To(Equal(1))
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
	w.Expect(obj.ResourceVersion).To(Equal(version), "visits that find nothing new write nothing")
	w.visitTwin(obj)
	w.awaitCondition(obj, v1alpha1.ConditionRecordLost, "")
}

// TestWithoutARecordNothingIsSaidToBeCleanedUp: what an object declares may have been
// written by another one.
func TestWithoutARecordNothingIsSaidToBeCleanedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.clearing(`{"a":1}`, "")
	w.stop()
	w.setStatus(obj, func() { obj.Status = v1alpha1.DeviceTwinStatus{} })
	w.delete(obj)
	w.startManager()
	w.awaitGone(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"a":1}`), "nothing tells that it was ours")
	w.Eventually(w.eventReasons, patience).Should(ContainElement(And(HavePrefix("LeftBehind the record"), HaveSuffix("tags.a"))))
	w.Expect(w.eventReasons()).NotTo(ContainElement(HavePrefix("CleanedUp")))
}

// TestWhatATenantCanWriteAuthorizesNothing: neither a note in an annotation nor a Secret
// with the right keys has a device deleted that another client registered.
func TestWhatATenantCanWriteAuthorizesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"))
	w.connect()
	_, err := w.registry().CreateIdentity(w.Context(), hub.ID{Device: "theirs"}, hub.Credentials{Type: hub.AuthCertificateAuthority})
	w.Expect(err).NotTo(HaveOccurred())
	keys := hub.Credentials{Type: hub.AuthSAS, PrimaryKey: "cHJpbWFyeS1rZXktb2YtdGhlaXJz", SecondaryKey: "c2Vjb25kYXJ5LWtleS1vZi10aGVpcnM="}
	_, err = w.registry().CreateIdentity(w.Context(), hub.ID{Device: "leaked"}, keys)
	w.Expect(err).NotTo(HaveOccurred())

	forged := w.twin("forged", "theirs", `{"a":1}`, "")
	forged.Annotations = map[string]string{"iothub.devicetwin.io/registration": `{"credentials":["x"],"generationId":"1"}`}
	forged.Spec.Registration, forged.Spec.DeletionPolicy = v1alpha1.RegistrationCreate, v1alpha1.DeletionDelete
	forged.Spec.Authentication = &v1alpha1.DeviceAuthentication{Type: "certificateAuthority"}
	w.create(forged)
	w.awaitReady(forged)

	known := w.twin("known", "leaked", `{"a":1}`, "")
	known.Spec.Registration, known.Spec.DeletionPolicy = v1alpha1.RegistrationCreate, v1alpha1.DeletionDelete
	w.create(known)
	w.awaitReady(known)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "device-connection"},
		StringData: map[string]string{"primaryKey": keys.PrimaryKey, "secondaryKey": keys.SecondaryKey},
	}
	secret.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(known, v1alpha1.SchemeGroupVersion.WithKind("DeviceTwin"))}
	w.create(secret)
	w.edit(known, func() { known.Spec.ConnectionSecretName = "device-connection" })
	w.awaitReady(known)

	for _, obj := range []*v1alpha1.DeviceTwin{forged, known} {
		w.delete(obj)
		w.awaitGone(obj)
		w.Expect(w.registered(obj.Spec.DeviceID)).To(BeTrue())
		w.Expect(w.tags(obj.Spec.DeviceID)).To(Equal("{}"))
	}
}

// TestTheOwnerTagMayBeEdited: a value that the object wrote itself is not another
// owner's.
func TestTheOwnerTagMayBeEdited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	w.edit(conn, func() { conn.Spec.OwnerTag = &v1alpha1.OwnerTag{Name: "managedBy", Value: "plant-a"} })
	obj := w.clearing(`{"a":1}`, "")
	w.Eventually(func() string { return w.tags("d1") }, patience).Should(Equal(`{"a":1,"managedBy":"plant-a"}`))
	w.edit(conn, func() { conn.Spec.OwnerTag.Value = "plant-b" })
	w.Eventually(func() string { return w.tags("d1") }, patience).Should(Equal(`{"a":1,"managedBy":"plant-b"}`))
	w.awaitReady(obj)
	w.anotherWriter("d1", map[string]any{"managedBy": "plant-c"})
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonOwnedElsewhere)
	w.anotherWriter("d1", map[string]any{"managedBy": nil})
	w.awaitReady(obj)
	// Edited and deleted at once, as an uninstallation does it.
	w.stop()
	w.edit(conn, func() { conn.Spec.OwnerTag.Value = "plant-d" })
	w.delete(obj)
	w.startManager()
	w.awaitGone(obj)
	w.Expect(w.tags("d1")).To(Equal("{}"))
}
