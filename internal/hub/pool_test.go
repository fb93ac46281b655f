package hub

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
)

// TestASessionLastsAsLongAsItsContent, however it is spelled, and is one key's own.
func TestASessionLastsAsLongAsItsContent(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	pool := NewPool(PoolOptions{})
	cfg := Config{ConnectionString: connectionTo("a.example"), AllowedHostSuffixes: []string{".example"}}
	first, err := pool.Session("ns/one", cfg)
	g.Expect(err).NotTo(HaveOccurred())
	respelled := cfg
	respelled.ConnectionString = " " + connectionTo("A.example:443") + ";\n"
	g.Expect(pool.Session("ns/one", respelled)).To(BeIdenticalTo(first))
	g.Expect(pool.Session("ns/two", cfg)).NotTo(BeIdenticalTo(first), "another namespace has one of its own")

	rotated := cfg
	rotated.ConnectionString = "HostName=a.example;SharedAccessKeyName=service;SharedAccessKey=bmV3"
	third, err := pool.Session("ns/one", rotated)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(third).NotTo(BeIdenticalTo(first))

	pool.Forget("ns/one")
	pool.Forget("ns/one")
	pool.Forget("never seen")
	g.Expect(pool.members).To(HaveLen(1))
	for _, broken := range []Config{{}, {ConnectionString: cfg.ConnectionString}} {
		_, err = pool.Session("ns/two", broken)
		asError(t, err)
		g.Expect(pool.members).NotTo(HaveKey("ns/two"))
	}
	g.Expect(pool.shared).To(BeEmpty())
}

func TestPoolIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	pool := NewPool(PoolOptions{Metrics: NewMetrics()})
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 50 {
				key := string(rune('a' + (worker+i)%4))
				if _, err := pool.Session(key, Config{ConnectionString: connectionTo(key + ".example"), AllowedHostSuffixes: []string{".example"}}); err != nil {
					t.Errorf("session: %v", err)
				}
				pool.Forget(key)
			}
		})
	}
	group.Wait()
	g.Expect(pool.members).To(BeEmpty())
}

func TestRateLimitsAreSharedByHostAndOutliveTheCredential(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	now := clocktesting.NewFakeClock(time.Now())
	pool := NewPool(PoolOptions{Clock: now, Limits: dispatch.Limits{ReadsPerSecond: 0.01}})
	cfg := pretend(t, page(http.StatusOK, twinD1))
	first, err := pool.Session("one", cfg)
	g.Expect(err).NotTo(HaveOccurred())
	for range 2 { // the first one proves the credential
		_, err = first.GetTwin(t.Context(), ID{Device: "d1"})
		g.Expect(err).NotTo(HaveOccurred())
	}

	host, err := hostOf(cfg.ConnectionString)
	g.Expect(err).NotTo(HaveOccurred())
	cfg.ConnectionString = "HostName=" + host + ";SharedAccessKeyName=service;SharedAccessKey=bmV3"
	pool.Forget("one")
	rotated, err := pool.Session("one", cfg)
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { pool.Forget("one") })
	_, err = rotated.GetTwin(t.Context(), ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred(), "to prove itself it has a dispatcher of its own")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = rotated.GetTwin(ctx, ID{Device: "d1"})
	throttled := asError(t, err)
	g.Expect(throttled.Reason).To(Equal(ReasonThrottled))
	g.Expect(throttled.Status).To(BeZero())
	g.Expect(throttled.RetryAfter).To(Equal(100 * time.Second))
	g.Expect(OutcomeUnknown(err)).To(BeFalse())

	now.Step(100 * time.Second)
	_, err = rotated.GetTwin(t.Context(), ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
}

func TestMetricsCountRequestsWithoutNamingDevices(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	metrics := NewMetrics()
	registry := prometheus.NewRegistry()
	g.Expect(registry.Register(metrics)).To(Succeed())
	pool := NewPool(PoolOptions{Metrics: metrics})
	cfg := pretend(t, page(http.StatusOK, twinD1))
	s, err := pool.Session("one", cfg)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = s.GetTwin(t.Context(), ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = s.PatchTwin(t.Context(), ID{Device: "d1"}, "AAAAAAAAAAE=", Patch{Tags: map[string]any{"a": 1}})
	g.Expect(err).NotTo(HaveOccurred())
	untrusted := cfg
	untrusted.CABundle = nil
	u, err := pool.Session("two", untrusted)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(u.Probe(t.Context())).NotTo(Succeed())

	proving := map[string]float64{
		"devicetwin_hub_requests_total code=200 host=unproved operation=getTwin":                1,
		"devicetwin_hub_requests_total code=UntrustedCertificate host=unproved operation=probe": 1,
		"devicetwin_hub_request_duration_seconds host=unproved operation=getTwin":               1,
		"devicetwin_hub_request_duration_seconds host=unproved operation=probe":                 1,
	}
	counted := maps.Clone(proving)
	counted["devicetwin_hub_requests_total code=200 host="+s.Host()+" operation=updateTwin"] = 1
	counted["devicetwin_hub_request_duration_seconds host="+s.Host()+" operation=updateTwin"] = 1
	g.Expect(gather(t, registry)).To(Equal(counted))
	pool.Forget("one")
	pool.Forget("two")
	g.Eventually(func() map[string]float64 {
		pool.Forget("one")
		return gather(t, registry)
	}).Should(Equal(proving), "what a host's own series were is dropped")
}

// gather returns the counts by name and labels.
func gather(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatalf("gather: %v", err)
	}
	counts := map[string]float64{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "devicetwin_hub_") {
			continue // the dispatchers' own
		}
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetName() + "=" + label.GetValue()
			}
			counts[name] = metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return counts
}
