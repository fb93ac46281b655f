package controllers_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// TestTheSchemaOfAHubsUse: what IoT Hub does not sell is refused with the field, and
// a declaration that names nothing of it gets what most hubs are.
func TestTheSchemaOfAHubsUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tt := range map[string]struct {
		declare func(*v1alpha1.HubConnectionSpec)
		refused string
	}{
		"nothing":              {declare: func(*v1alpha1.HubConnectionSpec) {}},
		"one free hub":         {declare: func(s *v1alpha1.HubConnectionSpec) { s.Tier.SKU, s.Tier.Units = v1alpha1.SKUF1, 1 }},
		"two free hubs":        {func(s *v1alpha1.HubConnectionSpec) { s.Tier.SKU, s.Tier.Units = v1alpha1.SKUF1, 2 }, "spec.tier.units"},
		"200 of S1":            {declare: func(s *v1alpha1.HubConnectionSpec) { s.Tier.Units = 200 }},
		"more than are sold":   {declare: func(s *v1alpha1.HubConnectionSpec) { s.Tier.Units = 1000 }},
		"1001 of S1":           {func(s *v1alpha1.HubConnectionSpec) { s.Tier.Units = 1001 }, "spec.tier.units"},
		"200 of S2":            {declare: func(s *v1alpha1.HubConnectionSpec) { s.Tier.SKU, s.Tier.Units = v1alpha1.SKUS2, 200 }},
		"10 of S3":             {declare: func(s *v1alpha1.HubConnectionSpec) { s.Tier.SKU, s.Tier.Units = v1alpha1.SKUS3, 10 }},
		"11 of S3":             {declare: func(s *v1alpha1.HubConnectionSpec) { s.Tier.SKU, s.Tier.Units = v1alpha1.SKUS3, 11 }},
		"a tier without twins": {func(s *v1alpha1.HubConnectionSpec) { s.Tier.SKU = "B1" }, "spec.tier.sku"},
		"more than a hub has":  {func(s *v1alpha1.HubConnectionSpec) { s.Budget.RatePercent = 101 }, "spec.budget.ratePercent"},
		"more than the quota":  {func(s *v1alpha1.HubConnectionSpec) { s.Budget.DailyMessagesPercent = 101 }, "spec.budget.dailyMessagesPercent"},
		"a sweep as often":     {declare: func(s *v1alpha1.HubConnectionSpec) { intervals(s, time.Hour, time.Hour) }},
		"a sweep more often":   {func(s *v1alpha1.HubConnectionSpec) { intervals(s, time.Hour, time.Hour-time.Second) }, "spec.readBack.fullSweepInterval"},
		"a sweep too rare":     {func(s *v1alpha1.HubConnectionSpec) { intervals(s, time.Hour, 169*time.Hour) }, "spec.readBack.fullSweepInterval"},
		"a day, and no sweep":  {declare: func(s *v1alpha1.HubConnectionSpec) { intervals(s, 24*time.Hour, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			conn := w.connection("h")
			conn.Name, conn.GenerateName = "", "hub-"
			conn.Spec.Tier, conn.Spec.Budget, conn.Spec.ReadBack = v1alpha1.Tier{}, v1alpha1.Budget{}, v1alpha1.ReadBack{}
			tt.declare(&conn.Spec)
			err := w.client.Create(w.Context(), conn, client.DryRunAll)
			if tt.refused != "" {
				g.Expect(err).To(MatchError(ContainSubstring(tt.refused + ": ")))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(conn.Spec.Tier.Units).To(BeNumerically(">=", 1))
			g.Expect(conn.Spec.Tier.SKU).NotTo(BeEmpty())
			g.Expect(conn.Spec.Budget).To(Equal(v1alpha1.Budget{RatePercent: 50, DailyMessagesPercent: 20}))
			g.Expect(conn.Spec.ReadBack.FullSweep()).To(BeNumerically(">=", conn.Spec.ReadBack.Interval.Duration))
		})
	}
}

func intervals(spec *v1alpha1.HubConnectionSpec, interval, sweep time.Duration) {
	spec.ReadBack.Interval, spec.ReadBack.FullSweepInterval = metav1.Duration{Duration: interval}, metav1.Duration{Duration: sweep}
}
