package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// letters name the steps of the story, in order.
const letters = "abcdefghij"

// options are the command line.
type options struct {
	// bin holds manager, devicesim and hubemulator; assets holds etcd,
	// kube-apiserver and kubectl.
	bin, assets string
	// root is the repository, for its config folder.
	root string
	// keepLogs is where logs go and stay; empty means a folder that is removed
	// when all goes well.
	keepLogs string
	check    bool
	idle     bool
	// cast is the file that is drawn in place of the story; empty for none.
	cast string
	// killAfter and breakStep are a letter or empty.
	killAfter, breakStep string
}

const usage = `Usage: demo --bin DIR --assets DIR [flags]

Starts etcd, kube-apiserver, hubemulator, the manager and devicesim on free
loopback ports and plays the tutorial in steps a to i, and
in step j brings one manifest to 200 more devices, each connected over MQTT. Then it stays up until
Ctrl-C; with --check it leaves, and exits non-zero when a step did not hold.

--break removes the cause of one step, which must then fail:
  a  the device is not registered on the hub
  b  the DeviceTwin is not applied
  c  the TwinQueries are not applied
  d  devicesim is not started
  e  devicesim reports wifi instead of cellular
  f  the manager is frozen (SIGSTOP) before another writer changes the twin
  g  the edit of power_level is not applied
  h  the removal of the region is not applied
  i  the webhooks are no longer registered at the API server
  j  none of the 200 devices connects

--cast plays some commands in a terminal in place of the story, and draws what
is seen there.

--kill-after kills the manager with SIGKILL after that step and starts it
again; b is done twice: between the ownership record and the write to the hub,
and after the step.

Flags:
`

func parseOptions(args []string, help io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(help)
	flags.StringVar(&o.bin, "bin", "bin", "`folder` with manager, devicesim and hubemulator")
	flags.StringVar(&o.assets, "assets", "", "`folder` with etcd, kube-apiserver and kubectl")
	flags.StringVar(&o.root, "root", ".", "the repository's `folder`")
	flags.StringVar(&o.keepLogs, "keep-logs", "", "`folder` in which logs are kept")
	flags.BoolVar(&o.check, "check", false, "leave after the story; the exit status says whether it held")
	flags.StringVar(&o.cast, "cast", "", "`file` to draw as an SVG, in place of the story")
	flags.StringVar(&o.killAfter, "kill-after", "", "kill the manager after this `step`, a to j")
	flags.StringVar(&o.breakStep, "break", "", "remove the cause of this `step`, a to j")
	flags.BoolVar(&o.idle, "idle", false, "end with the idle proof, 60 s in which nothing may be written (default: with --check, unless something is killed or broken)")
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
	idleGiven := false
	flags.Visit(func(f *flag.Flag) { idleGiven = idleGiven || f.Name == "idle" })
	if !idleGiven {
		o.idle = o.check && o.killAfter == "" && o.breakStep == ""
	}
	return o, o.validate()
}

func (o options) validate() error {
	if o.assets == "" {
		return errors.New("--assets is needed: the folder with etcd, kube-apiserver and kubectl, as hack/controlplane/ensure.sh prints it")
	}
	for name, value := range map[string]string{"--kill-after": o.killAfter, "--break": o.breakStep} {
		if value != "" && (len(value) != 1 || !strings.Contains(letters, value)) {
			return fmt.Errorf("%s %q: give one letter, a to j", name, value)
		}
	}
	if o.cast != "" && (o.check || o.killAfter != "" || o.breakStep != "") {
		return errors.New("--cast tells no story: leave --check, --kill-after and --break out")
	}
	if o.killAfter != "" && o.breakStep != "" {
		return errors.New("--kill-after and --break are separate experiments: give one of them")
	}
	return nil
}
