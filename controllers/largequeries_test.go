package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/controllers"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// crowded is a world whose hub has many devices, beside those named x-…, and whose
// managers list two pages of an answer. Its twins are read on request.
type crowded struct {
	*world
	clock   *clocktesting.FakePassiveClock
	metrics *controllers.Metrics
}

func newCrowded(t *testing.T, devices int, scopes ...v1alpha1.DeviceScope) *crowded {
	t.Helper()
	c := &crowded{clock: clocktesting.NewFakePassiveClock(time.Now()), metrics: controllers.NewMetrics()}
	c.world = newWorld(t, withClock(c.clock), func(w *world) {
		w.options.ListedPages, w.options.Metrics = 2, c.metrics
		w.hubOptions.Devices = append(numbered("x", 3), numbered("dev", devices)...)
	})
	c.createSecret("hub", c.credential("service"))
	conn := c.connection("hub")
	conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = time.Hour, time.Hour
	for _, scope := range scopes {
		scope.Namespace = c.ns
		conn.Spec.DeviceScopes = append(conn.Spec.DeviceScopes, scope)
	}
	c.create(conn)
	c.awaitReady(conn)
	return c
}

func (c *crowded) managed(device string) *v1alpha1.DeviceTwin {
	c.Helper()
	obj := c.twin(device, device, "", "")
	c.create(obj)
	c.awaitReady(obj)
	return obj
}

func (c *crowded) asked(query *v1alpha1.TwinQuery) *v1alpha1.TwinQuery {
	c.Helper()
	c.create(query)
	c.awaitReady(query)
	return query
}

// again has a query asked now, and what goes on beside it done.
func (c *crowded) again(query *v1alpha1.TwinQuery) {
	c.Helper()
	c.reconcileNow(query, func() string { return query.Status.LastHandledReconcileAt })
}

func (c *crowded) disagreements() float64 {
	registry := prometheus.NewRegistry()
	c.Expect(registry.Register(c.metrics)).To(Succeed())
	families, err := registry.Gather()
	c.Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		if family.GetName() == "devicetwin_membership_disagreements_total" {
			return family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	c.Fatal("no such metric")
	return 0
}

// TestALargeAnswerIsCounted, within the scope of its namespace, with as many questions
// as it has texts, and its status stays until the count moves.
func TestALargeAnswerIsCounted(t *testing.T) {
	t.Parallel()
	c := newCrowded(t, 2500, v1alpha1.DeviceScope{DeviceIDPrefix: "dev-"})
	obj := c.managed("dev-2400")
	wide := seldom(c.query("wide", "status='enabled'"))
	c.asked(wide)
	c.Expect(wide.Status.Count).To(HaveValue(BeEquivalentTo(2500)), "those of the scope")
	c.Expect(wide.Status.Devices).To(BeEmpty())
	c.Eventually(c.memberships(obj), patience, "20ms").Should(Equal([]string{"wide"}))
	before := c.calls("query")
	alike := c.asked(seldom(c.query("alike", "status  =  'enabled'")))
	c.Expect(alike.Status.Count).To(HaveValue(BeEquivalentTo(2500)))
	c.Eventually(c.memberships(obj), patience, "20ms").Should(Equal([]string{"alike", "wide"}))
	c.Expect(c.calls("query")).To(Equal(before), "two of one text share the answer")

	observed := wide.Status.ObservedAt
	for n := range 4 {
		c.again(wide)
		c.Eventually(func() int { return c.calls("query") - before }, patience, "20ms").Should(Equal(2*(n+1)), "a count and a page of what is managed")
	}
	c.Expect(wide.Status.ObservedAt).To(Equal(observed))
	c.Consistently(func() int { return c.calls("query") - before }, "500ms", "50ms").Should(Equal(8))
	c.Expect(c.hub.RemoveDevice("dev-000")).To(Succeed())
	c.again(wide)
	c.Expect(wide.Status.Count).To(HaveValue(BeEquivalentTo(2499)))
}

// TestALargeAnswerIsAskedOncePerInterval: a page that counts, and one for what is managed.
func TestALargeAnswerIsAskedOncePerInterval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		w.options.ListedPages, w.hubOptions.Devices = 2, numbered("dev", 500)
	})
	w.createSecret("hub", w.credential("service"))
	conn := w.connection("hub")
	conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = time.Hour, time.Hour
	w.create(conn)
	obj := w.twin("t1", "dev-400", "", "")
	w.create(obj)
	w.awaitReady(obj)
	for i := range 10 {
		query := w.query(fmt.Sprintf("q%d", i), "status = 'enabled'")
		w.create(query)
		w.awaitReady(query)
	}
	w.Eventually(w.memberships(obj), patience, "20ms").Should(HaveLen(10))
	before := w.calls("query")
	w.Eventually(func() int { return w.calls("query") - before }, patience, "20ms").Should(BeNumerically(">=", 4), "it is asked again")
	w.Consistently(func() int { return w.calls("query") - before }, "7s", "100ms").Should(BeNumerically("<=", 4+2*2))
}

// TestALargeAnswerShowsWhatNoDocumentShows: another writer changed a twin, and no caller
// read it.
func TestALargeAnswerShowsWhatNoDocumentShows(t *testing.T) {
	t.Parallel()
	c := newCrowded(t, 500)
	obj, other := c.managed("dev-400"), c.managed("dev-401")
	query := c.asked(seldom(c.query("active", "STARTSWITH(deviceId, 'dev-') AND NOT IS_DEFINED(tags.retired)")))
	c.Eventually(c.memberships(obj), patience, "20ms").Should(Equal([]string{"active"}))
	c.Eventually(c.memberships(other), patience, "20ms").Should(Equal([]string{"active"}))
	c.clock.SetTime(c.clock.Now().Add(time.Minute))
	c.anotherWriter("dev-400", map[string]any{"retired": true})
	c.again(query)
	c.Expect(query.Status.Count).To(HaveValue(BeEquivalentTo(499)))
	c.Eventually(c.memberships(obj), patience, "20ms").Should(BeEmpty())
	c.Expect(c.memberships(other)()).To(Equal([]string{"active"}))
	c.Expect(c.disagreements()).To(BeZero())

	// Another condition of the query, which selects another.
	c.edit(query, func() { query.Spec.Where = "STARTSWITH(deviceId, 'dev-') AND deviceId != 'dev-401'" })
	c.Eventually(c.memberships(obj), patience, "20ms").Should(Equal([]string{"active"}))
	c.Eventually(c.memberships(other), patience, "20ms").Should(BeEmpty())
	c.delete(query)
	c.Eventually(c.memberships(obj), patience, "20ms").Should(BeEmpty())
}

// TestALargeAnswerThatIsLate counts for less than the device, until it lasts: then that
// it does is counted.
func TestALargeAnswerThatIsLate(t *testing.T) {
	t.Parallel()
	c := newCrowded(t, 500)
	obj := c.managed("dev-400")
	query := c.asked(seldom(c.query("wired", "STARTSWITH(deviceId, 'dev-') AND NOT IS_DEFINED(properties.reported.wireless)")))
	c.Eventually(c.memberships(obj), patience, "20ms").Should(Equal([]string{"wired"}))
	stall, err := c.hub.AddFault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultIndexStall})
	c.Expect(err).NotTo(HaveOccurred())
	c.report("dev-400", `{"wireless":true}`)
	c.visitTwin(obj)
	c.Expect(c.memberships(obj)()).To(BeEmpty())
	before := c.calls("query")
	c.again(query)
	c.Eventually(func() int { return c.calls("query") - before }, patience, "20ms").Should(Equal(2), "count and look")
	c.Consistently(c.memberships(obj), "500ms", "50ms").Should(BeEmpty())

	c.clock.SetTime(c.clock.Now().Add(time.Minute))
	c.again(query)
	c.Eventually(c.memberships(obj), patience, "20ms").Should(Equal([]string{"wired"}), "the hub's answer is the base")
	c.Expect(c.disagreements()).To(BeZero())
	c.visitTwin(obj)
	c.Expect(c.memberships(obj)()).To(BeEmpty())
	c.Expect(c.disagreements()).To(BeEquivalentTo(1))
	c.hub.RemoveFault(stall)
	c.clock.SetTime(c.clock.Now().Add(time.Minute))
	c.again(query)
	c.visitTwin(obj)
	c.Expect(c.disagreements()).To(BeEquivalentTo(1))
}

// TestALookAtALargeAnswerIsGentle: ten times as long between two pages as the hub allows.
func TestALookAtALargeAnswerIsGentle(t *testing.T) {
	t.Parallel()
	c := newCrowded(t, 250)
	var hubConnection v1alpha1.HubConnection
	c.Expect(c.client.Get(c.Context(), client.ObjectKey{Namespace: c.ns, Name: "hub"}, &hubConnection)).To(Succeed())
	c.edit(&hubConnection, func() { hubConnection.Spec.Tier = v1alpha1.Tier{SKU: v1alpha1.SKUS1, Units: 1} })
	c.awaitReady(&hubConnection)
	long := numbered("x-"+strings.Repeat("l", 122), 30) // too many for one query
	for i, device := range long {
		_, err := c.hub.AddDevice(device)
		c.Expect(err).NotTo(HaveOccurred())
		c.create(c.twin(fmt.Sprintf("t%d", i), device, "", ""))
	}
	c.Eventually(func() int { return c.ready("hub") }, patience, "50ms").Should(Equal(len(long)))
	before := c.calls("query")
	query := c.asked(seldom(c.query("q", "status = 'enabled'")))
	c.Expect(query.Status.Count).To(HaveValue(BeEquivalentTo(283)))
	asked := func() int { return c.calls("query") - before }
	c.Eventually(asked, patience, "20ms").Should(Equal(5), "two pages and one more, count, and the first of two looks")
	c.Consistently(asked, "3s", "50ms").Should(Equal(5))
}

// TestALargeAnswerThatBecomesSmallIsListed, but not as soon as it is near the bound.
func TestALargeAnswerThatBecomesSmallIsListed(t *testing.T) {
	t.Parallel()
	c := newCrowded(t, 201)
	query := c.asked(seldom(c.query("q", "STARTSWITH(deviceId, 'dev-')")))
	for i, want := range []int{200, 181, 180} {
		for device := []int{201, 200, 181}[i]; device > want; device-- {
			c.Expect(c.hub.RemoveDevice(fmt.Sprintf("dev-%03d", device-1))).To(Succeed())
		}
		c.again(query)
		c.Expect(query.Status.Count).To(HaveValue(BeEquivalentTo(want)))
		c.Expect(query.Status.Devices).To(HaveLen([]int{0, 0, 100}[i]))
	}
	c.Expect(slices.IsSorted(query.Status.Devices)).To(BeTrue())
}

// TestARestartKeepsTheMembersOfALargeAnswer, and writes nothing.
func TestARestartKeepsTheMembersOfALargeAnswer(t *testing.T) {
	t.Parallel()
	c := newCrowded(t, 500)
	obj := c.managed("dev-400")
	query := c.asked(seldom(c.query("all", "status = 'enabled'")))
	c.Eventually(c.memberships(obj), patience, "20ms").Should(Equal([]string{"all"}))
	c.stop()
	versions := []string{obj.ResourceVersion, query.ResourceVersion}
	before := c.calls("query")
	c.startManager()
	c.Eventually(func() int { return c.calls("query") - before }, patience, "20ms").Should(BeNumerically(">=", 5), "two pages and one more, count, look")
	c.Consistently(func() []string {
		c.Expect(c.client.Get(c.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		c.Expect(c.client.Get(c.Context(), client.ObjectKeyFromObject(query), query)).To(Succeed())
		return []string{obj.ResourceVersion, query.ResourceVersion}
	}, "2s", "50ms").Should(Equal(versions))
}
