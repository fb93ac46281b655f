package controllers_test

import (
	"maps"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/controllers"
)

// withMetrics has the managers count.
func withMetrics() setting {
	return func(w *world) { w.options.Metrics = controllers.NewMetrics() }
}

// measured are the values of the series that are not zero, and the counts of histograms, by name
// and labels in their order. A host is "hub", or "unproved".
func (w *world) measured() map[string]float64 {
	w.Helper()
	registry := prometheus.NewRegistry()
	w.Expect(registry.Register(w.options.Metrics)).To(Succeed())
	families, err := registry.Gather()
	w.Expect(err).NotTo(HaveOccurred())
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "devicetwin_")
			for _, label := range metric.GetLabel() {
				w.Expect(label.GetValue()).NotTo(ContainSubstring("thermostat"), "no label names a device or an object")
				name += " " + strings.Replace(label.GetValue(), w.hub.HostName(), "hub", 1)
			}
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			if value != 0 {
				values[name] = value
			}
		}
	}
	return values
}

// only are the series of some metrics.
func only(values map[string]float64, prefixes ...string) map[string]float64 {
	kept := maps.Clone(values)
	maps.DeleteFunc(kept, func(name string, _ float64) bool {
		for _, prefix := range prefixes {
			if strings.HasPrefix(name, prefix) {
				return false
			}
		}
		return true
	})
	return kept
}

// TestMetricsTellWhatChangesWereFor, how long they took and which objects there are; and nothing
// of a hub whose HubConnection went.
func TestMetricsTellWhatChangesWereFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMetrics(), withPolicy("iothubowner"), func(w *world) { w.hubOptions.Devices = []string{"thermostat1", "thermostat2"} })
	conn := w.connect()
	w.awaitReady(conn) // what is there at the manager's start is no edit
	kept, cleared := w.twin("thermostat1", "thermostat1", `{"plant":"43"}`, ""), w.twin("thermostat2", "thermostat2", `{"plant":"43"}`, `{"on":true}`)
	cleared.Spec.DeletionPolicy = v1alpha1.DeletionClear
	registered := w.registering("thermostat3")
	registered.Spec.Tags = raw(`{"plant":"43"}`)
	for _, obj := range []*v1alpha1.DeviceTwin{kept, cleared, registered} {
		w.create(obj)
		w.awaitReady(obj)
	}
	w.edit(kept, func() { kept.Spec.Tags = raw(`{"plant":"44"}`) })
	w.awaitReady(kept)
	w.anotherWriter("thermostat1", map[string]any{"plant": "45"})
	w.Eventually(func() string { return w.tags("thermostat1") }, patience, "20ms").Should(Equal(`{"plant":"44"}`))
	w.report("thermostat1", `{"temperature":21}`)
	counters := func() map[string]float64 {
		return only(w.measured(), "patches_total", "drift_corrected_total", "edit_to_hub_seconds", "report_to_status_seconds")
	}
	want := map[string]float64{
		"patches_total edit hub": 3, "patches_total registration hub": 1, "patches_total drift hub": 1,
		"drift_corrected_total hub": 1, "edit_to_hub_seconds hub": 4, "report_to_status_seconds hub": 1,
	}
	w.Eventually(counters, patience, "50ms").Should(Equal(want))
	objects := func() map[string]float64 { return only(w.measured(), "objects Ready", "objects Acknowledged") }
	w.Eventually(objects, patience, "50ms").Should(Equal(map[string]float64{
		"objects Ready hub DeviceTwin Succeeded True": 3, "objects Ready hub HubConnection Succeeded True": 1,
		"objects Acknowledged hub DeviceTwin NeverReported Unknown": 1,
	}))
	w.delete(cleared)
	w.awaitGone(cleared)
	want["patches_total deletion hub"] = 1
	w.Eventually(counters, patience, "50ms").Should(Equal(want))

	w.delete(conn)
	w.Eventually(func() map[string]float64 {
		return only(w.measured(), "patches", "drift", "edit", "report", "readback")
	}, patience, "50ms").Should(BeEmpty())
	w.await(kept, metav1.ConditionFalse, v1alpha1.ReasonHubNotFound)
	w.Eventually(objects, patience, "50ms").Should(HaveKeyWithValue("objects Ready unproved DeviceTwin HubNotFound False", 2.0))
}

// TestSeriesDoNotOutliveChurn: whatever came and went, the series are those of before.
func TestSeriesDoNotOutliveChurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMetrics(), withPolicy("iothubowner"), func(w *world) { w.hubOptions.Devices = []string{"d1", "d2", "d3", "d4"} })
	_, err := w.hub.AddModule("d1", "m1")
	w.Expect(err).NotTo(HaveOccurred())
	for range 2 {
		w.churn()
		w.Expect(w.measured()).NotTo(BeEmpty())
		w.clear()
		w.Eventually(func() map[string]float64 {
			left := w.measured()
			delete(left, "left_behind_total") // of no hub
			return left
		}, patience, "50ms").Should(BeEmpty())
	}
}
