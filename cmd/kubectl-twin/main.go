// Command kubectl-twin is a kubectl plugin: `kubectl twin` shows device twins as declared, on the hub and on the device,
// sums up fleets, and finds out what is wrong.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // for TZ, in images that hold no files of zones

	"github.com/go-logr/logr"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin"
)

func main() {
	// What goes wrong is said once, in the command's own words.
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := kubectltwin.Run(ctx, streams, os.Args[1:])
	stop()
	os.Exit(code)
}
