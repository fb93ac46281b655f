package readback

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// another follows another hub with one device that is managed.
func (f *fleet) another() *hubemulator.Server {
	f.Helper()
	other, err := hubemulator.Start(f.Context(), hubemulator.Options{Devices: []string{"elsewhere"}})
	f.Expect(err).NotTo(HaveOccurred())
	f.Cleanup(func() { f.Expect(other.Close()).To(Succeed()) })
	text, err := other.ServiceConnectionString("service")
	f.Expect(err).NotTo(HaveOccurred())
	pool := hub.NewPool(hub.PoolOptions{Limits: dispatch.Limits{QueriesPerMinute: 1e6, ReadsPerSecond: 1e4, UpdatesPerSecond: 1e4}})
	session, err := pool.Session("other", hub.Config{
		ConnectionString: text, CABundle: other.CACertificatePEM(), AllowedHostSuffixes: []string{"localhost"},
	})
	f.Expect(err).NotTo(HaveOccurred())
	f.Cleanup(func() { pool.Forget("other") })
	key, name := types.NamespacedName{Namespace: "ns", Name: "other"}, types.NamespacedName{Namespace: "ns", Name: "elsewhere"}
	f.group.Serve(key, session, often())
	f.group.Track(name, key, hub.ID{Device: "elsewhere"})
	twin, err := session.GetTwin(f.Context(), hub.ID{Device: "elsewhere"})
	f.Expect(err).NotTo(HaveOccurred())
	f.group.Of(name).Dealt(twin, true)
	return other
}

func ageOf(g *Group, host string) float64 {
	registry := prometheus.NewRegistry()
	registry.MustRegister(g)
	families, err := registry.Gather()
	if err != nil {
		return -1
	}
	for _, family := range families {
		if family.GetName() != "devicetwin_readback_age_seconds" {
			continue
		}
		for _, metric := range family.GetMetric() {
			if metric.GetLabel()[0].GetValue() == host {
				return metric.GetGauge().GetValue()
			}
		}
	}
	return -1
}

// TestTheIndexLagIsTold by host, the longest of all sources, and not of a hub that is not followed.
func TestTheIndexLagIsTold(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(1)}, often())
	p := f.group.at(f.key).poller
	f.Expect(p.lag()).To(BeZero())
	p.mu.Lock()
	p.lags[hub.Modules], p.lags[hub.Devices] = time.Second, 3*time.Second
	p.mu.Unlock()
	f.Expect(testutil.CollectAndCompare(f.group, strings.NewReader(`
# HELP devicetwin_readback_index_lag_seconds How late the hub's index was seen to show a write, the longest of its HubConnections. It fades.
# TYPE devicetwin_readback_index_lag_seconds gauge
devicetwin_readback_index_lag_seconds{host="`+f.session.Host()+`"} 3
`), "devicetwin_readback_index_lag_seconds")).To(Succeed())
	p.serve(nil, often())
	f.Expect(p.lag()).To(BeZero())
}

// TestTheIndexLagIsThatOfTheQueries for what moved: the latest write that one showed, fading with each.
func TestTheIndexLagIsThatOfTheQueries(t *testing.T) {
	t.Parallel()
	f := newFleet(t, hubemulator.Options{Devices: devices(large)}, Settings{Interval: time.Hour, FullSweep: time.Hour})
	f.manage(devices(large)...)
	f.look(devices(large)...)
	keeper := f.keeper(Settings{Interval: time.Hour, FullSweep: time.Hour})
	cycle := func() {
		f.Expect(keeper.cycle(t.Context(), f.session, keeper.settings)).To(Succeed())
		for len(keeper.sweeping) > 0 {
			<-keeper.ended
			f.Expect(keeper.readAgain(t.Context(), 0)).To(BeTrue())
		}
	}
	cycle() // a sweep of all
	keeper.watermarks[hub.Devices].late = 10 * time.Second
	cycle()
	f.Expect(keeper.lag()).To(Equal(9 * time.Second))
}

// TestABlockedReadBackIsTold, whatever it waits for: a page of a look, a count, documents. Other hubs go on meanwhile.
func TestABlockedReadBackIsTold(t *testing.T) {
	t.Parallel()
	for passes := range 8 {
		t.Run(fmt.Sprint(passes), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, hubemulator.Options{Devices: devices(large)}, Settings{Interval: interval, FullSweep: 2 * interval})
			f.manage(devices(large)...)
			f.look(devices(large)...)
			f.manageModule("device-0001")
			other := f.another()
			f.awaitSweeps(2)
			f.Expect(f.group.State(f.key).Late).To(BeNil())
			for _, device := range devices(large) {
				f.report(device, 1)
			}
			if passes > 0 {
				f.fault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultDelay, Delay: time.Millisecond, Count: passes})
			}
			held := f.fault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultHold})
			f.Eventually(func() *Lateness { return f.group.State(f.key).Late }, patience, poll).Should(HaveField("Cause", Blocked))
			f.Eventually(func() int { f.mu.Lock(); defer f.mu.Unlock(); return f.late }, patience, poll).Should(BeNumerically(">=", 1), "it is told")
			f.Eventually(func() float64 { return ageOf(f.group, f.session.Host()) }, patience, poll).Should(BeNumerically(">", lateAfter*interval.Seconds()))
			_, err := other.Report("elsewhere", []byte(`{"a":1}`))
			f.Expect(err).NotTo(HaveOccurred())
			f.Eventually(func() int { return f.documents("elsewhere") }, patience, poll).Should(Equal(1))
			f.hub.RemoveFault(held)
			f.Eventually(func() *Lateness { return f.group.State(f.key).Late }, patience, poll).Should(BeNil())
			f.Eventually(func() int { f.mu.Lock(); defer f.mu.Unlock(); return f.late }, patience, poll).Should(BeNumerically(">=", 2), "it is over")
		})
	}
}

// TestAReadBackIsLateAfterThreeIntervals and not before, also when each question is answered with an error.
func TestAReadBackIsLateAfterThreeIntervals(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault hubemulator.Fault
		want  Lateness
	}{
		"no answer": {hubemulator.Fault{Operation: "query", Action: hubemulator.FaultHold}, Lateness{Cause: Blocked}},
		"an error":  {hubemulator.Fault{Operation: "query", Action: hubemulator.FaultStatus, Status: 503}, Lateness{Cause: Failing, Error: "503"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := clocktesting.NewFakeClock(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
			f := newFleetBy(t, now, hubemulator.Options{Devices: devices(3)}, dispatch.Limits{QueriesPerMinute: 1e6, ReadsPerSecond: 1e6},
				Settings{Interval: time.Minute, FullSweep: time.Hour})
			f.manage(devices(3)...)
			f.look(devices(3)...)
			rests := func() { f.Eventually(now.HasWaiters, patience, time.Millisecond).Should(BeTrue()) }
			for range 2 {
				rests()
				now.Step(time.Minute)
			}
			rests()
			f.Eventually(f.queries, patience, poll).Should(BeNumerically(">=", 2))
			rests()
			fault := f.fault(tt.fault)
			began := now.Now()
			for range lateAfter {
				now.Step(time.Minute)
				f.Eventually(func() int { return f.hits(fault) }, patience, poll).Should(BeNumerically(">", 0))
				if tt.fault.Action == hubemulator.FaultStatus {
					rests()
				}
				f.Expect(f.group.State(f.key).Late).To(BeNil())
			}
			now.Step(time.Second)
			late := f.group.State(f.key).Late
			f.Expect(late).NotTo(BeNil())
			f.Expect(late.Since).To(Equal(began))
			f.Expect(late.Cause).To(Equal(tt.want.Cause))
			f.Expect(late.Error).To(ContainSubstring(tt.want.Error))
		})
	}
}
