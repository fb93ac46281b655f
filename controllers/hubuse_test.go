package controllers_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// withUses has the numbers of a hub's use written every second.
func withUses() setting { return func(w *world) { w.options.UseInterval = time.Second } }

func (w *world) use(conn *v1alpha1.HubConnection) func() v1alpha1.HubUse {
	return func() v1alpha1.HubUse {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(conn), conn)).To(Succeed())
		return conn.Status.HubUse
	}
}

// TestTheUseOfAHubShows while a rollout waits for permits, and when it is over.
func TestTheUseOfAHubShows(t *testing.T) {
	t.Parallel()
	devices := numbered("c", 40)
	w := newWorld(t, withTier(devices...), withUses())
	w.createSecret("hub", w.credential("service"))
	conn := w.connection("hub")
	conn.Spec.Budget.RatePercent = 4 // two updates a second
	conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = time.Hour, time.Hour
	w.create(conn)
	w.awaitReady(conn)
	w.crowd("hub", devices)
	w.Eventually(w.use(conn), patience).Should(And(
		HaveField("Backlog", BeNumerically(">", 5)),
		HaveField("BacklogEndsAt.Time", BeTemporally("~", time.Now().Add(15*time.Second), 15*time.Second)),
		HaveField("Twins.Total", BeNumerically(">", 5)),
	))
	w.edit(conn, func() { conn.Spec.Budget.RatePercent = 100 })
	w.Eventually(w.use(conn), patience).Should(And(
		HaveField("Backlog", BeZero()),
		HaveField("BacklogEndsAt", BeNil()),
		HaveField("Twins", HaveValue(Equal(v1alpha1.TwinCounts{Total: 40, Ready: 40}))),
		HaveField("QuotaUsedPercent", BeEquivalentTo(1)),
		HaveField("QuotaDay", time.Now().UTC().Format(time.DateOnly)),
		HaveField("EffectiveInterval.Duration", time.Hour),
		HaveField("EffectiveFullSweepInterval.Duration", time.Hour),
		HaveField("EffectiveIntervalReason", BeEmpty()),
	))
	version := conn.ResourceVersion
	w.Consistently(func() string {
		w.use(conn)()
		return conn.ResourceVersion
	}, "3s").Should(Equal(version), "nothing is written that says nothing new")
}

// TestTheDaysMessagesSurviveARestart, and are told of when they are used up.
func TestTheDaysMessagesSurviveARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withUses())
	conn := w.connect()
	w.awaitReady(conn)
	w.stop()
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(conn), conn)).To(Succeed())
	conn.Status.QuotaUsedPercent, conn.Status.QuotaDay = 110, time.Now().UTC().Format(time.DateOnly)
	w.Expect(w.client.Status().Update(w.Context(), conn)).To(Succeed())
	w.startManager()
	w.Eventually(func() string {
		w.use(conn)()
		pressure := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionQuotaPressure)
		if pressure == nil {
			return ""
		}
		return pressure.Reason
	}, patience).Should(Equal(v1alpha1.ReasonDailyMessagesUsed))
	w.Expect(conn.Status.QuotaUsedPercent).To(BeNumerically(">=", 110))
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.awaitReady(obj) // a person's change goes through
	w.Eventually(w.use(conn), patience).Should(And(
		HaveField("EffectiveInterval.Duration", 64*readBack),
		HaveField("EffectiveFullSweepInterval.Duration", 64*readBack),
		HaveField("EffectiveIntervalReason", ContainSubstring("today's messages")),
	), "reading back comes after it")
	w.edit(conn, func() { conn.Spec.Budget.DailyMessagesPercent = 100 })
	w.Eventually(w.use(conn), patience).Should(And(
		HaveField("EffectiveInterval.Duration", readBack),
		HaveField("EffectiveFullSweepInterval.Duration", readBack),
		HaveField("EffectiveIntervalReason", BeEmpty()),
	))
	w.Expect(meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionQuotaPressure)).To(BeFalse())
	w.report("d1", `{"connectivity":"cellular"}`)
	w.Eventually(func() string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		return obj.Status.Connectivity
	}, patience).Should(Equal("cellular"), "the next look does not wait until the stretched one was due")
}

// TestTheUseIsToldOnceInAWhile: however often the HubConnection is looked at.
func TestTheUseIsToldOnceInAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.awaitReady(obj)
	w.reconcileNow(conn, func() string { return conn.Status.LastHandledReconcileAt })
	w.Expect(conn.Status.HubUse).To(Equal(v1alpha1.HubUse{}))
}
