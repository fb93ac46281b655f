package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

// The bounds.
const (
	leastRatio   = 0.6 // of the bare handler's rate, where it applies
	longestPage  = 250 * time.Millisecond
	longestStart = 50 * time.Millisecond
)

// report is all that was measured, as emulator.json has it.
type report struct {
	Measured    string       `json:"measured"` // date
	Machine     machine      `json:"machine"`
	Rounds      int          `json:"rounds"`
	Seconds     float64      `json:"secondsPerSide"`
	Connections int          `json:"connections"`
	Startup     *startup     `json:"startup,omitempty"`
	Throughput  []throughput `json:"throughput,omitempty"`
	Memory      []memory     `json:"memory,omitempty"`
	// BytesPerDevice is the slope of the heap between the smallest and the
	// largest number of devices.
	BytesPerDevice float64        `json:"bytesPerDevice,omitempty"`
	FirstPages     []firstPage    `json:"firstPages,omitempty"`
	Fleet          *fleet         `json:"fleet,omitempty"`
	Large          []largeHub     `json:"large,omitempty"`
	Bounds         []bounds.Bound `json:"bounds"`

	out io.Writer
}

// progress says what goes on.
func (r *report) progress(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

// machine is where the numbers come from.
type machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

func newReport(opts options, out io.Writer) *report {
	return &report{
		Measured: time.Now().UTC().Format(time.DateOnly),
		Machine:  machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
		Rounds:   opts.rounds, Seconds: opts.duration.Seconds(), Connections: opts.connections,
		out: out,
	}
}

// conclude works out what follows from all that was measured.
func (r *report) conclude() {
	r.Bounds = r.bounds()
	if len(r.Memory) > 1 {
		small, large := r.Memory[0], r.Memory[len(r.Memory)-1]
		r.BytesPerDevice = (float64(large.Heap) - float64(small.Heap)) / float64(large.Devices-small.Devices)
	}
}

func (r *report) bounds() []bounds.Bound {
	var all []bounds.Bound
	if r.Startup != nil {
		all = append(all, atMost("from Start to the first answer", r.Startup.Median, longestStart))
	}
	for _, t := range r.Throughput {
		if !t.Bounded {
			continue
		}
		all = append(all, bounds.Bound{
			What:     fmt.Sprintf("%s at %d devices, beside a bare handler", t.Operation, t.Devices),
			Measured: percent(t.Ratio), Wanted: "at least " + percent(leastRatio), Held: t.Ratio >= leastRatio,
		})
	}
	for _, p := range r.FirstPages {
		what := fmt.Sprintf("first page at %d devices for %s, %s", p.Devices, p.Query, p.When)
		all = append(all, atMost(what, p.Median, longestPage))
	}
	if f := r.Fleet; f != nil {
		all = append(all,
			bounds.None(fmt.Sprintf("devices of %d over MQTT that did not get every $version once and in order", f.Devices), f.Wrong),
			bounds.None(fmt.Sprintf("connections lost of %d", f.Devices), f.Lost))
	}
	for _, hub := range r.Large {
		all = append(all, hub.bounds()...)
	}
	return all
}

func percent(ratio float64) string { return fmt.Sprintf("%.0f %%", 100*ratio) }

func atMost(what string, measured float64, limit time.Duration) bounds.Bound {
	wanted := stats.Milliseconds(limit)
	return bounds.Bound{
		What: what, Measured: fmt.Sprintf("%.1f ms", measured), Wanted: fmt.Sprintf("under %.0f ms", wanted), Held: measured < wanted,
	}
}

// save writes the report to the folder that was named, unless parts of it are
// missing.
func (r *report) save(opts options) error {
	if opts.out == "" || !opts.wantsAll() {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(opts.out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(opts.out, "emulator.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(opts.out, "emulator.md"), []byte(r.markdown()), 0o644)
}
