package dispatch

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tells of the dispatchers by host. It is a prometheus.Collector, for the
// caller to register.
type Metrics struct {
	mu    sync.Mutex
	hosts map[string]*Dispatcher

	parked, inFlight, places, granted, expired, breaker, factor, messages, limit, billed *prometheus.Desc
}

// NewMetrics returns metrics of no host yet.
func NewMetrics() *Metrics {
	name := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("devicetwin_dispatch_"+name, help, append([]string{"host"}, labels...), nil)
	}
	return &Metrics{
		hosts:    map[string]*Dispatcher{},
		parked:   name("parked", "Objects that wait for a permit at the hub."),
		inFlight: name("in_flight", "Permits that are held, and so reconciles that may be under way."),
		places:   name("in_flight_limit", "How many permits may be held at once."),
		granted:  name("grants_total", "Permits given."),
		expired:  name("grants_expired_total", "Permits that were not picked up in time."),
		breaker:  name("breaker", "1 for the state that the circuit breaker is in.", "state"),
		factor:   name("rate_factor", "How much of the declared rate is in effect: 1 unless the hub refuses or is slow.", "class"),
		messages: name("messages_used", "Daily messages used since 00:00 UTC."),
		limit:    name("messages_limit", "Daily messages that may be used, the operator's share of the hub's quota."),
		billed:   name("messages_total", "Messages that requests were billed as, by what they did.", "class"),
	}
}

// Add has the metrics tell of a host; nil metrics tell of none.
func (m *Metrics) Add(host string, d *Dispatcher) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hosts[host] = d
}

// Forget drops the series of a host that is not talked to any more.
func (m *Metrics) Forget(host string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.hosts, host)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.parked, m.inFlight, m.places, m.granted, m.expired, m.breaker, m.factor, m.messages, m.limit, m.billed,
	} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for host, d := range m.hosts {
		s := d.snapshot()
		tell := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
			metrics <- prometheus.MustNewConstMetric(desc, kind, value, append([]string{host}, labels...)...)
		}
		tell(m.parked, prometheus.GaugeValue, float64(s.parked))
		tell(m.inFlight, prometheus.GaugeValue, float64(s.inFlight))
		tell(m.places, prometheus.GaugeValue, float64(s.cap))
		tell(m.granted, prometheus.CounterValue, float64(s.Granted))
		tell(m.expired, prometheus.CounterValue, float64(s.Expired))
		tell(m.messages, prometheus.GaugeValue, float64(s.used))
		tell(m.limit, prometheus.GaugeValue, float64(s.limit))
		for _, state := range []string{Closed, HalfOpen, Open} {
			value := 0.0
			if state == s.breaker {
				value = 1
			}
			tell(m.breaker, prometheus.GaugeValue, value, state)
		}
		for class, factor := range s.factors {
			tell(m.factor, prometheus.GaugeValue, factor, Class(class).String())
			if Class(class) != Registry { // which is not billed
				tell(m.billed, prometheus.CounterValue, float64(s.Billed[class]), Class(class).String())
			}
		}
	}
}
