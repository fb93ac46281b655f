package main

import (
	"fmt"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

const megabyte = 1 << 20

// markdown is the report for humans.
func (r *report) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# hubemulator, measured\n\n")
	fmt.Fprintf(&out, "Written by `make bench-emulator` on %s: %s/%s, %d CPUs, %s. Servers and clients share the machine.\n\n",
		r.Measured, r.Machine.OS, r.Machine.Arch, r.Machine.CPUs, r.Machine.Go)
	bounds.WriteTable(&out, r.Bounds)
	r.writeThroughput(&out)
	r.writeMemory(&out)
	r.writePages(&out)
	r.writeStartup(&out)
	r.writeFleet(&out)
	r.writeLarge(&out)
	return out.String()
}

func (r *report) writeThroughput(out *strings.Builder) {
	if len(r.Throughput) == 0 {
		return
	}
	fmt.Fprintf(out, "\n## Requests\n\n"+
		"The bare handler is a Go HTTPS server with the same TLS that reads and decodes the same bodies and writes the same answers, "+
		"and does nothing else. %d clients keep a connection each; SAS tokens are checked and calls counted, as always. "+
		"Medians of %d rounds in which both sides had %g s each; the ratio is that of one round, "+
		"p99 is over all requests, CPU is the server's own for a request.\n\n", r.Connections, r.Rounds, r.Seconds)
	fmt.Fprintf(out, "| devices | request | emulator | bare | ratio | p99 emulator | p99 bare | CPU emulator | CPU bare |\n"+
		"|---:|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, t := range r.Throughput {
		fmt.Fprintf(out, "| %d | %s | %.0f/s | %.0f/s | %s | %.1f ms | %.1f ms | %.0f µs | %.0f µs |\n",
			t.Devices, t.Operation, t.Emulator.Rate, t.Bare.Rate, percent(t.Ratio),
			t.Emulator.P99, t.Bare.P99, t.Emulator.CPU, t.Bare.CPU)
	}
}

func (r *report) writeMemory(out *strings.Builder) {
	if len(r.Memory) == 0 {
		return
	}
	fmt.Fprintf(out, "\n## Memory\n\nThe emulator's heap after a garbage collection; each twin has about a dozen properties.\n\n"+
		"| devices | heap |\n|---:|---:|\n")
	for _, m := range r.Memory {
		fmt.Fprintf(out, "| %d | %.1f MB |\n", m.Devices, float64(m.Heap)/megabyte)
	}
	if r.BytesPerDevice > 0 {
		fmt.Fprintf(out, "\nEach device more takes %.0f bytes.\n", r.BytesPerDevice)
	}
}

func (r *report) writePages(out *strings.Builder) {
	if len(r.FirstPages) == 0 {
		return
	}
	fmt.Fprintf(out, "\n## First pages of a query by tag\n\n| devices | query | when | median | worst |\n|---:|---|---|---:|---:|\n")
	for _, p := range r.FirstPages {
		fmt.Fprintf(out, "| %d | %s | %s | %.1f ms | %.1f ms |\n", p.Devices, p.Query, p.When, p.Median, p.Worst)
	}
}

func (r *report) writeStartup(out *strings.Builder) {
	if r.Startup == nil {
		return
	}
	fmt.Fprintf(out, "\n## Start\n\nFrom `hubemulator.Start` to the first answer over HTTPS: median %.1f ms, worst %.1f ms of %d.\n",
		r.Startup.Median, r.Startup.Worst, r.Startup.Starts)
}

func (r *report) writeFleet(out *strings.Builder) {
	f := r.Fleet
	if f == nil {
		return
	}
	fmt.Fprintf(out, "\n## Devices over MQTT\n\n%d devices connected at once, each sent %d desired changes and reporting each.\n\n"+
		"| | |\n|---|---:|\n", f.Devices, f.Changes)
	for _, row := range []struct {
		what, value string
	}{
		{"devices that did not get every `$version` once and in order", fmt.Sprint(f.Wrong)},
		{"connections lost", fmt.Sprint(f.Lost)},
		{"time to connect all", fmt.Sprintf("%.1f s", f.ConnectSeconds)},
		{"time for all changes and reports", fmt.Sprintf("%.1f s", f.ExchangeSeconds)},
		{"changes and reports per second", fmt.Sprintf("%.0f", float64(f.Devices*f.Changes)/f.ExchangeSeconds)},
		{"server's RSS before the connections", fmt.Sprintf("%d MB", f.RSSBefore/megabyte)},
		{"server's RSS with all connected", fmt.Sprintf("%d MB", f.RSSConnected/megabyte)},
		{"server's RSS after the changes", fmt.Sprintf("%d MB", f.RSSAfter/megabyte)},
		{"RSS per connection", fmt.Sprintf("%d KB", (f.RSSConnected-f.RSSBefore)/f.Devices/1024)},
	} {
		fmt.Fprintf(out, "| %s | %s |\n", row.what, row.value)
	}
}
