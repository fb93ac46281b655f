package controllers_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// registering makes a DeviceTwin that registers its device.
func (w *world) registering(device string) *v1alpha1.DeviceTwin {
	obj := w.twin("t1", device, `{"plant":"Redmond43"}`, "")
	obj.Spec.Registration = v1alpha1.RegistrationCreate
	obj.Spec.ConnectionSecretName = "device-connection"
	return obj
}

func (w *world) connectionSecret() *corev1.Secret {
	w.Helper()
	var secret corev1.Secret
	w.Expect(w.client.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: "device-connection"}, &secret)).To(Succeed())
	return &secret
}

func (w *world) registered(device string) bool {
	_, err := w.hub.TwinJSON(device)
	return err == nil
}

func TestADeviceIsRegisteredWithItsSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"))
	w.connect()
	obj := w.registering("new-1")
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(w.tags("new-1")).To(Equal(`{"plant":"Redmond43"}`))
	secret := w.connectionSecret()
	want, err := w.hub.DeviceConnectionString("new-1")
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(string(secret.Data["connectionString"])).To(Equal(want))
	w.Expect(metav1.IsControlledBy(secret, obj)).To(BeTrue())
	w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix("Registered")))
	note, err := json.Marshal(obj.Status.Registration)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(obj.Status.Registration.GenerationID).NotTo(BeEmpty())
	for _, key := range []string{"primaryKey", "secondaryKey"} {
		w.Expect(string(note)).NotTo(ContainSubstring(string(secret.Data[key])))
	}

	// The device goes: it is not resurrected.
	w.Expect(w.hub.RemoveDevice("new-1")).To(Succeed())
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeviceDeleted)
	w.visitTwin(obj)
	w.Expect(w.registered("new-1")).To(BeFalse())
}

func TestRegistrationWithCertificatesAndOfModules(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"))
	w.connect()
	thumbprint := strings.Repeat("ab", 32)
	certified := w.twin("t1", "certified", `{"a":1}`, "")
	certified.Spec.Registration = v1alpha1.RegistrationCreate
	certified.Spec.Authentication = &v1alpha1.DeviceAuthentication{Type: "selfSigned", PrimaryThumbprint: thumbprint}
	module := w.twin("t2", "d1", `{"a":1}`, "")
	module.Spec.ModuleID, module.Spec.Registration = "m1", v1alpha1.RegistrationCreate
	for _, obj := range []*v1alpha1.DeviceTwin{certified, module} {
		w.create(obj)
		w.awaitReady(obj)
		w.Expect(obj.Status.Registration.GenerationID).NotTo(BeEmpty())
	}
	w.Expect(w.held("certified")["authenticationType"]).To(Equal("selfSigned"))
	_, err := w.hub.ModuleTwinJSON("d1", "m1")
	w.Expect(err).NotTo(HaveOccurred())
}

func TestAnothersSecretIsNotTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"))
	w.connect()
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "device-connection"}, StringData: map[string]string{"mine": "1"}})
	obj := w.registering("new-1")
	w.create(obj)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonSecretNotOwned)
	w.Expect(w.registered("new-1")).To(BeFalse())
	w.Expect(w.connectionSecret().Data).To(HaveLen(1))
	w.delete(w.connectionSecret())
	w.awaitReady(obj)
}

func TestARegistrationWhoseAnswerIsLostIsRecognized(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]string{"with a Secret": "device-connection", "without": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withPolicy("iothubowner"))
			w.connect()
			_, err := w.hub.AddFault(hubemulator.Fault{Operation: "putDevice", Action: hubemulator.FaultDropAnswer, Count: 1})
			w.Expect(err).NotTo(HaveOccurred())
			obj := w.registering("new-1")
			obj.Spec.ConnectionSecretName, obj.Spec.DeletionPolicy = secret, v1alpha1.DeletionDelete
			w.create(obj)
			w.awaitReady(obj)
			w.Expect(obj.Status.Registration.GenerationID).NotTo(BeEmpty())
			w.delete(obj)
			w.awaitGone(obj)
			w.Expect(w.registered("new-1")).To(BeFalse(), "it is known for its own, and deleted")
		})
	}
}

func TestADeviceOfAnotherWriterIsNeverDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"))
	w.connect()
	existing := w.twin("existing", "d1", `{"a":1}`, "")
	existing.Spec.Registration, existing.Spec.DeletionPolicy = v1alpha1.RegistrationCreate, v1alpha1.DeletionDelete
	recreated := w.registering("new-1")
	recreated.Spec.ConnectionSecretName, recreated.Spec.DeletionPolicy = "", v1alpha1.DeletionDelete
	for _, obj := range []*v1alpha1.DeviceTwin{existing, recreated} {
		w.create(obj)
		w.awaitReady(obj)
	}
	w.anotherWriter("new-1", map[string]any{"x": 1})
	w.awaitReadBacks(4)
	w.Expect(w.hub.RemoveDevice("new-1")).To(Succeed())
	_, err := w.hub.AddDevice("new-1")
	w.Expect(err).NotTo(HaveOccurred())
	// It is noticed, and brought into step again.
	w.Eventually(func() string { return w.tags("new-1") }, patience).Should(Equal(`{"plant":"Redmond43"}`))
	w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix("DeviceRecreated new-1")))
	for _, obj := range []*v1alpha1.DeviceTwin{existing, recreated} {
		w.delete(obj)
		w.awaitGone(obj)
		w.Expect(w.registered(obj.Spec.DeviceID)).To(BeTrue())
		w.Expect(w.tags(obj.Spec.DeviceID)).To(Equal("{}"), "cleared all the same")
	}
}

func TestASecretForADeviceOfAnotherWriterIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"))
	w.connect()
	obj := w.registering("d1")
	w.create(obj)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonRegisteredElsewhere)
	w.visitTwin(obj) // it stays so
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonRegisteredElsewhere)
	w.Expect(w.tags("d1")).To(Equal("{}"))
	w.checkConditions()
	w.edit(obj, func() { obj.Spec.ConnectionSecretName = "" })
	w.awaitReady(obj)
}

func TestRegistrationTakesItsOwnPermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.registering("new-1")
	w.create(obj)
	ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonUnauthorized)
	w.Expect(ready.Message).To(ContainSubstring("RegistryWrite"))
}

func TestARegistrationThatMayStillArriveIsWaitedFor(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, withClock(fake), withPolicy("iothubowner"))
	w.connect()
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "putDevice", Action: hubemulator.FaultQueue, Count: 1})
	w.Expect(err).NotTo(HaveOccurred())
	obj := w.registering("new-1")
	obj.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	w.create(obj)
	w.awaitHeld(1)
	w.stop()
	w.startManager()
	w.delete(obj)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
	w.letArrive(fault, "putDevice")
	fake.SetTime(fake.Now().Add(3 * time.Minute))
	w.awaitGone(obj)
	w.Expect(w.registered("new-1")).To(BeFalse())
}

func TestANoteOfAnotherObjectDeletesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"))
	w.connect()
	first := w.registering("new-1")
	w.create(first)
	w.awaitReady(first)
	note := first.Status.Registration
	w.delete(first)
	w.awaitGone(first)
	second := w.twin("t2", "new-1", `{"plant":"Redmond43"}`, "")
	second.Spec.Registration, second.Spec.DeletionPolicy = v1alpha1.RegistrationCreate, v1alpha1.DeletionDelete
	w.create(second)
	w.setStatus(second, func() { second.Status.Registration = note })
	w.awaitReady(second)
	w.delete(second)
	w.awaitGone(second)
	w.Expect(w.registered("new-1")).To(BeTrue())
}

func TestRegistrationFieldsGoTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for message, change := range map[string]func(*v1alpha1.DeviceTwin){
		"go with registration: Create": func(o *v1alpha1.DeviceTwin) { o.Spec.ConnectionSecretName = "s" },
		"thumbprints are required with type selfSigned": func(o *v1alpha1.DeviceTwin) {
			o.Spec.Registration = v1alpha1.RegistrationCreate
			o.Spec.Authentication = &v1alpha1.DeviceAuthentication{Type: "selfSigned"}
		},
		"there are no keys to keep otherwise": func(o *v1alpha1.DeviceTwin) {
			o.Spec.Registration, o.Spec.ConnectionSecretName = v1alpha1.RegistrationCreate, "s"
			o.Spec.Authentication = &v1alpha1.DeviceAuthentication{Type: "certificateAuthority"}
		},
	} {
		obj := w.twin("t1", "d1", "", "")
		change(obj)
		w.Expect(w.client.Create(w.Context(), obj)).To(MatchError(ContainSubstring(message)))
	}
}

// TestAManagerThatMayCreateNoSecrets registers nothing that needs one, says so once, keeps
// everything else, and goes on when it is granted that.
func TestAManagerThatMayCreateNoSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"), withAccountIn(noSecretsNamespace))
	w.connect()
	obj := w.registering("new-1")
	w.create(obj)
	ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonSecretNotAllowed)
	w.Expect(ready.Message).To(And(ContainSubstring("%q", w.ns), ContainSubstring("rbac.createSecrets"), ContainSubstring("spec.connectionSecretName")))
	w.Expect(obj.Status.Registration).To(BeNil(), "there is nothing to clean up")
	w.visitTwin(obj)
	w.visitTwin(obj)
	w.Expect(w.registered("new-1")).To(BeFalse())
	w.Expect(w.calls("putDevice")).To(BeZero())
	w.Expect(strings.Count(strings.Join(w.writes(), "\n"), "create secrets")).To(Equal(1), "the right is asked for from then on")

	keyless := w.twin("t2", "new-2", `{"plant":"Redmond43"}`, "")
	keyless.Spec.Registration = v1alpha1.RegistrationCreate
	plain := w.twin("t3", "d1", `{"plant":"Redmond43"}`, "")
	for _, other := range []*v1alpha1.DeviceTwin{keyless, plain} {
		w.create(other)
		w.awaitReady(other)
	}

	w.mayCreateSecrets()
	w.awaitReady(obj)
	w.Expect(metav1.IsControlledBy(w.connectionSecret(), obj)).To(BeTrue())
}

// TestATwinIsKeptWithoutItsSecret: a Secret that may not be made again keeps the twin of a
// device that is registered from nothing.
func TestATwinIsKeptWithoutItsSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"))
	w.connect()
	obj := w.registering("new-1")
	w.create(obj)
	w.awaitReady(obj)
	w.stop()
	w.accounts = noSecretsNamespace
	w.delete(w.connectionSecret())
	w.startManager()
	w.visitTwin(obj)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonSecretNotAllowed)
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"plant":"Redmond44"}`) })
	w.Eventually(func() string { return w.tags("new-1") }, patience).Should(Equal(`{"plant":"Redmond44"}`))
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonSecretNotAllowed)
	w.Expect(kstatus.Current(obj, v1alpha1.ConditionSynced).Status).To(Equal(metav1.ConditionTrue))

	w.mayCreateSecrets()
	w.awaitReady(obj)
	want, err := w.hub.DeviceConnectionString("new-1")
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(string(w.connectionSecret().Data["connectionString"])).To(Equal(want))
}

// mayCreateSecrets grants the manager what it lacks in the test's namespace.
func (w *world) mayCreateSecrets() {
	w.Helper()
	w.Expect(w.env.GrantRoles(w.ns, rbacv1.Subject{
		APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "system:serviceaccount:" + w.accounts + ":" + w.account,
	}, testenv.SecretCreatorRole)).To(Succeed())
}
