// Command operator measures the operator on real parts: etcd, the API server, the
// hub emulator and the manager, each a process of its own, and holds the results
// against bounds.
//
// Run it with `make bench`, `make bench-100k` or `make bench-check`. What is measured
// comes from the emulator's counters, the API server's audit log and the kernel; the
// manager itself is only asked for its heap.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

const (
	exitOK      = 0
	exitFailed  = 1
	exitMisused = 2
)

func main() {
	// On Linux a child is signalled at the death of the thread that started it: all
	// children are started from this goroutine, and so from the main thread.
	runtime.LockOSThread()
	os.Exit(execute(os.Args[1:]))
}

func execute(args []string) int {
	opts, err := parseOptions(args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return exitMisused
	}
	ctrllog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	process.StopWithParent(cancel)
	if err := measure(ctx, opts); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// measure runs the rows that were asked for, one after the other, and reports what
// came of them. A row that cannot be measured does not keep the others from it. With
// --check the error names the bounds that were missed.
func measure(ctx context.Context, opts options) error {
	b := newBench(opts, os.Stdout)
	report, err := newReport(opts)
	if err != nil {
		return err
	}
	var failed []error
	for _, scenario := range scenarios() {
		if !opts.wants(scenario) || ctx.Err() != nil {
			continue
		}
		measured, err := b.measure(ctx, scenario)
		if err != nil {
			measured.Error = err.Error()
			failed = append(failed, fmt.Errorf("row %s could not be measured: %w", scenario.name, err))
			b.say("could not be measured: %v", err)
		}
		report.put(measured)
		if err := report.save(opts); err != nil {
			return errors.Join(err, b.closeFleet())
		}
		b.sum(measured)
	}
	if err := b.closeFleet(); err != nil {
		failed = append(failed, err)
	}
	if err := ctx.Err(); err != nil {
		failed = append(failed, fmt.Errorf("interrupted: %w", context.Cause(ctx)))
	}
	fmt.Fprintf(os.Stdout, "\n%s", report.markdown())
	if opts.check {
		failed = append(failed, report.missed())
	}
	return errors.Join(failed...)
}
