package controllers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// amid puts a fault before the second of the next two queries of the hub.
func (c *crowded) amid(fault hubemulator.Fault) {
	c.Helper()
	fault.Operation, fault.Count = "query", 1
	for _, one := range []hubemulator.Fault{{Operation: "query", Action: hubemulator.FaultDelay, Delay: time.Millisecond, Count: 1}, fault} {
		_, err := c.hub.AddFault(one)
		c.Expect(err).NotTo(HaveOccurred())
	}
}

// faulty counts what a kind of fault was applied to.
func (c *crowded) faulty(action string) (hits int) {
	for _, fault := range c.hub.Faults() {
		if fault.Action == action {
			hits += fault.Hits
		}
	}
	return hits
}

func (c *crowded) membershipsLate(query *v1alpha1.TwinQuery) func() string {
	return func() string {
		if late := c.condition(query, v1alpha1.ConditionMembershipsLate); late != nil {
			return string(late.Status) + " " + late.Reason + " " + late.Message
		}
		return ""
	}
}

// TestALookThatIsBlockedIsTold after three intervals, and harms no other hub's looks.
func TestALookThatIsBlockedIsTold(t *testing.T) {
	t.Parallel()
	c := newCrowded(t, 500)
	obj := c.managed("dev-400")
	query := c.asked(seldom(c.query("active", "STARTSWITH(deviceId, 'dev-')")))
	c.Eventually(c.memberships(obj), patience, "20ms").Should(Equal([]string{"active"}))
	again := c.connection("again")
	again.Spec.Auth.ConnectionStringSecretRef.Name = "hub"
	again.Spec.ReadBack.Interval.Duration, again.Spec.ReadBack.FullSweepInterval.Duration = time.Hour, time.Hour
	c.create(again)
	c.awaitReady(again)

	c.amid(hubemulator.Fault{Action: hubemulator.FaultHold})
	c.again(query)
	c.Eventually(func() int { return c.faulty(hubemulator.FaultHold) }, patience, "20ms").Should(Equal(1))
	c.clock.SetTime(c.clock.Now().Add(3*query.Spec.Interval.Duration - time.Second))
	c.again(query)
	c.Expect(c.membershipsLate(query)()).To(BeEmpty())
	c.clock.SetTime(c.clock.Now().Add(time.Second))
	c.again(query)
	c.Expect(c.membershipsLate(query)()).To(HavePrefix("True MembershipsBlocked for three intervals"))
	c.Expect(c.condition(query, v1alpha1.ConditionReady).Status).To(Equal(metav1.ConditionTrue), "the count is told")

	beside := seldom(c.query("beside", "STARTSWITH(deviceId, 'dev-') AND deviceId != 'dev-0'"))
	beside.Spec.HubRef.Name = "again"
	twin := c.twin("beside", "dev-401", "", "")
	twin.Spec.HubRef.Name = "again"
	c.create(twin)
	c.asked(beside)
	c.Eventually(c.memberships(twin), patience, "20ms").Should(Equal([]string{"beside"}))

	for _, fault := range c.hub.Faults() {
		c.hub.RemoveFault(fault.ID)
	}
	c.Eventually(func() string {
		c.again(query)
		return c.membershipsLate(query)()
	}, patience, "100ms").Should(BeEmpty())
}

// TestLooksThatFailAreTold after three intervals.
func TestLooksThatFailAreTold(t *testing.T) {
	t.Parallel()
	c := newCrowded(t, 500)
	obj := c.managed("dev-400")
	query := c.asked(seldom(c.query("active", "STARTSWITH(deviceId, 'dev-')")))
	c.Eventually(c.memberships(obj), patience, "20ms").Should(Equal([]string{"active"}))
	fails := func(n int) {
		c.amid(hubemulator.Fault{Action: hubemulator.FaultStatus, Status: 400})
		c.again(query)
		c.Eventually(func() int { return c.faulty(hubemulator.FaultStatus) }, patience, "20ms").Should(Equal(n))
	}
	fails(1)
	c.Expect(c.membershipsLate(query)()).To(BeEmpty())
	c.clock.SetTime(c.clock.Now().Add(3 * query.Spec.Interval.Duration))
	fails(2)
	c.Expect(c.membershipsLate(query)()).To(And(HavePrefix("True MembershipsFailing"), ContainSubstring("400")))
	c.again(query) // the look that is answered
	c.Eventually(func() string {
		c.again(query)
		return c.membershipsLate(query)()
	}, patience, "100ms").Should(BeEmpty())
}

// unwatched is a way to the API server on which watches of Secrets never answer.
type unwatched struct{ http.RoundTripper }

func (u unwatched) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/secrets") && r.URL.Query().Get("watch") != "" {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return u.RoundTripper.RoundTrip(r)
}

// TestASecretThatCannotBeWatched is read again with each proof of its HubConnection.
func TestASecretThatCannotBeWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPatience(), func(w *world) {
		w.options.ProbeInterval = time.Second
		w.wire = func(next http.RoundTripper) http.RoundTripper { return unwatched{next} }
	})
	secret := w.createSecret("hub", w.credential("service"))
	conn := w.connection("hub")
	w.create(conn)
	w.awaitReady(conn)
	w.edit(secret, func() { secret.Data["connectionString"] = []byte("HostName=hub") })
	w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonMalformedConnectionString)
}
