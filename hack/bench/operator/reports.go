package main

import (
	"context"
	"fmt"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/mqttdevice"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

const (
	// reportsEvery is how often a device that reports does so, reportRounds how
	// often it does here.
	reportsEvery = time.Minute
	reportRounds = 2
	// queryLag is how late the hub's index is in the row reports-lag.
	queryLag = 10 * time.Second
)

func reportsRow() scenario {
	m := &reported{}
	return scenario{
		name: "reports", title: "1 % of the devices report each minute",
		usesFleet: true,
		steps: []step{
			{"use the fleet", useFleet},
			{"have devices report", m.measure},
		},
		report: func(_ context.Context, r *run) error {
			m.describe(r.out)
			r.out.bound(bounds.AtMost("report to status, p99", "%.1f s", m.quantile(0.99), (interval + seenWithin).Seconds()))
			r.out.bound(bounds.None("reports that are in no status", m.missing))
			r.out.bound(bounds.None("reports with more than one write of their status", m.several))
			r.out.bound(bounds.None("writes of other objects or kinds", m.others))
			return nil
		},
	}
}

// lagTwins is how many twins the row reports-lag has at most.
const lagTwins = 2000

func reportsLagRow() scenario {
	m := &reported{}
	return scenario{
		name: "reports-lag", title: "as reports, with the hub's query index 10 s late",
		twins: atMost(lagTwins),
		steps: []step{
			{"start a cluster", startCluster},
			{"start the hub", startHub(unthrottled, "--query-lag", queryLag.String())},
			{"create the DeviceTwins", createTwins},
			{"start the manager", startManager},
			{"wait until all are Ready", awaitReady},
			{"wait until nothing is written", quiet(quietTime)},
			{"have devices report", m.measure},
		},
		report: func(_ context.Context, r *run) error {
			m.describe(r.out)
			r.out.note("The hub's queries are %s late; nothing bounds this row.", queryLag)
			return nil
		},
	}
}

// reported is what became of the reports.
type reported struct {
	sent      int
	latencies []float64 // seconds, of those that got into a status
	missing   int
	several   int
	others    int // writes to the API server that no report explains
}

func (m *reported) quantile(part float64) float64 {
	if len(m.latencies) == 0 {
		return 0
	}
	return stats.Quantile(m.latencies, part)
}

func (m *reported) describe(out *result) {
	out.add("reports", float64(m.sent), "")
	out.add("report to status, median", m.quantile(0.5), "s")
	out.add("report to status, p99", m.quantile(0.99), "s")
	out.add("writes of the status for a report", float64(len(m.latencies)+m.several)/float64(m.sent), "")
	out.add("other writes to the API server", float64(m.others), "")
	out.note("Devices report over MQTT, spread evenly over the minute, and stay connected: a connection that comes or goes changes a status too.")
}

// measure has one device in a hundred report, each once in a minute.
func (m *reported) measure(ctx context.Context, r *run) error {
	connected := make([]*mqttdevice.Device, r.out.N/100)
	defer r.env.stir()
	for i := range connected {
		device, err := r.hub().dial(ctx, deviceID(fleetSet, 1+i*100))
		if err != nil {
			return err
		}
		defer device.Leave()
		connected[i] = device
	}
	r.env.stir() // the connections show, too
	if err := quiet(quietTime)(ctx, r); err != nil {
		return err
	}
	before := r.env.writes.total
	for round := range reportRounds {
		if err := m.measureRound(ctx, r, connected, round); err != nil {
			return err
		}
	}
	m.others = r.env.writes.total - before - len(m.latencies) - m.several
	return nil
}

// measureRound has each device report once, and waits until no report can be seen any
// more.
func (m *reported) measureRound(ctx context.Context, r *run, devices []*mqttdevice.Device, round int) error {
	began := time.Now()
	at := make([]time.Time, len(devices))
	for i, device := range devices {
		due := began.Add(reportsEvery * time.Duration(i) / time.Duration(len(devices)))
		if err := r.await(ctx, "devices report", 2*reportsEvery, pollEvery, func() (string, bool, error) {
			return fmt.Sprintf("round %d of %d, %d of %d", round+1, reportRounds, i, len(devices)), !time.Now().Before(due), nil
		}); err != nil {
			return err
		}
		var err error
		if at[i], err = sendReport(device, map[string]any{"round": round + 1, "battery": 90 - i%50}); err != nil {
			return err
		}
	}
	if err := r.pass(ctx, "the last reports are seen", 3*interval); err != nil {
		return err
	}
	if err := r.env.writes.refresh(); err != nil {
		return err
	}
	for i, device := range devices {
		m.take(at[i], r.env.writes.statusSince(device.ID, at[i]))
	}
	return nil
}

// take counts a report and the status writes that followed it.
func (m *reported) take(at time.Time, written []time.Time) {
	m.sent++
	if len(written) == 0 {
		m.missing++
		return
	}
	m.several += len(written) - 1
	m.latencies = append(m.latencies, written[0].Sub(at).Seconds())
}
