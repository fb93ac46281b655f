package count_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/count"
)

func TestPeakConcurrency(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var set count.Set
	first, second := set.Begin("a"), set.Begin("a")
	g.Expect(set.Snapshot()["a"]).To(Equal(count.Operation{Statuses: map[string]int64{}, PeakConcurrency: 2}))
	first.End(200)
	third := set.Begin("a")
	set.Add("a", 404) // a third one, for a moment
	set.Add("b", 200)
	third.End(0)
	set.Bill("a", 3)
	g.Expect(set.Snapshot()).To(Equal(map[string]count.Operation{
		"a": {Calls: 3, Statuses: map[string]int64{"200": 1, "404": 1, "0": 1}, BilledMessages: 3, PeakConcurrency: 3},
		"b": {Calls: 1, Statuses: map[string]int64{"200": 1}, PeakConcurrency: 1},
	}))

	set.Reset()
	g.Expect(set.Snapshot()).To(BeEmpty())
	set.Begin("a").End(200)
	second.End(200)
	g.Expect(set.Snapshot()["a"]).To(Equal(count.Operation{
		Calls: 2, Statuses: map[string]int64{"200": 2}, PeakConcurrency: 2,
	}), "what began before the reset still goes on")
}

func TestCollector(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var set count.Set
	set.Begin("getTwin").End(200)
	set.Bill("getTwin", 2)
	set.Begin("updateTwin")
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(set.Collector())
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	g.Expect(recorder.Body.String()).To(Equal(strings.TrimPrefix(`
# HELP hubemulator_billed_messages_total Messages that calls cost of the daily quota since the start or the last reset.
# TYPE hubemulator_billed_messages_total counter
hubemulator_billed_messages_total{operation="getTwin"} 2
hubemulator_billed_messages_total{operation="updateTwin"} 0
# HELP hubemulator_calls_in_flight Calls being worked on now, those included that a fault or a throttle makes wait.
# TYPE hubemulator_calls_in_flight gauge
hubemulator_calls_in_flight{operation="getTwin"} 0
hubemulator_calls_in_flight{operation="updateTwin"} 1
# HELP hubemulator_calls_total Calls answered since the start or the last reset, by operation and status; status 0 is a call that was never answered.
# TYPE hubemulator_calls_total counter
hubemulator_calls_total{operation="getTwin",status="200"} 1
# HELP hubemulator_peak_concurrency The most calls worked on at the same time since the start or the last reset.
# TYPE hubemulator_peak_concurrency gauge
hubemulator_peak_concurrency{operation="getTwin"} 1
hubemulator_peak_concurrency{operation="updateTwin"} 1
`, "\n")))
}
