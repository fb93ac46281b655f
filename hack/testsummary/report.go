package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of `go test -json`, as `go doc test2json` describes it.
// Lines about building carry ImportPath instead of Package.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
}

type totals struct{ passed, failed, skipped int }

// report gathers the events of one run of `go test`.
type report struct {
	out      io.Writer
	packages map[string]*pkg
	builds   map[string]*strings.Builder // compiler output, by import path
	failures []string
	skips    []string
	totals   totals
}

// pkg is one package under test, until it is finished.
type pkg struct {
	name   string
	output strings.Builder // printed outside any test
	tests  map[string]*test
	order  []string
}

// test is one test or subtest. Its result is "pass", "fail" or "skip", and
// empty while it runs.
type test struct {
	result string
	output strings.Builder
}

func newReport(out io.Writer) *report {
	return &report{out: out, packages: map[string]*pkg{}, builds: map[string]*strings.Builder{}}
}

// read takes in every line up to the end of in. What is not an event, such as
// a message of the go command itself, is passed on as it is.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
				fmt.Fprint(r.out, line)
			} else {
				r.take(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) take(e event) {
	switch {
	case e.Action == "build-output":
		r.build(e.ImportPath).WriteString(e.Output)
	case e.Package == "":
		// build-fail: the package that needed the build says so as well.
	case e.Test != "":
		r.pkg(e.Package).take(e)
	case e.Action == "output":
		r.pkg(e.Package).output.WriteString(e.Output)
	case e.Action == "pass" || e.Action == "fail" || e.Action == "skip":
		r.finishPackage(r.pkg(e.Package), e)
	}
}

func (r *report) build(path string) *strings.Builder {
	if r.builds[path] == nil {
		r.builds[path] = &strings.Builder{}
	}
	return r.builds[path]
}

func (r *report) pkg(name string) *pkg {
	if r.packages[name] == nil {
		r.packages[name] = &pkg{name: name, tests: map[string]*test{}}
	}
	return r.packages[name]
}

func (p *pkg) take(e event) {
	t := p.tests[e.Test]
	if t == nil {
		t = &test{}
		p.tests[e.Test] = t
		p.order = append(p.order, e.Test)
	}
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		t.result = e.Action
	}
}

// finishPackage prints the package's line and its failures, counts its tests
// and forgets what they printed.
func (r *report) finishPackage(p *pkg, e event) {
	delete(r.packages, p.name)
	before := r.totals
	failed := e.Action == "fail"
	var details strings.Builder
	for _, name := range p.order {
		r.count(p, name, failed, &details)
	}
	if failed {
		r.explain(p, e.FailedBuild, r.totals.failed == before.failed, &details)
	}
	switch {
	case failed:
		fmt.Fprintf(r.out, "FAIL  %s  %.1fs\n%s", p.name, e.Elapsed, details.String())
	case len(p.order) > 0:
		fmt.Fprintf(r.out, "ok    %s  %.1fs  %d passed, %d skipped\n", p.name, e.Elapsed,
			r.totals.passed-before.passed, r.totals.skipped-before.skipped)
	}
}

// count counts one test. A test with subtests stands for itself only when it
// failed or was skipped while none of them did: its rows are counted instead.
func (r *report) count(p *pkg, name string, packageFailed bool, details *strings.Builder) {
	t := p.tests[name]
	result := t.result
	if result == "" && packageFailed {
		result = "fail"
		t.output.WriteString("    it had not finished when its package ended\n")
	}
	// The race detector prints into whichever test is running by then, which
	// need not be the one that fails.
	raced := packageFailed && strings.Contains(t.output.String(), "WARNING: DATA RACE")
	if result == "fail" || raced {
		details.WriteString(t.output.String())
	}
	rows := p.rowsOf(name)
	if len(rows) > 0 && (result == "pass" || slices.ContainsFunc(rows, func(row *test) bool {
		return row.result == result || row.result == "" && packageFailed
	})) {
		return
	}
	switch result {
	case "pass":
		r.totals.passed++
	case "skip":
		r.totals.skipped++
		r.skips = append(r.skips, fmt.Sprintf("%s %s: %s", p.name, name, reason(t.output.String())))
	default:
		r.totals.failed++
		r.failures = append(r.failures, p.name+" "+name)
	}
}

func (p *pkg) rowsOf(name string) []*test {
	var rows []*test
	for other, t := range p.tests {
		if strings.HasPrefix(other, name+"/") {
			rows = append(rows, t)
		}
	}
	return rows
}

// explain adds what no single test accounts for: a build that failed, a
// TestMain that gave up, a panic, a timeout. It counts as one failure when
// nothing else in the package did.
func (r *report) explain(p *pkg, failedBuild string, unexplained bool, details *strings.Builder) {
	if failedBuild != "" {
		details.WriteString(r.build(failedBuild).String())
	}
	details.WriteString(p.output.String())
	if unexplained {
		r.totals.failed++
		r.failures = append(r.failures, p.name)
	}
}

// reason is what a skipped test printed, on one line, without the frame that
// the testing package puts around it.
func reason(output string) string {
	var kept []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		kept = append(kept, line)
	}
	if len(kept) == 0 {
		return "no reason given"
	}
	return strings.Join(kept, " ")
}

// finish counts packages that never ended, which happens when `go test` itself
// was killed, and prints the lists of failed and skipped tests.
func (r *report) finish() totals {
	var open []string
	for name := range r.packages {
		open = append(open, name)
	}
	slices.Sort(open)
	for _, name := range open {
		r.packages[name].output.WriteString("the test run ended before this package did\n")
		r.finishPackage(r.packages[name], event{Action: "fail"})
	}
	r.list("Skipped:", r.skips)
	r.list("Failed:", r.failures)
	return r.totals
}

func (r *report) list(title string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(r.out, "\n%s\n", title)
	for _, item := range items {
		fmt.Fprintf(r.out, "  %s\n", item)
	}
}

// printTotals prints the last line. Its form is fixed: other programs read it.
func (r *report) printTotals() {
	fmt.Fprintf(r.out, "\n%d passed, %d failed, %d skipped\n", r.totals.passed, r.totals.failed, r.totals.skipped)
}
