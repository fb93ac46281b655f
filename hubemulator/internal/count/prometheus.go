package count

import (
	"github.com/prometheus/client_golang/prometheus"
)

// collector offers a set's counters to Prometheus.
type collector struct {
	set                         *Set
	calls, billed, peak, flight *prometheus.Desc
}

// Collector returns the counters as Prometheus metrics: calls by operation and
// status, billed messages, peak concurrency, and calls being worked on now.
func (s *Set) Collector() prometheus.Collector {
	operation := []string{"operation"}
	return &collector{
		set: s,
		calls: prometheus.NewDesc("hubemulator_calls_total",
			"Calls answered since the start or the last reset, by operation and status; status 0 is a call that was never answered.",
			[]string{"operation", "status"}, nil),
		billed: prometheus.NewDesc("hubemulator_billed_messages_total",
			"Messages that calls cost of the daily quota since the start or the last reset.", operation, nil),
		peak: prometheus.NewDesc("hubemulator_peak_concurrency",
			"The most calls worked on at the same time since the start or the last reset.", operation, nil),
		flight: prometheus.NewDesc("hubemulator_calls_in_flight",
			"Calls being worked on now, those included that a fault or a throttle makes wait.", operation, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{c.calls, c.billed, c.peak, c.flight} {
		descriptions <- description
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	for name, operation := range c.set.Snapshot() {
		for status, calls := range operation.Statuses {
			metrics <- prometheus.MustNewConstMetric(c.calls, prometheus.CounterValue, float64(calls), name, status)
		}
		metrics <- prometheus.MustNewConstMetric(c.billed, prometheus.CounterValue, float64(operation.BilledMessages), name)
		metrics <- prometheus.MustNewConstMetric(c.peak, prometheus.GaugeValue, float64(operation.PeakConcurrency), name)
	}
	for name, calls := range c.set.inFlight() {
		metrics <- prometheus.MustNewConstMetric(c.flight, prometheus.GaugeValue, float64(calls), name)
	}
}

func (s *Set) inFlight() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := make(map[string]int64, len(s.operations))
	for name, entry := range s.operations {
		calls[name] = entry.inFlight
	}
	return calls
}
