package hub

import (
	"context"
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

func TestPoolSharesSessionsByContent(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	pool := NewPool(PoolOptions{})
	cfg := Config{ConnectionString: connectionTo("a.example"), AllowedHostSuffixes: []string{".example"}}
	first, err := pool.Session("ns/one", cfg)
	g.Expect(err).NotTo(HaveOccurred())
	respelled := cfg
	respelled.ConnectionString = " " + connectionTo("A.example:443") + ";\n"
	second, err := pool.Session("ns/two", respelled)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(second).To(BeIdenticalTo(first))

	rotated := cfg
	rotated.ConnectionString = "HostName=a.example;SharedAccessKeyName=service;SharedAccessKey=bmV3"
	third, err := pool.Session("ns/one", rotated)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(third).NotTo(BeIdenticalTo(first))
	g.Expect(pool.Session("ns/two", cfg)).To(BeIdenticalTo(first))

	pool.Forget("ns/two")
	pool.Forget("ns/two")
	pool.Forget("never seen")
	g.Expect(pool.sessions).To(HaveLen(1))
	again, err := pool.Session("ns/two", cfg)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(again).NotTo(BeIdenticalTo(first))

	for _, broken := range []Config{{}, {ConnectionString: cfg.ConnectionString}} {
		_, err = pool.Session("ns/two", broken)
		asError(t, err)
		g.Expect(pool.byKey).NotTo(HaveKey("ns/two"))
	}
	pool.Forget("ns/one")
	g.Expect(pool.sessions).To(BeEmpty())
	g.Expect(pool.turns).To(BeEmpty())
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
	g.Expect(pool.sessions).To(BeEmpty())
}

func TestRateLimitsAreSharedByHostAndOutliveTheCredential(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	now := clocktesting.NewFakeClock(time.Now())
	pool := NewPool(PoolOptions{Clock: now, Limits: dispatch.Limits{ReadsPerSecond: 0.01}})
	cfg := pretend(t, page(http.StatusOK, twinD1))
	first, err := pool.Session("one", cfg)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = first.GetTwin(t.Context(), ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())

	host, err := hostOf(cfg.ConnectionString)
	g.Expect(err).NotTo(HaveOccurred())
	cfg.ConnectionString = "HostName=" + host + ";SharedAccessKeyName=service;SharedAccessKey=bmV3"
	pool.Forget("one")
	rotated, err := pool.Session("one", cfg)
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { pool.Forget("one") })
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

// TestTheStrictestOfThoseWhoUseAHubCounts, as long as they use it.
func TestTheStrictestOfThoseWhoUseAHubCounts(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	pool := NewPool(PoolOptions{Limits: dispatch.Limits{UpdatesPerSecond: 7}})
	cfg := Config{ConnectionString: connectionTo("a.example"), AllowedHostSuffixes: []string{".example"}}
	declare := func(key string, reads, queries float64) Session {
		cfg.Limits = dispatch.Limits{ReadsPerSecond: reads, QueriesPerMinute: queries}
		s, err := pool.Session(key, cfg)
		g.Expect(err).NotTo(HaveOccurred())
		return s
	}
	first := declare("one", 80, 6)
	rate := func(class dispatch.Class) float64 { return first.Dispatcher().Rate(class).PerSecond }
	g.Expect(rate(dispatch.Reads)).To(BeEquivalentTo(80))
	g.Expect(rate(dispatch.Updates)).To(BeEquivalentTo(7), "the pool's own limits hold in any case")
	g.Expect(declare("two", 40, 12)).To(BeIdenticalTo(first))
	g.Expect(rate(dispatch.Reads)).To(BeEquivalentTo(40))
	g.Expect(rate(dispatch.Queries)).To(BeNumerically("~", 0.1, 1e-9))
	declare("two", 60, 12)
	g.Expect(rate(dispatch.Reads)).To(BeEquivalentTo(60))
	pool.Forget("two")
	g.Expect(rate(dispatch.Reads)).To(BeEquivalentTo(80))
	declare("one", 0, 0)
	g.Expect(rate(dispatch.Reads)).To(BeEquivalentTo(100), "an S1 hub's")
}

// TestWhoIsGoneWaitsForNoTurn, and neither does anybody at a hub that is gone.
func TestWhoIsGoneWaitsForNoTurn(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	pool := NewPool(PoolOptions{MaxInFlight: 1})
	s, err := pool.Session("one", Config{ConnectionString: connectionTo("a.example"), AllowedHostSuffixes: []string{".example"}})
	g.Expect(err).NotTo(HaveOccurred())
	held, ok := s.Dispatcher().Admit(dispatch.Request{Key: "held", Need: dispatch.Look})
	g.Expect(ok).To(BeTrue())
	for _, key := range []string{"a", "b"} {
		_, ok := s.Dispatcher().Admit(dispatch.Request{Key: key, Need: dispatch.Look})
		g.Expect(ok).To(BeFalse())
	}
	pool.Withdraw("a")
	g.Expect(s.Dispatcher().Backlog().Parked).To(Equal(1))
	pool.Forget("one")
	g.Expect(s.Dispatcher().Backlog().Parked).To(BeZero())
	g.Expect(pool.turns).To(HaveLen(1), "a grant is held")
	held.Done()
	pool.Forget("one")
	g.Expect(pool.turns).To(BeEmpty())
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

	g.Expect(gather(t, registry)).To(Equal(map[string]float64{
		"devicetwin_hub_requests_total code=200 host=" + s.Host() + " operation=getTwin":                1,
		"devicetwin_hub_requests_total code=200 host=" + s.Host() + " operation=updateTwin":             1,
		"devicetwin_hub_requests_total code=UntrustedCertificate host=" + s.Host() + " operation=probe": 1,
		"devicetwin_hub_request_duration_seconds host=" + s.Host() + " operation=getTwin":               1,
		"devicetwin_hub_request_duration_seconds host=" + s.Host() + " operation=updateTwin":            1,
		"devicetwin_hub_request_duration_seconds host=" + s.Host() + " operation=probe":                 1,
	}))
	pool.Forget("one")
	pool.Forget("two")
	g.Eventually(func() map[string]float64 {
		pool.Forget("one")
		return gather(t, registry)
	}).Should(BeEmpty())
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
