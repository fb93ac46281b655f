package dispatch

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetricsTellOfAHostAndOfNoKey(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{}, 1)
	y.mustAsk("DeviceTwin ns/secret", ReadNeed)
	y.ask("DeviceTwin ns/other", 0, ReadNeed)
	y.use(3)
	metrics := NewMetrics()
	metrics.Add("hub.example", y.Dispatcher)
	var none *Metrics
	none.Add("hub.example", y.Dispatcher)
	none.Forget("hub.example")
	y.Expect(testutil.CollectAndCompare(metrics, strings.NewReader(`
# HELP devicetwin_dispatch_parked Objects that wait for a permit at the hub.
# TYPE devicetwin_dispatch_parked gauge
devicetwin_dispatch_parked{host="hub.example"} 1
# HELP devicetwin_dispatch_in_flight Permits that are held, and so reconciles that may be under way.
# TYPE devicetwin_dispatch_in_flight gauge
devicetwin_dispatch_in_flight{host="hub.example"} 1
# HELP devicetwin_dispatch_grants_total Permits given.
# TYPE devicetwin_dispatch_grants_total counter
devicetwin_dispatch_grants_total{host="hub.example"} 1
# HELP devicetwin_dispatch_messages_used Daily messages used since 00:00 UTC.
# TYPE devicetwin_dispatch_messages_used gauge
devicetwin_dispatch_messages_used{host="hub.example"} 3
# HELP devicetwin_dispatch_messages_limit Daily messages that may be used, the operator's share of the hub's quota.
# TYPE devicetwin_dispatch_messages_limit gauge
devicetwin_dispatch_messages_limit{host="hub.example"} 400000
# HELP devicetwin_dispatch_messages_total Messages that requests were billed as, by what they did.
# TYPE devicetwin_dispatch_messages_total counter
devicetwin_dispatch_messages_total{class="queries",host="hub.example"} 0
devicetwin_dispatch_messages_total{class="twinReads",host="hub.example"} 3
devicetwin_dispatch_messages_total{class="twinUpdates",host="hub.example"} 0
# HELP devicetwin_dispatch_breaker 1 for the state that the circuit breaker is in.
# TYPE devicetwin_dispatch_breaker gauge
devicetwin_dispatch_breaker{host="hub.example",state="closed"} 1
devicetwin_dispatch_breaker{host="hub.example",state="halfOpen"} 0
devicetwin_dispatch_breaker{host="hub.example",state="open"} 0
`), "devicetwin_dispatch_parked", "devicetwin_dispatch_in_flight", "devicetwin_dispatch_grants_total",
		"devicetwin_dispatch_messages_used", "devicetwin_dispatch_messages_limit", "devicetwin_dispatch_messages_total",
		"devicetwin_dispatch_breaker")).To(Succeed())
	y.Expect(testutil.CollectAndCount(metrics)).To(Equal(17))
	metrics.Forget("hub.example")
	y.Expect(testutil.CollectAndCount(metrics)).To(BeZero())
}
