// Command testsummary reads the output of `go test -json` and shows what a
// person wants to see: one line per package as it finishes, everything that a
// failed test printed, each skipped test with its reason, and as the very last
// line
//
//	N passed, N failed, N skipped
//
// It exits with status 1 when a test failed, when no test ran at all, and,
// where the environment says CI=true, when a test was skipped: on a machine
// that is meant to run everything, a skip hides a failure.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Stdin, os.Stdout, os.Getenv("CI") == "true"))
}

func run(in io.Reader, out io.Writer, skipsFail bool) int {
	report := newReport(out)
	if err := report.read(in); err != nil {
		// What was not read may hold a failure.
		fmt.Fprintf(out, "reading the test output: %v\n", err)
		report.printTotals()
		return 1
	}
	total := report.finish()
	failed := total.failed > 0
	if skipsFail && total.skipped > 0 {
		fmt.Fprintln(out, "CI=true: a skipped test counts as a failure")
		failed = true
	}
	if total.passed+total.failed == 0 {
		fmt.Fprintln(out, "no test ran")
		failed = true
	}
	report.printTotals()
	if failed {
		return 1
	}
	return 0
}
