package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

// value is a number that was measured.
type value struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

func (v value) String() string {
	format := "%.3g %s"
	switch {
	case v.Value == float64(int64(v.Value)), v.Value >= 100:
		format = "%.0f %s"
	case v.Value >= 1:
		format = "%.2f %s"
	}
	return strings.TrimSpace(fmt.Sprintf(format, v.Value, v.Unit))
}

// result is what came of a row.
type result struct {
	Row   string `json:"row"`
	Title string `json:"title"`
	// Measured is the day.
	Measured string `json:"measured"`
	// Hub is the hub's profile, N the number of twins, Rounds that of fresh
	// clusters over which medians were taken.
	Hub     string         `json:"hub"`
	N       int            `json:"n"`
	Rounds  int            `json:"rounds"`
	Seconds float64        `json:"seconds"`
	Values  []value        `json:"values"`
	Bounds  []bounds.Bound `json:"bounds"`
	Notes   []string       `json:"notes,omitempty"`
	// Error says why the row could not be measured.
	Error string `json:"error,omitempty"`
}

func (r *result) add(what string, number float64, unit string) {
	r.Values = append(r.Values, value{what, number, unit})
}

func (r *result) bound(b bounds.Bound) { r.Bounds = append(r.Bounds, b) }

func (r *result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// finish says when the row was measured, and names it in its bounds.
func (r *result) finish(started time.Time) {
	r.Measured = time.Now().UTC().Format(time.DateOnly)
	r.Seconds = time.Since(started).Round(100 * time.Millisecond).Seconds()
	for i := range r.Bounds {
		r.Bounds[i].What = r.Row + ": " + r.Bounds[i].What
	}
}

// machine is where the numbers come from.
type machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

// report is all rows, as operator.json has them: those of this run, and of earlier
// ones what was not measured again.
type report struct {
	Machine machine   `json:"machine"`
	Rows    []*result `json:"rows"`

	fresh map[string]bool // rows of this run
}

func (r *report) path(opts options, extension string) string {
	return filepath.Join(opts.out, opts.report+extension)
}

func newReport(opts options) (*report, error) {
	r := &report{fresh: map[string]bool{}}
	if opts.out != "" {
		text, err := os.ReadFile(r.path(opts, ".json"))
		if err == nil {
			err = json.Unmarshal(text, r)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the report of earlier runs: %w", err)
		}
	}
	r.Machine = machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()}
	return r, nil
}

// put adds a row in its place, instead of an earlier one.
func (r *report) put(measured *result) {
	r.fresh[measured.Row] = true
	r.Rows = slices.DeleteFunc(r.Rows, func(old *result) bool { return old.Row == measured.Row })
	r.Rows = append(r.Rows, measured)
	order := func(name string) int {
		return slices.IndexFunc(scenarios(), func(s scenario) bool { return s.name == name })
	}
	slices.SortStableFunc(r.Rows, func(a, b *result) int { return order(a.Row) - order(b.Row) })
}

// missed names the bounds that this run missed.
func (r *report) missed() error {
	var all []bounds.Bound
	for _, measured := range r.Rows {
		if r.fresh[measured.Row] {
			all = append(all, measured.Bounds...)
		}
	}
	return bounds.Missed(all)
}

// save writes the report to the folder that was named.
func (r *report) save(opts options) error {
	if opts.out == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(opts.out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(r.path(opts, ".json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(r.path(opts, ".md"), []byte(r.markdown()), 0o644)
}

const preface = `The parts are processes of their own on loopback: etcd (with --unsafe-no-fsync, as in tests: the disk is not waited for),
kube-apiserver, hubemulator and the manager, and all share the machine with what drives and watches them. Numbers come
from the emulator's counters, the API server's audit log and the kernel; the manager is asked for its heap alone. A floor
is measured in the same run as what stands beside it, with the same payloads, concurrency and client settings (no
client-side rate limit). Webhooks are not served. The read-back interval is %s; quiet is %s without a write.
`

// markdown is the report for humans.
func (r *report) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# The operator, measured\n\nWritten by `make bench`, `make bench-100k` and `make bench-million`: %s/%s, %d CPUs, %s.\n\n",
		r.Machine.OS, r.Machine.Arch, r.Machine.CPUs, r.Machine.Go)
	fmt.Fprintf(&out, preface, interval, quietTime)
	var all []bounds.Bound
	for _, measured := range r.Rows {
		all = append(all, measured.Bounds...)
	}
	fmt.Fprintln(&out)
	bounds.WriteTable(&out, all)
	for _, measured := range r.Rows {
		measured.write(&out)
	}
	return out.String()
}

func (r *result) write(out *strings.Builder) {
	fmt.Fprintf(out, "\n## %s: %s\n\n%d twins; %s; measured %s in %.0f s", r.Row, r.Title, r.N, r.Hub, r.Measured, r.Seconds)
	if r.Rounds > 1 {
		fmt.Fprintf(out, "; medians of %d rounds", r.Rounds)
	}
	fmt.Fprint(out, ".\n")
	for _, note := range r.Notes {
		fmt.Fprintf(out, "%s\n", note)
	}
	if r.Error != "" {
		fmt.Fprintf(out, "\n**Could not be measured:** %s\n", r.Error)
	}
	if len(r.Values) == 0 {
		return
	}
	fmt.Fprint(out, "\n| | |\n|---|---:|\n")
	for _, v := range r.Values {
		fmt.Fprintf(out, "| %s | %s |\n", v.What, v)
	}
}
