package controllers

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what no status tells any more. It is a prometheus.Collector, for
// the caller to register.
type Metrics struct{ left prometheus.Counter }

// NewMetrics returns metrics that nobody has registered yet.
func NewMetrics() *Metrics {
	return &Metrics{left: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "devicetwin_left_behind_total",
		Help: "DeviceTwins that were deleted while something of theirs stayed on the hub.",
	})}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) { m.left.Describe(descriptions) }

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) { m.left.Collect(metrics) }

// leftBehind counts an object; nil metrics count nothing.
func (m *Metrics) leftBehind() {
	if m != nil {
		m.left.Inc()
	}
}
