package hub

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
)

// Metrics counts the requests to all hubs and how long they took, and tells of their dispatchers. It is a prometheus.Collector, for the caller to
// register.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	// unreadable counts the rows of answers that were left out.
	unreadable *prometheus.CounterVec
	dispatch   *dispatch.Metrics
}

// NewMetrics returns metrics that are not registered yet.
func NewMetrics() *Metrics {
	return &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "devicetwin_hub_requests_total",
			Help: "Requests to IoT Hub by host, operation and HTTP status; without an answer the code is the reason. " +
				"Those of sessions that have not proved their credential have the host \"unproved\".",
		}, []string{"host", "operation", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "devicetwin_hub_request_duration_seconds",
			Help: "How long requests to IoT Hub took, in seconds, the wait for our own rate limit left out.",
			// IoT Hub queues requests for up to a minute before it refuses them.
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 90},
		}, []string{"host", "operation"}),
		unreadable: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "devicetwin_hub_unreadable_rows_total",
			Help: "Rows of answers to queries that could not be used and were left out.",
		}, []string{"host"}),
		dispatch: dispatch.NewMetrics(),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	m.requests.Describe(descriptions)
	m.duration.Describe(descriptions)
	m.unreadable.Describe(descriptions)
	m.dispatch.Describe(descriptions)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	m.requests.Collect(metrics)
	m.duration.Collect(metrics)
	m.unreadable.Collect(metrics)
	m.dispatch.Collect(metrics)
}

// Unproved stands in place of the host in the series of sessions that have not proved their credential: anyone who may
// create a HubConnection could have a series made for each name otherwise, and add to those of a hub in use.
const Unproved = "unproved"

// named is the host that the requests of a session count for.
func (s *standing) named(host string) func() string {
	return func() string {
		if s.proved() {
			return host
		}
		return Unproved
	}
}

// add has the metrics tell of a host's dispatcher.
func (m *Metrics) add(host string, dispatcher *dispatch.Dispatcher) {
	if m != nil {
		m.dispatch.Add(host, dispatcher)
	}
}

// forget drops the series of a host that is not talked to any more.
func (m *Metrics) forget(host string) {
	if m == nil {
		return
	}
	m.requests.DeletePartialMatch(prometheus.Labels{"host": host})
	m.duration.DeletePartialMatch(prometheus.Labels{"host": host})
	m.unreadable.DeletePartialMatch(prometheus.Labels{"host": host})
	m.dispatch.Forget(host)
}

// leftOut counts a row that could not be used; nil metrics count nothing.
func (m *Metrics) leftOut(host string) {
	if m != nil {
		m.unreadable.WithLabelValues(host).Inc()
	}
}

// middleware counts and times each request; nil metrics count nothing.
func (m *Metrics) middleware(host func() string, c clock.PassiveClock) middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		if m == nil {
			return next
		}
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			op := string(exchangeOf(req).op)
			start, host := c.Now(), host()
			res, err := next.RoundTrip(req)
			m.duration.WithLabelValues(host, op).Observe(c.Since(start).Seconds())
			m.requests.WithLabelValues(host, op, outcome(res, err)).Inc()
			return res, err
		})
	}
}

func outcome(res *http.Response, err error) string {
	if err == nil {
		return strconv.Itoa(res.StatusCode)
	}
	reason, _ := transportReason(err)
	return string(reason)
}
