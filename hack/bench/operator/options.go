package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/sizes"
)

// options are the command line.
type options struct {
	// bin holds manager and hubemulator; assets holds etcd, kube-apiserver and
	// kubectl; root is the repository.
	bin, assets, root string
	n, rounds         int
	workers           int
	sizes             []int // of the row memory, ascending
	rows              []string
	out, report       string
	keepLogs          string
	check             bool
}

const usage = `Usage: operator --assets DIR [flags]

Measures the operator on real parts, each a process of its own on loopback: etcd,
kube-apiserver, hubemulator and the manager. Prints a line every few seconds, then
a table; exits with 1 when a row could not be measured and, with --check, when a
bound was missed, naming row, measured and asked.

Rows (--rows, in this order; those up to membership share a fleet that converged,
set-converge and set-idle are of ten times --n devices, set-million runs only if it
is named):
%s
The hub never throttles, and its HubConnection declares tier S3 x 10 with
ratePercent 100 (S3 x 100 for set-converge, whose rate the machine alone bounds),
but for converge-S1, set-s1 and tenants, whose hub has an S1 unit's throttles.
Numbers come from the emulator's counters, the API server's audit log and the
kernel; the manager is asked for its heap alone (--pprof-bind-address).

Examples, from the repository:
  make bench BENCHFLAGS='--rows idle,restart'       # the other rows stay as they were
  make bench-check BENCHFLAGS='--n 500 --rounds 1 --out='    # small, writes no report
  make bench BENCHFLAGS='--rows peers --keep-logs /tmp/logs'

Flags:
`

func parseOptions(args []string, help io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("operator", flag.ContinueOnError)
	flags.SetOutput(help)
	flags.StringVar(&o.bin, "bin", "bin", "`folder` with manager and hubemulator")
	flags.StringVar(&o.assets, "assets", "", "`folder` with etcd, kube-apiserver and kubectl, as hack/controlplane/ensure.sh prints it")
	flags.StringVar(&o.root, "root", ".", "the repository's `folder`")
	flags.IntVar(&o.n, "n", 10000, "`number` of twins; 200 and more will do for development")
	flags.IntVar(&o.rounds, "rounds", 3, "`number` of rounds, on fresh clusters, where medians are asked for")
	flags.IntVar(&o.workers, "workers", 64, "the manager's --workers; a floor has a quarter of them in flight, as the manager may have at one hub")
	wantedSizes := flags.String("sizes", "", "`numbers` of twins of the row memory, ascending (default: a tenth of --n, and --n)")
	wanted := flags.String("rows", "", "`names` of the rows to measure, separated by commas (default all)")
	flags.StringVar(&o.out, "out", "", "`folder` for the report; rows that are not measured now stay there as they are")
	flags.StringVar(&o.report, "report", "operator", "`name` of the report's files, without .md and .json")
	flags.StringVar(&o.keepLogs, "keep-logs", "", "`folder` in which the logs of all processes are kept")
	flags.BoolVar(&o.check, "check", false, "fail when a bound was missed")
	flags.Usage = func() {
		fmt.Fprintf(help, usage, rowsHelp())
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *wanted != "" {
		o.rows = strings.Split(*wanted, ",")
	}
	if *wantedSizes == "" {
		*wantedSizes = fmt.Sprintf("%d,%d", max(1, o.n/10), o.n)
	}
	var err error
	if o.sizes, err = parseSizes(*wantedSizes); err != nil {
		return options{}, err
	}
	return o, o.validate()
}

func parseSizes(text string) ([]int, error) {
	parsed, err := sizes.Parse("sizes", text)
	if err != nil {
		return nil, err
	}
	if len(parsed) < 2 {
		return nil, fmt.Errorf("--sizes %q: give two or more: the slope between them is measured", text)
	}
	return parsed, nil
}

// leastTwins is what every row can work with: one in a hundred of them changes.
const leastTwins = 100

func (o options) validate() error {
	switch {
	case o.assets == "":
		return errors.New("--assets is needed: the folder that hack/controlplane/ensure.sh prints")
	case o.n < leastTwins:
		return fmt.Errorf("--n %d: give at least %d", o.n, leastTwins)
	case o.rounds < 1:
		return fmt.Errorf("--rounds %d: give a number above 0", o.rounds)
	case o.workers < 4:
		return fmt.Errorf("--workers %d: give at least 4", o.workers)
	case o.report == "" || strings.ContainsAny(o.report, `/\`):
		return fmt.Errorf("--report %q: give the name of a file, without its folder", o.report)
	}
	for _, name := range o.rows {
		if !slices.ContainsFunc(scenarios(), func(s scenario) bool { return s.name == name }) {
			return fmt.Errorf("--rows: there is no row %q; there are:\n%s", name, rowsHelp())
		}
	}
	return nil
}

func (o options) wants(row scenario) bool {
	return len(o.rows) == 0 && !row.onRequest || slices.Contains(o.rows, row.name)
}

// inFlight is how many objects a floor works on at the same time: as many as the
// manager may have in flight at one hub, a quarter of its workers.
func (o options) inFlight() int { return o.workers / 4 }
