package controllers

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/devicetwin-io/devicetwin-operator/internal/conditionmetrics"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/readback"
)

// Metrics counts what no status tells, or none any more. It is a
// prometheus.Collector, for the caller to register. Nil metrics count nothing.
type Metrics struct {
	left, disagreements prometheus.Counter
	patches, drift      *prometheus.CounterVec
	edits, reports      *prometheus.HistogramVec
	// followed are those that there are once the controllers are set up.
	followed atomic.Pointer[followed]
}

// followed tell what others know: how old the read-back of each hub is, and how many objects
// have which conditions.
type followed struct {
	readBack *readback.Group
	objects  *conditionmetrics.Counter
}

// The causes of a PATCH of a twin.
const (
	causeEdit         = "edit"
	causeDrift        = "drift"
	causeRegistration = "registration"
	causeDeletion     = "deletion"
)

// NewMetrics returns metrics that are not registered yet.
func NewMetrics() *Metrics {
	// From what a device is to notice at once to what an outage takes.
	seconds := []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800}
	return &Metrics{
		left: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "devicetwin_left_behind_total",
			Help: "DeviceTwins that were deleted while something of theirs stayed on the hub.",
		}),
		disagreements: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "devicetwin_membership_disagreements_total",
			Help: "Twins read that contradict again what a later answer of the hub said of a TwinQuery.",
		}),
		patches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "devicetwin_patches_total",
			Help: "Changes of twins that the hub accepted, by what they were for: edit, drift, registration, deletion, set or leave.",
		}, []string{"host", "cause"}),
		drift: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "devicetwin_drift_corrected_total",
			Help: "Twins that were restored after another writer had changed them.",
		}, []string{"host"}),
		edits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "devicetwin_edit_to_hub_seconds",
			Help:    "From when the manager saw an edit or a creation until the hub had accepted the change, in seconds.",
			Buckets: seconds,
		}, []string{"host"}),
		reports: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "devicetwin_report_to_status_seconds",
			Help:    "From a device's report, by the hub's clock, until the status that shows it was written, in seconds.",
			Buckets: seconds,
		}, []string{"host"}),
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.left, m.disagreements, m.patches, m.drift, m.edits, m.reports}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, collector := range m.collectors() {
		collector.Describe(descriptions)
	}
	(&readback.Group{}).Describe(descriptions)
	(&conditionmetrics.Counter{}).Describe(descriptions)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	for _, collector := range m.collectors() {
		collector.Collect(metrics)
	}
	if others := m.followed.Load(); others != nil {
		others.readBack.Collect(metrics)
		others.objects.Collect(metrics)
	}
}

func (m *Metrics) follow(ctx context.Context, mgr ctrl.Manager, hubs *hubaccess.Connections, readBack *readback.Group) error {
	if m == nil {
		return nil
	}
	objects := conditionmetrics.New(conditionmetrics.Options{Host: hostLabel(hubs), Leading: mgr.Elected()})
	if err := objects.Follow(ctx, mgr.GetCache()); err != nil {
		return err
	}
	m.followed.Store(&followed{readBack: readBack, objects: objects})
	return nil
}

// hostLabel is the host that the objects of a HubConnection count for.
func hostLabel(hubs *hubaccess.Connections) func(types.NamespacedName) string {
	return func(key types.NamespacedName) string {
		if known, _ := hubs.Known(key); known.Session != nil && known.Session.Proved() {
			return known.Session.Host()
		}
		return hub.Unproved
	}
}

// forget drops the series of a host that is not talked to any more.
func (m *Metrics) forget(host string) {
	if m == nil {
		return
	}
	of := prometheus.Labels{"host": host}
	m.patches.DeletePartialMatch(of)
	m.drift.DeletePartialMatch(of)
	m.edits.DeletePartialMatch(of)
	m.reports.DeletePartialMatch(of)
}

// leftBehind counts an object.
func (m *Metrics) leftBehind() {
	if m != nil {
		m.left.Inc()
	}
}

// disagreed counts a twin.
func (m *Metrics) disagreed() {
	if m != nil {
		m.disagreements.Inc()
	}
}

// patched counts a change that the hub accepted. Drift is counted from then on: what Prometheus has not seen as 0
// before is no increase.
func (m *Metrics) patched(host, cause string) {
	if m != nil {
		m.patches.WithLabelValues(host, cause).Inc()
		m.drift.WithLabelValues(host)
	}
}

// driftCorrected counts a twin.
func (m *Metrics) driftCorrected(host string) {
	if m != nil {
		m.drift.WithLabelValues(host).Inc()
	}
}

// editArrived notes how long an edit took.
func (m *Metrics) editArrived(host string, took time.Duration) {
	if m != nil {
		m.edits.WithLabelValues(host).Observe(max(0, took.Seconds()))
	}
}

// reportShown notes how long a report took. The hub's clock may be ahead of ours.
func (m *Metrics) reportShown(host string, took time.Duration) {
	if m != nil {
		m.reports.WithLabelValues(host).Observe(max(0, took.Seconds()))
	}
}
