// Command story installs the operator with Helm on a node that runs Pods, and tells what
// befalls it there: the tutorial as README.md has it, then a fleet whose managers are
// deleted, upgraded, starved of memory and reinstalled while it is edited. How much it
// costs the hub is read from the emulator's counters. hack/e2e/run.sh runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	chart, version                 string
	previousChart, previousVersion string
	readme                         string
	twins                          int
	only                           string
}

// chapter is a part of the story that stands by itself.
type chapter struct {
	name  string
	steps []step
}

type step struct {
	title string
	// tell does it and says what was seen.
	tell func(context.Context) (string, error)
}

func main() {
	var opts options
	flag.StringVar(&opts.chart, "chart", "charts/devicetwin-operator", "the chart to install")
	flag.StringVar(&opts.version, "version", "", "the version of its images")
	flag.StringVar(&opts.previousChart, "previous-chart", "", "the chart to upgrade from")
	flag.StringVar(&opts.previousVersion, "previous-version", "", "the version of its images")
	flag.StringVar(&opts.readme, "readme", "README.md", "the page whose commands are run")
	flag.IntVar(&opts.twins, "twins", 500, "how many twins the fleet has")
	flag.StringVar(&opts.only, "only", "", "tell one chapter: trial or fleet")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, opts); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, opts options) error {
	cluster, err := connect()
	if err != nil {
		return err
	}
	began := time.Now()
	for _, chapter := range []chapter{newTrial(cluster, opts).chapter(), newFleet(cluster, opts).chapter()} {
		if opts.only != "" && opts.only != chapter.name {
			continue
		}
		for _, step := range chapter.steps {
			started := time.Now()
			seen, err := step.tell(ctx)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", chapter.name, step.title, err)
			}
			fmt.Printf("%4.0f s  %s (%.1f s)\n", time.Since(began).Seconds(), step.title, time.Since(started).Seconds())
			if seen != "" {
				fmt.Printf("        %s\n", seen)
			}
		}
	}
	fmt.Printf("The story holds, in %.0f s.\n", time.Since(began).Seconds())
	return nil
}
