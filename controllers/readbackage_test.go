package controllers_test

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// TestALateReadBackIsTold on the HubConnection, by a condition that goes when it is in time again.
func TestALateReadBackIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createSecret("hub", w.credential("service"))
	conn := w.connection("hub")
	w.create(conn)
	w.awaitReady(conn)
	obj := w.twin("t1", "d1", `{"a":1}`, "")
	w.create(obj)
	w.awaitReady(obj)
	w.awaitReadBacks(3)
	late := func() *metav1.Condition {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(conn), conn)).To(Succeed())
		return meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionReadBackLate)
	}
	w.Expect(late()).To(BeNil())
	held, err := w.hub.AddFault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultHold})
	w.Expect(err).NotTo(HaveOccurred())
	w.Eventually(late, 2*patience).Should(And(
		HaveField("Status", metav1.ConditionTrue), HaveField("Reason", v1alpha1.ReasonReadBackBlocked), HaveField("Message", ContainSubstring("no answer")),
	))
	w.Expect(conn.Status.ReadBackAsOf.Time).To(BeTemporally("~", time.Now(), time.Minute))
	w.Expect(meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue(), "it answers")
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"a":2}`) })
	w.Eventually(func() string { return w.tags("d1") }, patience).Should(Equal(`{"a":2}`), "changes are written as before")
	w.hub.RemoveFault(held)
	w.Eventually(late, patience).Should(BeNil())
	w.Expect(conn.Status.ReadBackAsOf).To(BeNil())
}

// TestARestoredHubIsRepaired, and devices that are gone from it are missed: more of them than one look may read in vain.
func TestARestoredHubIsRepaired(t *testing.T) {
	t.Parallel()
	devices := numbered("r", 120)
	w := newWorld(t, func(w *world) { w.hubOptions.Devices = devices })
	w.createSecret("hub", w.credential("service"))
	w.create(w.connection("hub"))
	w.crowd("hub", devices)
	w.Eventually(func() int { return w.ready("hub") }, 2*patience).Should(Equal(len(devices)))
	snapshot := w.hub.Snapshot()
	_, err := w.hub.AddDevice("late")
	w.Expect(err).NotTo(HaveOccurred())
	late := w.twin("late", "late", `{"a":1}`, "")
	w.create(late)
	w.awaitReady(late)
	for _, device := range devices {
		obj := w.twin(device, device, "", "")
		w.edit(obj, func() {
			obj.Spec.Tags, obj.Spec.Desired = raw(`{"plant":"Seattle"}`), raw(fmt.Sprintf(`{"of":%q}`, device))
		})
	}
	right := func() (n int) {
		for _, device := range devices {
			if w.tags(device) == `{"plant":"Seattle"}` && w.desired(device) == fmt.Sprintf(`{"of":%q}`, device) {
				n++
			}
		}
		return n
	}
	w.Eventually(right, 2*patience).Should(Equal(len(devices)))
	w.Eventually(func() int { return w.ready("hub") }, patience).Should(Equal(len(devices) + 1))
	w.Expect(w.hub.Restore(snapshot)).To(Succeed())
	w.Eventually(right, 2*patience).Should(Equal(len(devices)))
	w.await(late, metav1.ConditionFalse, v1alpha1.ReasonDeviceNotFound)
}
