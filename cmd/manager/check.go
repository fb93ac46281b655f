package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	clientconfig "sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/devicetwin-io/devicetwin-operator/internal/installcheck"
)

// checkCommand is the first argument that has this program check an installation.
const checkCommand = "check"

// check checks an installation by the arguments that follow the command. It
// returns the program's status: 0 if all is well, 1 if a check failed, 2 if it
// was not told what to check.
func check(ctx context.Context, args []string, out, errs io.Writer) int {
	ctrl.SetLogger(logr.Discard()) // what fails is printed
	opts, err := parseCheck(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		opts.Config, err = ctrl.GetConfig()
	}
	if err != nil {
		fmt.Fprintln(errs, "manager check:", err)
		return 2
	}
	if err := installcheck.Run(ctx, opts, out); err != nil {
		fmt.Fprintln(errs, "manager check:", err)
		return 1
	}
	return 0
}

func parseCheck(args []string, errs io.Writer) (installcheck.Options, error) {
	var opts installcheck.Options
	flags := flag.NewFlagSet("manager check", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it, in one line
	clientconfig.RegisterFlags(flags)
	flags.StringVar(&opts.Namespace, "namespace", "", "namespace of the installation, where a HubConnection is made for a moment")
	flags.StringVar(&opts.Webhooks, "webhooks", "", "name of the ValidatingWebhookConfiguration; empty where there are no webhooks")
	flags.Func("metrics-url", "where metrics are served, such as https://devicetwin-manager-metrics.devicetwin-system.svc:8443/metrics; may be given again", func(address string) error {
		opts.MetricsURLs = append(opts.MetricsURLs, address)
		return nil
	})
	flags.StringVar(&opts.HubSecret, "hub-secret", "", "Secret in --namespace with the connection string of a hub to reach; empty reaches none")
	caFile := flags.String("hub-ca-file", "", "file with PEM certificates to trust at that hub instead of the system's")
	flags.DurationVar(&opts.Patience, "patience", time.Minute, "how long each check may take to succeed")
	flags.Usage = func() {}
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(errs, "manager check finds out whether an installation works, and says what to do where it does not.\n\nFlags:\n")
		flags.SetOutput(errs)
		flags.PrintDefaults()
	}
	if err != nil {
		return opts, err
	}
	switch {
	case flags.NArg() > 0:
		return opts, fmt.Errorf("%q is no flag", flags.Arg(0))
	case opts.Namespace == "":
		return opts, errors.New("--namespace is required")
	case opts.Patience <= 0:
		return opts, errors.New("--patience: has to be longer than 0s")
	case *caFile == "":
		return opts, nil
	}
	if opts.HubCA, err = os.ReadFile(*caFile); err != nil {
		return opts, fmt.Errorf("--hub-ca-file: %w", err)
	}
	return opts, nil
}
