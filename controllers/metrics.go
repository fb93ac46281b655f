package controllers

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/devicetwin-io/devicetwin-operator/internal/readback"
)

// Metrics counts what no status tells, or none any more. It is a
// prometheus.Collector, for the caller to register.
type Metrics struct {
	left, disagreements prometheus.Counter
	// readBack tells how old the read-back of each hub is; nil until there is one.
	readBack atomic.Pointer[readback.Group]
}

// NewMetrics returns metrics that are not registered yet.
func NewMetrics() *Metrics {
	return &Metrics{
		left: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "devicetwin_left_behind_total",
			Help: "DeviceTwins that were deleted while something of theirs stayed on the hub.",
		}),
		disagreements: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "devicetwin_membership_disagreements_total",
			Help: "Twins read that contradict again what a later answer of the hub said of a TwinQuery.",
		}),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	m.left.Describe(descriptions)
	m.disagreements.Describe(descriptions)
	(&readback.Group{}).Describe(descriptions)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	m.left.Collect(metrics)
	m.disagreements.Collect(metrics)
	if group := m.readBack.Load(); group != nil {
		group.Collect(metrics)
	}
}

// follow has nil metrics tell nothing.
func (m *Metrics) follow(group *readback.Group) {
	if m != nil {
		m.readBack.Store(group)
	}
}

// leftBehind counts an object; nil metrics count nothing.
func (m *Metrics) leftBehind() {
	if m != nil {
		m.left.Inc()
	}
}

// disagreed counts a twin; nil metrics count nothing.
func (m *Metrics) disagreed() {
	if m != nil {
		m.disagreements.Inc()
	}
}
