package controllers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
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
	w.Expect(w.client.List(w.Context(), &twins, client.InNamespace(w.ns))).To(Succeed())
	n := 0
	for i := range twins.Items {
		obj := &twins.Items[i]
		if obj.Spec.HubRef.Name == conn && meta.IsStatusConditionTrue(obj.Status.Conditions, v1alpha1.ConditionReady) {
			n++
		}
	}
	return n
}

// TestAMassDeletionLeavesNothingBehind: however many objects are deleted at once, and
// however long their turns take at the declared rate, a hub that answers is cleaned up.
func TestAMassDeletionLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	const n = 60
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("w%02d", i))
	}
	w := newWorld(t, func(w *world) {
		w.hubOptions.Devices = ids
		w.options.DeletionTimeout, w.options.RetryInterval = 2*time.Second, time.Minute
	})
	conn := w.connect()
	for _, id := range ids {
		obj := w.twin(id, id, `{"a":1}`, "")
		obj.Spec.DeletionPolicy = v1alpha1.DeletionClear
		w.create(obj)
	}
	w.Eventually(func() int { return w.ready("hub") }, patience).Should(Equal(n))
	w.edit(conn, func() { // 10 changes a second, of which 25 may come at once
		conn.Spec.Tier, conn.Spec.Budget.RatePercent = v1alpha1.Tier{SKU: v1alpha1.SKUS1, Units: 1}, 20
	})
	w.awaitReady(conn)
	w.Expect(w.client.DeleteAllOf(w.Context(), &v1alpha1.DeviceTwin{}, client.InNamespace(w.ns))).To(Succeed())
	told := 0
	w.Eventually(func() int {
		var left v1alpha1.DeviceTwinList
		w.Expect(w.client.List(w.Context(), &left, client.InNamespace(w.ns))).To(Succeed())
		for i := range left.Items {
			ready := meta.FindStatusCondition(left.Items[i].Status.Conditions, v1alpha1.ConditionReady)
			if ready.Reason == v1alpha1.ReasonDeleting && ready.ObservedGeneration == left.Items[i].Generation {
				w.Expect(ready.Message).To(ContainSubstring("it waits for a permit"))
				told++
			}
		}
		return len(left.Items)
	}, patience).Should(BeZero())
	w.Expect(told).NotTo(BeZero(), "what they wait for is told")
	for _, id := range ids {
		w.Expect(w.tags(id)).To(Equal("{}"), id)
	}
	w.Expect(w.eventReasons()).NotTo(ContainElement(HavePrefix("LeftBehind")))
}

// another starts a hub beside the test's own, and declares it.
func (w *world) another(name string) (*v1alpha1.HubConnection, *hubemulator.Server) {
	w.Helper()
	other, err := hubemulator.Start(context.Background(), hubemulator.Options{})
	w.Expect(err).NotTo(HaveOccurred())
	w.Cleanup(func() { w.Expect(other.Close()).To(Succeed()) })
	text, err := other.ServiceConnectionString("service")
	w.Expect(err).NotTo(HaveOccurred())
	w.createSecret(name, text)
	conn := w.connection(name)
	conn.Spec.CABundle = other.CACertificatePEM()
	w.create(conn)
	return conn, other
}

// newBesideHanging is a world of eight workers with the hub and another one, called
// hanging, on which an operation hangs until the fault is removed.
func newBesideHanging(t *testing.T, operation string) (w *world, hanging *hubemulator.Server, fault string) {
	t.Helper()
	w = newWorld(t, func(w *world) { w.options.Workers = 8 })
	conn, hanging := w.another("hanging")
	w.awaitReady(conn)
	w.awaitReady(w.connect())
	fault, err := hanging.AddFault(hubemulator.Fault{Operation: operation, Action: hubemulator.FaultHang})
	w.Expect(err).NotTo(HaveOccurred())
	return w, hanging, fault
}

// TestAHubThatHangsDoesNotSlowAnother: objects of it wait without a worker.
func TestAHubThatHangsDoesNotSlowAnother(t *testing.T) {
	t.Parallel()
	w, other, fault := newBesideHanging(t, "getTwin")
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
// already its permit.
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

// TestAHubIsNotAskedMoreThanItAllows: a rollout takes the time that the declared share
// gives it, 2.5 seconds' worth at once and the rest at its rate, and nothing is refused.
func TestAHubIsNotAskedMoreThanItAllows(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		percent int32
		objects int
		atLeast time.Duration
	}{
		"four fifths": {percent: 80, objects: 300, atLeast: 5 * time.Second}, // 100, and 200 at 40 a second
		"a fifth":     {percent: 20, objects: 95, atLeast: 7 * time.Second},  // 25, and 70 at 10 a second
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			devices := numbered("c", tt.objects)
			w := newWorld(t, withTier(devices...))
			w.crowd("hub", devices)
			w.createSecret("hub", w.credential("service"))
			conn := w.connection("hub")
			conn.Spec.Budget.RatePercent = tt.percent
			conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = time.Hour, time.Hour
			started := time.Now()
			w.create(conn)
			w.Eventually(func() int { return w.calls("updateTwin") }).WithTimeout(60 * time.Second).Should(Equal(tt.objects))
			w.Expect(time.Since(started)).To(BeNumerically(">=", tt.atLeast))
			w.Eventually(func() int { return w.ready("hub") }, patience).Should(Equal(tt.objects))
			operations := w.hub.Counters().Operations
			for name, counted := range operations {
				w.Expect(counted.Statuses).NotTo(HaveKey("429"), name)
			}
			w.Expect(w.calls("updateTwin")).To(Equal(tt.objects), "each is written once")
		})
	}
}

// TestWhatDriftsWhileItsHubIsBusyIsRestored: the index tells of it once, and the object
// has to wait for a permit.
func TestWhatDriftsWhileItsHubIsBusyIsRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.options.Workers = 4 }) // one of them for each hub
	w.createSecret("hub", w.credential("service"))
	conn := w.connection("hub")
	conn.Spec.ReadBack.FullSweepInterval.Duration = time.Hour
	w.create(conn)
	w.awaitReady(conn)
	obj := w.twin("t1", "d1", "", `{"power_level":1}`)
	w.create(obj)
	w.awaitReady(obj)
	_, err := w.hub.AddDevice("slow")
	w.Expect(err).NotTo(HaveOccurred())
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "getTwin", DeviceID: "slow", Action: hubemulator.FaultHold})
	w.Expect(err).NotTo(HaveOccurred())
	w.crowd("hub", []string{"slow"})
	w.Eventually(func() int { return w.hub.Faults()[0].Held }, patience).Should(Equal(1))
	w.anotherWriterPatches("d1", hub.Patch{Desired: map[string]any{"power_level": 9}})
	written := w.calls("updateTwin")
	w.awaitReadBacks(3)
	w.Expect(w.calls("updateTwin")).To(Equal(written), "it waits")
	silent, err := w.hub.AddFault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultHold})
	w.Expect(err).NotTo(HaveOccurred())
	w.Eventually(func() int { return w.hub.Faults()[1].Held }, patience).Should(Equal(1), "the index tells no more")
	w.hub.RemoveFault(fault)
	w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix("DriftCorrected restored on the hub: desired.power_level")))
	w.Eventually(func() int { return w.ready("hub") }, patience).Should(Equal(2))
	w.hub.RemoveFault(silent)
}

// TestQueriesOfAHubThatHangsDoNotSlowAnother: they hold a worker while the hub is asked,
// and only a few of them are.
func TestQueriesOfAHubThatHangsDoNotSlowAnother(t *testing.T) {
	t.Parallel()
	w, other, fault := newBesideHanging(t, "query")
	var queries []*v1alpha1.TwinQuery
	for i := range 64 {
		query := w.query(fmt.Sprintf("h%d", i), fmt.Sprintf("tags.line = %d", i))
		query.Spec.HubRef.Name = "hanging"
		w.create(query)
		queries = append(queries, query)
	}
	held := func() int { return other.Faults()[0].Held }
	w.Eventually(held).Should(Equal(2), "a quarter of the workers")

	query := w.query("q", "deviceId = 'd1'")
	w.create(query)
	w.awaitDevices(query, "d1")
	before := query.Generation
	w.edit(query, func() { query.Spec.Where = "deviceId != 'd1'" })
	w.Expect(query.Generation).To(BeNumerically(">", before))
	w.Eventually(func() []string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(query), query)).To(Succeed())
		return query.Status.Devices
	}, patience).Should(BeEmpty())
	w.Expect(held()).To(Equal(2))
	other.RemoveFault(fault)
	for _, query := range queries {
		w.awaitReady(query)
	}
}

// TestQueriesSayThatTheirHubDoesNotAnswer, though few of them ask it.
func TestQueriesSayThatTheirHubDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awaitReady(w.connect())
	var queries []*v1alpha1.TwinQuery
	for i := range 20 {
		query := w.query(fmt.Sprintf("q%d", i), fmt.Sprintf("tags.line = %d", i))
		w.create(query)
		queries = append(queries, query)
	}
	for _, query := range queries {
		w.awaitReady(query)
	}
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultReset})
	w.Expect(err).NotTo(HaveOccurred())
	messages := map[string]bool{}
	for _, query := range queries {
		ready := w.await(query, metav1.ConditionFalse, v1alpha1.ReasonHubUnreachable)
		messages[ready.Message] = true
	}
	w.Expect(messages).To(HaveLen(1), "in the same words, whether it was asked or not")
	w.Expect(w.hub.Faults()[0].Hits).To(BeNumerically("<", 20), "it was not asked by each")
	w.hub.RemoveFault(fault)
	for _, query := range queries {
		w.awaitReady(query)
	}
}
