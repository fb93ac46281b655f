package hubqueue

import (
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
)

// TestWhatAReconcileNeeds follows from what was last known of the object.
func TestWhatAReconcileNeeds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		synced   *metav1.Condition
		need     dispatch.Need
		priority int
	}{
		"never seen":  {nil, dispatch.WriteNeed, trigger.News},
		"edited":      {&metav1.Condition{Status: metav1.ConditionTrue, ObservedGeneration: 1}, dispatch.WriteNeed, trigger.News},
		"in step":     {&metav1.Condition{Status: metav1.ConditionTrue, ObservedGeneration: 2}, dispatch.ReadNeed, trigger.ReadBack},
		"not in step": {&metav1.Condition{Status: metav1.ConditionFalse, ObservedGeneration: 2}, dispatch.WriteNeed, trigger.News},
		"contended": {&metav1.Condition{Status: metav1.ConditionFalse, ObservedGeneration: 2, Reason: v1alpha1.ReasonContended},
			dispatch.WriteNeed, trigger.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
			if tt.synced != nil {
				tt.synced.Type = v1alpha1.ConditionSynced
				obj.Status.Conditions = []metav1.Condition{*tt.synced}
			}
			need, priority := needOf(obj)
			g.Expect(need).To(Equal(tt.need))
			g.Expect(priority).To(Equal(tt.priority))
		})
	}
}

// TestWhatTheUserDidStaysUrgent until it has been reconciled.
func TestWhatTheUserDidStaysUrgent(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	queue := New(nil, "DeviceTwin", dispatch.Reconciles)
	name, other := types.NamespacedName{Name: "a"}, types.NamespacedName{Name: "b"}
	g.Expect(queue.Priority(name, trigger.ReadBack)).To(Equal(trigger.ReadBack))
	queue.Mark(name, trigger.Edit)
	queue.Mark(name, trigger.Create)
	g.Expect(queue.Priority(name, trigger.ReadBack)).To(Equal(trigger.Edit))
	g.Expect(queue.Priority(other, trigger.ReadBack)).To(Equal(trigger.ReadBack))
	queue.Served(name)
	g.Expect(queue.Priority(name, trigger.Drift)).To(Equal(trigger.Drift))
}
