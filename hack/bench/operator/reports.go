package main

import (
	"context"
	"errors"
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

func measureReports(ctx context.Context, b *bench, out *result) error {
	d, ctx, h, err := b.theFleet(ctx)
	if err != nil {
		return err
	}
	measured, err := d.reports(ctx, h, b.opts.n/100)
	if err != nil {
		return err
	}
	measured.describe(out)
	out.bound(bounds.AtMost("report to status, p99", "%.1f s", measured.quantile(0.99), (interval + seenWithin).Seconds()))
	out.bound(bounds.None("reports that are in no status", measured.missing))
	out.bound(bounds.None("reports with more than one write of their status", measured.several))
	out.bound(bounds.None("writes of other objects or kinds", measured.others))
	return nil
}

// lagTwins is how many twins the row reports-lag has at most.
const lagTwins = 2000

func measureReportsLag(ctx context.Context, b *bench, out *result) (err error) {
	if err := b.close(); err != nil {
		return err
	}
	out.N = min(b.opts.n, lagTwins)
	d, ctx, err := b.newBed(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	h, err := d.addHub(ctx, "hub", unthrottled, map[string]int{fleetSet: out.N}, "--query-lag", queryLag.String())
	if err != nil {
		return err
	}
	if _, err := d.create(ctx, h, fleetSet, 1, out.N); err != nil {
		return err
	}
	if _, err := d.converge(ctx, h, out.N); err != nil {
		return err
	}
	if _, err := d.quiet(ctx, quietTime); err != nil {
		return err
	}
	measured, err := d.reports(ctx, h, out.N/100)
	if err != nil {
		return err
	}
	measured.describe(out)
	out.note("The hub's queries are %s late; nothing bounds this row.", queryLag)
	return nil
}

// reported is what became of the reports.
type reported struct {
	sent      int
	latencies []float64 // seconds, of those that got into a status
	missing   int
	several   int
	others    int // writes to the API server that no report explains
}

func (r reported) quantile(part float64) float64 {
	if len(r.latencies) == 0 {
		return 0
	}
	return stats.Quantile(r.latencies, part)
}

func (r reported) describe(out *result) {
	out.add("reports", float64(r.sent), "")
	out.add("report to status, median", r.quantile(0.5), "s")
	out.add("report to status, p99", r.quantile(0.99), "s")
	out.add("writes of the status for a report", float64(len(r.latencies)+r.several)/float64(r.sent), "")
	out.add("other writes to the API server", float64(r.others), "")
	out.note("Devices report over MQTT, spread evenly over the minute, and stay connected: a connection that comes or goes changes a status too.")
}

// reports has devices report, each once in a minute.
func (d *bed) reports(ctx context.Context, h *hub, devices int) (reported, error) {
	connected := make([]*mqttdevice.Device, 0, devices)
	defer func() {
		for _, device := range connected {
			device.Leave()
		}
		d.stir()
	}()
	for i := range devices {
		device, err := h.dial(ctx, deviceID(fleetSet, 1+i*100))
		if err != nil {
			return reported{}, err
		}
		connected = append(connected, device)
	}
	d.stir() // the connections show, too
	if _, err := d.quiet(ctx, quietTime); err != nil {
		return reported{}, err
	}
	before := d.writes.total
	out := reported{}
	for round := range reportRounds {
		if err := d.reportRound(ctx, connected, round, &out); err != nil {
			return out, err
		}
	}
	out.others = d.writes.total - before - len(out.latencies) - out.several
	return out, nil
}

// reportRound has each device report once, and waits until no report can be seen any
// more.
func (d *bed) reportRound(ctx context.Context, devices []*mqttdevice.Device, round int, out *reported) error {
	began := time.Now()
	at := make([]time.Time, len(devices))
	for i, device := range devices {
		due := began.Add(reportsEvery * time.Duration(i) / time.Duration(len(devices)))
		if err := d.bench.await(ctx, "devices report", 2*reportsEvery, pollEvery, func() (string, bool, error) {
			return fmt.Sprintf("round %d of %d, %d of %d", round+1, reportRounds, i, len(devices)), !time.Now().Before(due), nil
		}); err != nil {
			return err
		}
		var err error
		if at[i], err = sendReport(device, map[string]any{"round": round + 1, "battery": 90 - i%50}); err != nil {
			return err
		}
	}
	if err := d.bench.pass(ctx, "the last reports are seen", 3*interval); err != nil {
		return err
	}
	if err := d.writes.refresh(); err != nil {
		return err
	}
	for i, device := range devices {
		out.sent++
		switch written := d.writes.statusSince(device.ID, at[i]); len(written) {
		case 0:
			out.missing++
		case 1:
			out.latencies = append(out.latencies, written[0].Sub(at[i]).Seconds())
		default:
			out.several += len(written) - 1
			out.latencies = append(out.latencies, written[0].Sub(at[i]).Seconds())
		}
	}
	return nil
}
