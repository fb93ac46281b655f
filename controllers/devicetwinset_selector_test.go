package controllers_test

import (
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// TestAnotherSelectorIsCountedBeforeAnythingIsWritten, however lately the devices of the one before were.
func TestAnotherSelectorIsCountedBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	devices := fleet(12)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	w.awaitReady(w.connect())
	set := w.set("line-3", plant43+" AND deviceId IN ['d001', 'd002']", `{"ring":"stable"}`, "")
	set.Spec.MaxDevices = 11
	set.Spec.Rollout.Paused = true
	w.create(set)
	w.await(set, metav1.ConditionFalse, v1alpha1.ReasonRolloutPaused)
	w.edit(set, func() { set.Spec.Selector.Where, set.Spec.Rollout.Paused = plant43, false })
	w.await(set, metav1.ConditionFalse, v1alpha1.ReasonTooManyDevices)
	w.Expect(w.patches()).To(BeZero())
}
