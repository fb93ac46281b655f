package controllers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// withTier gives the hub the throttles of an S1, and further devices.
func withTier(devices ...string) setting {
	return func(w *world) { w.hubOptions.Tier, w.hubOptions.Devices = "S1", devices }
}

func numbered(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%03d", prefix, i)
	}
	return names
}

// crowd creates a DeviceTwin for each device, through a HubConnection.
func (w *world) crowd(conn string, devices []string) {
	w.Helper()
	for _, device := range devices {
		obj := w.twin(device, device, `{"plant":"Redmond43"}`, "")
		obj.Spec.HubRef.Name = conn
		w.create(obj)
	}
}

// ready counts the DeviceTwins of a HubConnection that are.
func (w *world) ready(conn string) int {
	var twins v1alpha1.DeviceTwinList
	w.Expect(w.client.List(w.ctx, &twins, client.InNamespace(w.ns))).To(Succeed())
	n := 0
	for i := range twins.Items {
		obj := &twins.Items[i]
		if obj.Spec.HubRef.Name == conn && meta.IsStatusConditionTrue(obj.Status.Conditions, v1alpha1.ConditionReady) {
			n++
		}
	}
	return n
}

// TestAHubThatHangsDoesNotSlowAnother: objects of it wait without a worker.
func TestAHubThatHangsDoesNotSlowAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.options.Workers = 8 })
	other, err := hubemulator.Start(context.Background(), hubemulator.Options{})
	w.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { w.Expect(other.Close()).To(Succeed()) })
	text, err := other.ServiceConnectionString("service")
	w.Expect(err).NotTo(HaveOccurred())
	w.createSecret("hanging", text)
	hanging := w.connection("hanging")
	hanging.Spec.CABundle = other.CACertificatePEM()
	w.create(hanging)
	w.awaitReady(hanging)
	w.awaitReady(w.connect())
	fault, err := other.AddFault(hubemulator.Fault{Operation: "getTwin", Action: hubemulator.FaultHang})
	w.Expect(err).NotTo(HaveOccurred())
	devices := numbered("h", 64)
	w.crowd("hanging", devices)
	held := func() int { return other.Faults()[0].Held }
	w.Eventually(held).Should(Equal(2), "a quarter of the workers")

	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.awaitReady(obj)
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"plant":"Redmond44"}`) })
	w.awaitReady(obj)
	w.Expect(held()).To(Equal(2))
	other.RemoveFault(fault)
	for _, device := range devices {
		_, err := other.AddDevice(device)
		w.Expect(err).NotTo(HaveOccurred())
	}
	w.Eventually(func() int { return w.ready("hanging") }).WithTimeout(30 * time.Second).Should(Equal(64))
}

// TestAnEditOvertakesABacklog: a rollout leaves a person's change of what is there
// already its turn.
func TestAnEditOvertakesABacklog(t *testing.T) {
	t.Parallel()
	devices := numbered("c", 60)
	w := newWorld(t, withTier(append(devices, "d1")...))
	conn := w.connect()
	w.awaitReady(conn)
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.awaitReady(obj)
	w.edit(conn, func() { conn.Spec.Budget.RatePercent = 4 }) // two updates a second
	w.awaitReady(conn)
	w.crowd("hub", devices)
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"plant":"Redmond44"}`) })
	started := time.Now()
	w.awaitReady(obj)
	w.Expect(time.Since(started)).To(BeNumerically("<", 10*time.Second))
	w.Expect(w.ready("hub")).To(BeNumerically("<", 40), "the crowd takes half a minute")
	w.edit(conn, func() { conn.Spec.Budget.RatePercent = 100 })
	w.Eventually(func() int { return w.ready("hub") }).WithTimeout(30 * time.Second).Should(Equal(61))
}

// TestAHubIsNotAskedMoreThanItAllows: no request of a rollout is refused.
func TestAHubIsNotAskedMoreThanItAllows(t *testing.T) {
	t.Parallel()
	devices := numbered("c", 300)
	w := newWorld(t, withTier(devices...))
	w.createSecret("hub", w.credential("service"))
	conn := w.connection("hub")
	conn.Spec.Budget.RatePercent = 80
	conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = time.Hour, time.Hour
	w.create(conn)
	w.awaitReady(conn)
	w.crowd("hub", devices)
	w.Eventually(func() int { return w.ready("hub") }).WithTimeout(60 * time.Second).Should(Equal(300))
	operations := w.hub.Counters().Operations
	for name, counted := range operations {
		w.Expect(counted.Statuses).NotTo(HaveKey("429"), name)
	}
	w.Expect(operations["updateTwin"].Calls).To(BeEquivalentTo(300), "each is written once")
}
