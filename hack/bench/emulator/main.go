// Command emulator measures hubemulator beside a bare Go HTTPS handler, and
// with thousands of MQTT devices, and holds the results against bounds.
//
// Run it with `make bench-emulator`. The servers are processes of their own:
// this program again, with --serve.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

const (
	exitOK      = 0
	exitFailed  = 1
	exitMisused = 2
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	opts, err := parseOptions(args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return exitMisused
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if opts.serve != "" {
		err = serve(ctx, opts, os.Stdin, os.Stdout)
	} else {
		err = measure(ctx, opts)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// measure runs the parts that were asked for, one after the other, and reports
// what came of them. The error names the bounds that were missed.
func measure(ctx context.Context, opts options) error {
	r := newReport(opts, os.Stdout)
	for _, part := range parts {
		if !opts.wants(part.name) {
			continue
		}
		r.progress("== %s", part.title)
		if err := part.measure(ctx, opts, r); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	r.conclude()
	r.progress("\n%s", r.markdown())
	if err := r.save(opts); err != nil {
		return err
	}
	return bounds.Missed(r.Bounds)
}

// part is something to measure. It puts what it measured into the report.
type part struct {
	name, title string
	measure     func(context.Context, options, *report) error
}

var parts = [...]part{
	{"start", "From Start to the first answer", measureStart},
	{"http", "Requests per second, memory, first pages", measureHTTP},
	{"mqtt", "Devices over MQTT", measureFleet},
	{"large", "One hub with very many devices", measureLarge},
}
