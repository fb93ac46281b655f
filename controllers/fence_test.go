package controllers_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// TestNothingIsWrittenForAnObjectThatChanged: a manager with an old copy, such as one
// that was paused, reads a newer twin. What it takes for drift is what the leader of
// meanwhile has removed.
func TestNothingIsWrittenForAnObjectThatChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"a":1,"removed":1}`, "")
	w.create(obj)
	w.awaitReady(obj)
	// The manager has read the object, and is about to read the twin.
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "getTwin", Action: hubemulator.FaultHold, Count: 1})
	w.Expect(err).NotTo(HaveOccurred())
	w.patchUnread("d1", map[string]any{"a": 2})
	w.awaitHeld(1)
	updates := w.calls("updateTwin")
	// Another manager handles an edit: the leaf goes from the hub and from the record.
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"a":1}`) })
	w.patchUnread("d1", map[string]any{"removed": nil})
	settled := strings.Replace(obj.Status.Record, `"removed":`, `"other":`, 1)
	w.Expect(settled).NotTo(Equal(obj.Status.Record))
	w.setStatus(obj, func() { obj.Status.Record = settled })
	w.hub.RemoveFault(fault)
	w.awaitReady(obj)
	w.awaitReadBacks(2)
	w.Expect(w.tags("d1")).To(Equal(`{"a":1}`))
	w.Expect(w.calls("updateTwin")-updates).To(Equal(2), "that of the other manager, and the correction of what drifted")
}

// patchUnread writes tags as another client does, without a read of the twin that the
// hub would count.
func (w *world) patchUnread(device string, tags map[string]any) {
	w.Helper()
	etag, _ := w.held(device)["etag"].(string)
	_, err := w.registry().PatchTwin(w.Context(), hub.ID{Device: device}, etag, hub.Patch{Tags: tags})
	w.Expect(err).NotTo(HaveOccurred())
}

// writesOf are the writes of this world's manager about one object, events aside.
func (w *world) writesOf(obj client.Object) []string {
	return slices.DeleteFunc(w.writes(), func(write string) bool {
		return strings.Contains(write, " events ") || !strings.HasSuffix(write, " "+obj.GetName())
	})
}

// TestNoChangeIsSentOnceTheLeaseMayHaveRunOut: what was decided before waits until the
// Lease is certain to be held, or for another manager.
func TestNoChangeIsSentOnceTheLeaseMayHaveRunOut(t *testing.T) {
	t.Parallel()
	var held atomic.Bool
	held.Store(true)
	fence := func() error {
		if !held.Load() {
			return errors.New("not held")
		}
		return nil
	}
	w := newWorld(t, withPolicy("iothubowner"), func(w *world) {
		w.options.Sessions = hub.NewPool(hub.PoolOptions{Fence: fence})
	})
	w.connect()
	obj := w.clearing(`{"a":1}`, "")
	held.Store(false)
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"a":2}`) })
	registering := w.registering("new-1")
	registering.Name = "t2"
	w.create(registering)
	w.Eventually(func() int { return w.calls("getTwin") }, patience).Should(BeNumerically(">", 3))
	w.Consistently(func() bool { return w.registered("new-1") || w.tags("d1") != `{"a":1}` }, "2s").Should(BeFalse())
	w.delete(obj)
	w.Consistently(func() string { return w.tags("d1") }, "1s").Should(Equal(`{"a":1}`))
	held.Store(true)
	w.awaitReady(registering)
	w.awaitGone(obj)
	w.Expect(w.tags("d1")).To(Equal("{}"))
}

// TestARefusedRegistrationLeavesNothingToWaitFor: nothing can be on the hub, and tries
// again write nothing.
func TestARefusedRegistrationLeavesNothingToWaitFor(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withPolicy("iothubowner"))
			w.connect()
			for _, operation := range []string{"putDevice", "getDevice"} {
				_, err := w.hub.AddFault(hubemulator.Fault{
					Operation: operation, Action: hubemulator.FaultStatus, Status: status, ErrorCode: map[int]string{http.StatusForbidden: "OperationNotAllowed"}[status],
				})
				w.Expect(err).NotTo(HaveOccurred())
			}
			obj := w.registering("new-1")
			obj.Spec.DeletionPolicy = v1alpha1.DeletionDelete
			w.create(obj)
			w.Eventually(func() bool {
				w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
				return w.calls("getDevice") > 2 && obj.Status.Registration != nil && obj.Status.Registration.Refused
			}, patience).Should(BeTrue())
			before := w.writesOf(obj)
			tries := w.calls("getDevice")
			w.Eventually(func() int { return w.calls("getDevice") - tries }, patience).Should(BeNumerically(">", 3))
			w.Expect(w.writesOf(obj)).To(Equal(before), "a try that is refused is no news")
			w.checkConditions()
			w.delete(obj)
			w.awaitGone(obj)
		})
	}
}

// TestKeylessDevicesAreRecognizedByKeys: thumbprints and certificate authorities are
// known to others, who may register the same device at the same moment.
func TestKeylessDevicesAreRecognizedByKeys(t *testing.T) {
	t.Parallel()
	thumbprint := strings.Repeat("AB", 32)
	for _, given := range []v1alpha1.DeviceAuthentication{
		{Type: "certificateAuthority"}, {Type: "selfSigned", PrimaryThumbprint: thumbprint},
	} {
		theirs := hub.Credentials{Type: hub.AuthenticationType(given.Type), PrimaryThumbprint: given.PrimaryThumbprint}
		t.Run(given.Type, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withPolicy("iothubowner"))
			w.connect()
			fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "putDevice", Action: hubemulator.FaultHold, Count: 1})
			w.Expect(err).NotTo(HaveOccurred())
			obj := w.twin("t1", "new-1", `{"a":1}`, "")
			obj.Spec.Registration, obj.Spec.DeletionPolicy, obj.Spec.Authentication = v1alpha1.RegistrationCreate, v1alpha1.DeletionDelete, &given
			w.create(obj)
			w.awaitHeld(1)
			_, err = w.registry().CreateIdentity(w.Context(), hub.ID{Device: "new-1"}, theirs)
			w.Expect(err).NotTo(HaveOccurred())
			w.hub.RemoveFault(fault)
			w.awaitReady(obj)
			w.Expect(obj.Status.Registration).To(BeNil())
			w.delete(obj)
			w.awaitGone(obj)
			w.Expect(w.registered("new-1")).To(BeTrue(), "another client registered it")

			// Its own, whose answers are lost at each step.
			for _, lost := range []int{0, 1} {
				own := w.twin("own", "new-2", `{"a":1}`, "")
				own.Spec = *obj.Spec.DeepCopy()
				own.Spec.DeviceID = "new-2"
				w.loseAnswer("putDevice", lost)
				w.create(own)
				w.awaitReady(own)
				w.Expect(w.held("new-2")["authenticationType"]).To(Equal(given.Type))
				w.Expect(own.Status.Registration.AuthenticationPending).To(BeFalse())
				w.delete(own)
				w.awaitGone(own)
				w.Expect(w.registered("new-2")).To(BeFalse())
			}
		})
	}
}

// loseAnswer has the answer to the first or second request of an operation lost.
func (w *world) loseAnswer(operation string, number int) {
	w.Helper()
	for range number {
		_, err := w.hub.AddFault(hubemulator.Fault{Operation: operation, Action: hubemulator.FaultDelay, Delay: time.Millisecond, Count: 1})
		w.Expect(err).NotTo(HaveOccurred())
	}
	_, err := w.hub.AddFault(hubemulator.Fault{Operation: operation, Action: hubemulator.FaultDropAnswer, Count: 1})
	w.Expect(err).NotTo(HaveOccurred())
}

// TestALostSecretComesBackByItself, and costs the hub nothing while it is there.
func TestALostSecretComesBackByItself(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, withClock(fake), withPolicy("iothubowner"))
	w.connect()
	obj := w.registering("new-1")
	w.create(obj)
	w.awaitReady(obj)
	want := string(w.connectionSecret().Data["connectionString"])
	fake.SetTime(fake.Now().Add(3 * time.Minute)) // what may be in flight has arrived
	w.visitTwin(obj)
	gets := w.calls("getTwin") + w.calls("getDevice")
	for range 3 {
		fake.SetTime(fake.Now().Add(time.Minute))
		w.awaitReadBacks(3)
	}
	w.Expect(w.calls("getTwin")+w.calls("getDevice")).To(Equal(gets), "the hub need not be asked")
	w.delete(w.connectionSecret())
	fake.SetTime(fake.Now().Add(time.Minute))
	w.Eventually(func() error {
		return w.client.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: "device-connection"}, &corev1.Secret{})
	}, patience).Should(Succeed())
	w.Expect(string(w.connectionSecret().Data["connectionString"])).To(Equal(want))
}

// TestAValueThatTheHubRespells is no other writer's: it is said what the hub makes of it,
// and not written again and again.
func TestAValueThatTheHubRespells(t *testing.T) {
	t.Parallel()
	const declared, respelled = "2026-11-28T00:00:00.000Z", "2026-11-28T00:00:00Z"
	w := newWorld(t)
	tapped := w.tapRespelling(declared, respelled)
	w.connectThrough(tapped.host, tapped.ca)
	obj := w.twin("t1", "d1", `{"a":1}`, `{"since":"`+declared+`"}`)
	w.create(obj)
	ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonNotConverging)
	w.Expect(ready.Message).To(And(ContainSubstring(respelled), ContainSubstring(declared)))
	w.Expect(w.tags("d1")).To(Equal(`{"a":1}`))
	w.checkConditions()
	patches := w.calls("updateTwin")
	reads := w.calls("getTwin")
	w.Eventually(func() int { return w.calls("getTwin") - reads }, patience).Should(BeNumerically(">", 5))
	w.Expect(w.calls("updateTwin")).To(Equal(patches))
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonNotConverging)
	w.Expect(w.condition(obj, v1alpha1.ConditionContended)).To(BeNil())
	w.edit(obj, func() { obj.Spec.Desired = raw(`{"since":"` + respelled + `"}`) })
	w.awaitReady(obj)
}
