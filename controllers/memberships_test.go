package controllers_test

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// seldom has the hub asked for a query's devices just once in a test.
func seldom(query *v1alpha1.TwinQuery) *v1alpha1.TwinQuery {
	query.Spec.Interval.Duration = 24 * time.Hour
	return query
}

// awaitDevices waits for the hub's own answer, which comes with the query's interval.
func (w *world) awaitDevices(query *v1alpha1.TwinQuery, devices ...string) {
	w.Helper()
	w.Eventually(func() []string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(query), query)).To(Succeed())
		return query.Status.Devices
	}, patience, "20ms").Should(Equal(devices))
}

func (w *world) memberships(obj *v1alpha1.DeviceTwin) func() []string {
	return func() []string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		return obj.Status.Memberships
	}
}

// TestMembershipFollowsTheDevice: not the interval of the query, and not an index
// that is late.
func TestMembershipFollowsTheDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.awaitReady(obj)
	query := seldom(w.query("cellular", "properties.reported.connectivity = 'cellular'"))
	w.create(query)
	w.awaitReady(query)
	w.report("d1", `{"connectivity":"cellular"}`)
	w.Eventually(w.memberships(obj), patience, "20ms").Should(Equal([]string{"cellular"}))

	// It ends with the query as well, though the hub was never heard to confirm it.
	twin := seldom(w.query("twin", query.Spec.Where))
	twin.Spec.Where += " AND deviceId = 'd1' AND tags.plant = 'Redmond44'"
	w.create(twin)
	w.awaitReady(twin)
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"plant":"Redmond44"}`) })
	w.Eventually(w.memberships(obj), patience, "20ms").Should(Equal([]string{"cellular", "twin"}))
	w.Expect(twin.Status.Devices).To(BeEmpty())
	w.delete(twin)
	w.Eventually(w.memberships(obj), patience, "20ms").Should(Equal([]string{"cellular"}))

	// The hub's answer from before the device changed does not count for more.
	stall, err := w.hub.AddFault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultIndexStall})
	w.Expect(err).NotTo(HaveOccurred())
	w.report("d1", `{"connectivity":"wifi"}`)
	w.visitTwin(obj)
	w.Expect(w.memberships(obj)()).To(BeEmpty())
	w.reconcileNow(query, func() string { return query.Status.LastHandledReconcileAt })
	w.Expect(query.Status.Devices).To(Equal([]string{"d1"}), "the index is late")
	w.Consistently(w.memberships(obj), "500ms", "50ms").Should(BeEmpty())
	w.hub.RemoveFault(stall)
	w.reconcileNow(query, func() string { return query.Status.LastHandledReconcileAt })
	w.Expect(query.Status.Devices).To(BeEmpty())
}

// TestQueriesOfOneTextAreAskedOnce in an interval, and at once on request.
func TestQueriesOfOneTextAreAskedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	w.awaitReady(conn)
	before := w.calls("query")
	var queries []*v1alpha1.TwinQuery
	for i := range 20 {
		query := seldom(w.query(fmt.Sprintf("q%d", i), []string{"tags.plant='a'", "tags.plant  =  'a'", "tags.plant = 'b'"}[i%3]))
		w.create(query)
		queries = append(queries, query)
	}
	for _, query := range queries {
		w.awaitReady(query)
		w.Expect(query.Status.Count).To(HaveValue(BeZero()))
	}
	w.Expect(w.calls("query")-before).To(Equal(2), "two texts, however they are spelled")
	w.reconcileNow(queries[0], func() string { return queries[0].Status.LastHandledReconcileAt })
	w.Expect(w.calls("query") - before).To(Equal(3))
	w.edit(queries[1], func() { queries[1].Spec.Interval = metav1.Duration{Duration: 5 * time.Second} })
	w.Eventually(func() int { return w.calls("query") - before }, patience).Should(Equal(4))
}

// TestQueriesThatWaitForAnAnswerAreWoken when it is there, and not before their interval.
func TestQueriesThatWaitForAnAnswerAreWoken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPatience())
	w.awaitReady(w.connect())
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultHang})
	w.Expect(err).NotTo(HaveOccurred())
	var queries []*v1alpha1.TwinQuery
	for i := range 5 {
		queries = append(queries, seldom(w.query(fmt.Sprintf("q%d", i), "tags.plant = 'a'")))
		w.create(queries[i])
	}
	held := func() int { return w.hub.Faults()[0].Held }
	w.Eventually(held, patience, "20ms").Should(Equal(1))
	w.Consistently(held, "500ms", "50ms").Should(Equal(1))
	w.hub.RemoveFault(fault)
	for _, query := range queries {
		w.awaitReady(query)
	}
}
