package main

import (
	"fmt"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

// The bounds of a hub with a million devices.
const (
	mostRSS   = 3000 // bytes for each device
	mostCount = 2000 // milliseconds
	mostPass  = 120  // seconds for all pages of ids
	mostPatch = 10   // milliseconds, of 99 of 100 updates while devices are counted
)

func (l largeHub) String() string {
	return fmt.Sprintf("%d devices, queries %s late", l.Devices, l.Lag)
}

func (l largeHub) bounds() []bounds.Bound {
	all := []bounds.Bound{
		bounds.AtMost(l.String()+": RSS for each", "%.0f bytes", l.RSSPerDevice, mostRSS),
		bounds.AtMost(l.String()+": COUNT", "%.0f ms", l.Count.P50, mostCount),
	}
	for _, p := range l.Passes {
		if p.Query == idPages {
			all = append(all, bounds.AtMost(l.String()+": all pages of ids", "%.1f s", p.Seconds, mostPass))
		}
	}
	for _, p := range l.Patches {
		if p.While == whileCounting {
			all = append(all, bounds.AtMost(l.String()+": p99 of an update meanwhile", "%.1f ms", p.P99, mostPatch))
		}
	}
	return all
}

func (r *report) writeLarge(out *strings.Builder) {
	for _, l := range r.Large {
		fmt.Fprintf(out, "\n## %s\n\nThe devices are all alike and came %s, in %.1f s. Each takes %.0f bytes of heap, and %.0f of RSS; %.0f of RSS after all "+
			"that follows.\n\n| query, one page | median | worst |\n|---|---:|---:|\n", l, l.Filled, l.FillSeconds, l.HeapPerDevice, l.RSSPerDevice, l.RSSPerDeviceLast)
		fmt.Fprintf(out, "| a scan of all devices in vain | %.0f ms | %.0f ms |\n| COUNT of all | %.0f ms | %.0f ms |\n", l.Scan.P50, l.Scan.Worst, l.Count.P50, l.Count.Worst)
		fmt.Fprintf(out, "\nA page goes on where the one before stopped: the last ones take as long as the first.\n\n"+
			"| query, all pages | pages | time | server's CPU | a page of the first tenth | of the middle | of the last |\n|---|---:|---:|---:|---:|---:|---:|\n")
		for _, p := range l.Passes {
			fmt.Fprintf(out, "| %s | %d | %.1f s | %.1f s | %.2f ms | %.2f ms | %.2f ms |\n", p.Query, p.Pages, p.Seconds, p.CPU, p.First, p.Middle, p.Last)
		}
		fmt.Fprintf(out, "\n| conditional updates, one after the other, while | updates | median | p99 | worst |\n|---|---:|---:|---:|---:|\n")
		for _, p := range l.Patches {
			fmt.Fprintf(out, "| %s | %d | %.2f ms | %.2f ms | %.0f ms |\n", p.While, p.Requests, p.P50, p.P99, p.Worst)
		}
		fmt.Fprintf(out, "\n%d at a time: %.0f updates a second.\n", largeClients, l.PatchesPerSecond)
	}
}
