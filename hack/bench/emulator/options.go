package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/sizes"
)

// options are the command line.
type options struct {
	sizes       []int // numbers of devices, ascending
	rounds      int
	duration    time.Duration // of each side of a round
	connections int
	pages       int // first pages of each kind
	starts      int
	fleet       int // devices over MQTT
	changes     int // desired changes for each of them
	large       int // devices of the large hub
	out         string
	parts       []string
	serve       string
}

const usage = `Usage: emulator [flags]

Measures hubemulator: requests per second and latency beside a bare Go HTTPS
handler that reads, decodes and answers the same bytes; memory per device; the
first page of queries; the time to the first answer; devices over MQTT; and a
hub with very many devices.
Rates are measured in rounds, emulator and bare handler in turns; ratios are
those of one round each, and their median counts. It prints a table, writes
emulator.md and emulator.json, and exits with 1 when a bound was missed.

Flags:
`

func parseOptions(args []string, help io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("emulator", flag.ContinueOnError)
	flags.SetOutput(help)
	devices := flags.String("devices", "10000,100000", "`numbers` of devices to measure with, ascending")
	flags.IntVar(&o.rounds, "rounds", 7, "`number` of rounds for each operation and number of devices")
	flags.DurationVar(&o.duration, "duration", 2*time.Second, "`time` that either side of a round takes")
	flags.IntVar(&o.connections, "connections", 32, "`number` of clients, each with a connection that it keeps")
	flags.IntVar(&o.pages, "pages", 11, "`number` of first pages of each kind")
	flags.IntVar(&o.starts, "starts", 21, "`number` of starts")
	flags.IntVar(&o.fleet, "fleet", 5000, "`number` of devices over MQTT")
	flags.IntVar(&o.changes, "changes", 10, "`number` of desired changes for each of them")
	flags.IntVar(&o.large, "large", 1_000_000, "`number` of devices of the large hub")
	flags.StringVar(&o.out, "out", "", "`folder` for emulator.md and emulator.json; they are written when all parts were measured")
	wanted := flags.String("parts", "start,http,mqtt,large", "`names` of the parts to measure")
	flags.StringVar(&o.serve, "serve", "", "run as one of the `servers`, emulator, late or bare, that the program starts")
	flags.Usage = func() {
		_, _ = io.WriteString(help, usage) // the flags follow; a failure to print the help has no other output
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	o.parts = strings.Split(*wanted, ",")
	var err error
	if o.sizes, err = sizes.Parse("devices", *devices); err != nil {
		return options{}, err
	}
	return o, o.validate()
}

func (o options) validate() error {
	for _, number := range []struct {
		flag  string
		value int
	}{
		{"rounds", o.rounds}, {"connections", o.connections}, {"pages", o.pages},
		{"starts", o.starts}, {"fleet", o.fleet}, {"changes", o.changes}, {"large", o.large},
	} {
		if number.value < 1 {
			return fmt.Errorf("--%s %d: give a number above 0", number.flag, number.value)
		}
	}
	if o.duration <= 0 {
		return errors.New("--duration: give a time above 0")
	}
	for _, name := range o.parts {
		if !slices.ContainsFunc(parts[:], func(p part) bool { return p.name == name }) {
			return fmt.Errorf("--parts: there is no part %q", name)
		}
	}
	return nil
}

func (o options) wants(part string) bool { return slices.Contains(o.parts, part) }

func (o options) wantsAll() bool {
	return !slices.ContainsFunc(parts[:], func(p part) bool { return !o.wants(p.name) })
}
