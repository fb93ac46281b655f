// Command demo plays the device twins tutorial on real parts: etcd, the
// Kubernetes API server, the operator, a local IoT Hub and a simulated device,
// each a process of its own on free loopback ports. It observes the operator
// from outside only, through kubectl and the hub's REST API.
//
// Run it with `make demo` or, to have it check itself and leave, `make
// demo-check`.
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

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

const (
	exitOK      = 0
	exitFailed  = 1
	exitMisused = 2
)

func main() {
	// On Linux a child is signalled at the death of the thread that started it, not
	// of the process. All children are started from this goroutine, and so
	// from the main thread, which lives as long as the process.
	runtime.LockOSThread()
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	opts, err := parseOptions(args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		return exitMisused
	}
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	process.StopWithParent(cancel)
	if err := demo(ctx, opts, newPrinter(os.Stdout)); err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// demo runs the story once, and in any case stops what it started and removes
// what it wrote. Logs stay when it fails.
func demo(ctx context.Context, opts options, out *printer) (err error) {
	dirs, err := newDirectories(opts.keepLogs)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sup := process.NewSupervisor(dirs.logs, cancel)
	finished := false
	defer func() {
		if e := sup.StopAll(); e != nil {
			out.line("While stopping: %v", e)
		}
		err = errors.Join(err, dirs.remove(finished && err == nil))
		if !finished || err != nil {
			out.line("Logs are kept in %s", dirs.logs)
		}
	}()
	s := newStory(opts, out, sup, dirs)
	tell := s.tell
	if opts.cast != "" {
		tell = s.record
	}
	if err := tell(ctx); err != nil {
		return explain(ctx, err)
	}
	if !opts.check && opts.cast == "" {
		if err := s.playOn(); err != nil {
			return err
		}
		<-ctx.Done()
		out.line("")
		out.line("Stopping.")
		if died := new(process.DeathError); errors.As(context.Cause(ctx), &died) {
			return died
		}
	}
	finished = true
	return nil
}

// explain prefers the reason for which everything was called off, such as a
// process that died, to the step's complaint about being called off.
func explain(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	if errors.Is(cause, context.Canceled) {
		return fmt.Errorf("interrupted: %w", err)
	}
	return fmt.Errorf("%w\n%w", err, cause)
}
