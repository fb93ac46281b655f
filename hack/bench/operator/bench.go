package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// interval is spec.readBack.interval of every HubConnection here.
	interval = 10 * time.Second
	// quietTime is how long nothing was written when everything counts as done.
	quietTime = 30 * time.Second
	// quietLimit is how long everything may take to be done.
	quietLimit = 5 * time.Minute
	// progressEvery is the time between two lines about a wait.
	progressEvery = 5 * time.Second
	// pollEvery is how often a wait looks again.
	pollEvery = 20 * time.Millisecond
)

// row is something to measure. It puts what it measured into the result, also when
// it cannot go on.
type row struct {
	name, title string
	measure     func(context.Context, *bench, *result) error
}

// rows are all there are. Those that work on a fleet which has converged share one.
func rows() []row {
	return []row{
		{"converge", "N DeviceTwins at once until all are Ready, beside a bare loop", measureConverge},
		// Before any device connects: that it left shows with the next full look, or a restart.
		{"restart", "the manager restarts, 1 % of the twins changed meanwhile", measureRestart},
		{"idle", "nothing changes for three minutes, then one device reports", measureIdle},
		{"reports", "1 % of the devices report each minute", measureReports},
		{"first-write", "one DeviceTwin more, until the hub is told", measureFirstWrite},
		{"membership", "100 TwinQueries with 5 different texts", measureMembership},
		{"reports-lag", "as reports, with the hub's query index 10 s late", measureReportsLag},
		{"converge-S1", "2,000 twins at an S1 hub, 80 % of its rate", measureConvergeS1},
		{"isolation", "one hub hangs, another converges", measureIsolation},
		{"tenants", "300 twins are edited while another tenant attacks their hub", measureTenants},
		{"sharding", "two managers with a shard each, beside one alone", measureSharding},
		{"memory", "the manager's memory by number of twins", measureMemory},
		{"peers", "1,000 twins beside Microsoft's SDK for Node", measurePeers},
	}
}

func rowsHelp() string {
	var out strings.Builder
	for _, r := range rows() {
		fmt.Fprintf(&out, "  %-12s %s\n", r.name, r.title)
	}
	return out.String()
}

// bench is one run.
type bench struct {
	opts    options
	out     io.Writer
	row     string
	started time.Time
	beds    int
	// fleet has N twins that have converged, nil before there is one.
	fleet *bed
}

func newBench(opts options, out io.Writer) *bench { return &bench{opts: opts, out: out} }

func (b *bench) begin(r row) {
	b.row, b.started = r.name, time.Now()
	fmt.Fprintf(b.out, "== %s: %s\n", r.name, r.title)
}

func (b *bench) end(measured *result) {
	for _, v := range measured.Values {
		b.say("%s: %s", v.What, v)
	}
	for _, bound := range measured.Bounds {
		verdict := "held"
		if !bound.Held {
			verdict = "MISSED"
		}
		b.say("%-6s %s: %s, wanted %s", verdict, bound.What, bound.Measured, bound.Wanted)
	}
}

// say prints a line of progress: row and time so far come first.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.out, "%-12s %6.1f s  %s\n", b.row, time.Since(b.started).Seconds(), fmt.Sprintf(format, args...))
}

// errTooLong says that a wait was given up.
var errTooLong = errors.New("it took too long")

// await looks again and again until done, an error, or the limit, and says every few
// seconds what is seen.
func (b *bench) await(ctx context.Context, phase string, limit, every time.Duration, look func() (seen string, done bool, err error)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	began, told := time.Now(), time.Now()
	for {
		seen, done, err := look()
		if err != nil || done {
			return err
		}
		if time.Since(told) >= progressEvery {
			told = time.Now()
			b.say("%s: %s", phase, seen)
		}
		if time.Since(began) > limit {
			return fmt.Errorf("%s: %w, %s: %s", phase, errTooLong, limit, seen)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// pass lets time pass in which nothing is asked, or what tick does.
func (b *bench) pass(ctx context.Context, phase string, length time.Duration) error {
	began := time.Now()
	return b.await(ctx, phase, 2*length, 100*time.Millisecond, func() (string, bool, error) {
		gone := time.Since(began)
		return fmt.Sprintf("%.0f of %.0f s", gone.Seconds(), length.Seconds()), gone >= length, nil
	})
}

// folders makes a bed's folders for data and for logs.
func (b *bench) folders() (work, logs string, err error) {
	b.beds++
	if work, err = os.MkdirTemp("", "devicetwin-bench-"); err != nil {
		return "", "", err
	}
	logs = filepath.Join(work, "logs")
	if b.opts.keepLogs != "" {
		if logs, err = filepath.Abs(filepath.Join(b.opts.keepLogs, fmt.Sprintf("%02d-%s", b.beds, b.row))); err != nil {
			return "", "", err
		}
		if err := os.RemoveAll(logs); err != nil {
			return "", "", err
		}
	}
	return work, logs, os.MkdirAll(logs, 0o755)
}

// close ends the fleet, which several rows share.
func (b *bench) close() error {
	if b.fleet == nil {
		return nil
	}
	err := b.fleet.close()
	b.fleet = nil
	return err
}
