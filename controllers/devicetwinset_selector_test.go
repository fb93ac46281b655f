package controllers_test

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

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

// TestAnotherSelectorInTheMiddleOfARollout is another query: where the answer to the one before went on says nothing of it.
func TestAnotherSelectorInTheMiddleOfARollout(t *testing.T) {
	t.Parallel()
	devices := fleet(400)
	w := newWorld(t, withHubOf(devices...), func(w *world) { w.hubOptions.Tier = "S2" })
	w.inPlant(devices...)
	w.awaitReady(w.connect())
	set := w.set("line-3", plant43, `{"ring":"stable"}`, "")
	w.create(set)
	w.Eventually(w.patches, patience, "5ms").Should(BeNumerically(">=", 120))
	w.edit(set, func() { set.Spec.Selector.Where = plant43 + " AND deviceId != 'd399'" })
	w.awaitReady(set)
	w.Expect(set.Status.Counts.Written).To(BeEquivalentTo(399))
	w.Expect(w.tags("d398")).To(ContainSubstring("stable"))
	w.Expect(w.tags("d399")).NotTo(ContainSubstring("stable"))
}

// TestAnotherSelectorDoesNotWaitForTheInterval: the user has said it.
func TestAnotherSelectorDoesNotWaitForTheInterval(t *testing.T) {
	t.Parallel()
	devices := fleet(4)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	w.awaitReady(w.connect())
	set := w.set("line-3", "deviceId IN ['d000', 'd001']", `{"ring":"stable"}`, "")
	set.Spec.OnLeave, set.Spec.Interval.Duration = v1alpha1.SetClear, time.Hour
	w.create(set)
	w.awaitReady(set)
	w.edit(set, func() { set.Spec.Selector.Where = "deviceId IN ['d001', 'd002']" })
	w.Eventually(func() string { return w.tags("d002") }, patience, "50ms").Should(ContainSubstring("stable"))
	w.Eventually(func() string { return w.tags("d000") }, patience, "50ms").Should(MatchJSON(`{"plant":"43"}`))
}

// TestADeviceThatLeavesWhileItsShareIsRead is not written: the devices of a percentage are found by ids, and
// their twins are read by these alone.
func TestADeviceThatLeavesWhileItsShareIsRead(t *testing.T) {
	t.Parallel()
	devices := fleet(20)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	byID := regexp.MustCompile(`deviceId IN \['(\w+)'`)
	var leaves sync.Once
	moved := make(chan string, 1)
	tapped := w.tapWith(func(_ http.ResponseWriter, request *http.Request) bool {
		body, err := io.ReadAll(request.Body)
		request.Body = io.NopCloser(bytes.NewReader(body))
		if found := byID.FindSubmatch(body); found != nil {
			leaves.Do(func() {
				device := string(found[1])
				w.anotherWriter(device, map[string]any{"plant": "44"})
				moved <- device
			})
		}
		return err == nil
	})
	w.awaitReady(w.connectThrough(tapped.host, tapped.ca))
	set := w.set("line-3", plant43, `{"ring":"stable"}`, "")
	set.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "half", Percent: 50}}
	w.create(set)
	w.awaitReady(set)
	var left string
	w.Eventually(moved, patience).Should(Receive(&left))
	w.Expect(tapped.changes(0)).To(HaveLen(len(devices) - 1))
	w.Expect(tapped.changes(0)).NotTo(ContainElement(ContainSubstring("/twins/" + left)))
	w.Expect(w.tags(left)).To(MatchJSON(`{"plant":"44"}`))
}
