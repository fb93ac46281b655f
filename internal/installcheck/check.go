// Package installcheck finds out whether an installed operator works: that the
// API server serves its kinds and asks its webhooks, that metrics are served,
// and that it reaches a hub. It changes nothing but a HubConnection that it
// makes and deletes again, and says of each check what to do when it fails.
package installcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// retryInterval is how long to wait between two tries.
const retryInterval = time.Second

// ErrFailed is what Run returns when a check failed, which it has said by then.
var ErrFailed = errors.New("the installation does not work")

// Options say what is installed, and so what to check.
type Options struct {
	// Config reaches the API server. Its token is shown to the metrics as well.
	Config *rest.Config
	// Namespace is where objects are made.
	Namespace string
	// Webhooks is the name of the ValidatingWebhookConfiguration. Empty means
	// that there are no webhooks.
	Webhooks string
	// MetricsURLs are where metrics are served.
	MetricsURLs []string
	// HubSecret is the Secret in Namespace with the connection string of a hub
	// to reach. Empty means that there is none to try.
	HubSecret string
	// HubCA holds the PEM certificates of the authorities to trust at that hub
	// instead of the system's.
	HubCA []byte
	// Patience is how long each check may take to succeed: managers that were
	// installed a moment ago are still starting.
	Patience time.Duration
}

type checker struct {
	Options
	client client.WithWatch
}

// check is one line of the output.
type check struct {
	name string
	// skipped is why the check is not made; empty makes it.
	skipped string
	// run returns what was found, or what is wrong and what to do.
	run func(ctx context.Context) (string, error)
}

// Run makes all checks and writes a line on each to out, which begins with ok,
// FAILED or skipped. It returns ErrFailed if one failed.
func Run(ctx context.Context, opts Options, out io.Writer) error {
	c, err := newChecker(opts)
	if err != nil {
		return err
	}
	failed := false
	say := func(result, name, text string) {
		fmt.Fprintf(out, "%-7s  %s: %s\n", result, name, strings.Join(strings.Fields(text), " "))
	}
	withoutKinds := ""
	for _, check := range c.checks() {
		// Without the kinds, what needs them would fail with a message that leads elsewhere.
		if check.skipped == "" && check.name != checkMetrics {
			check.skipped = withoutKinds
		}
		if check.skipped != "" {
			say("skipped", check.name, check.skipped)
			continue
		}
		found, err := c.await(ctx, check.run)
		if err == nil {
			say("ok", check.name, found)
			continue
		}
		failed = true
		say("FAILED", check.name, err.Error())
		if check.name == checkKinds {
			withoutKinds = "the API server does not serve the kinds"
		}
	}
	if failed {
		return ErrFailed
	}
	return nil
}

func newChecker(opts Options) (*checker, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	opts.Config = rest.CopyConfig(opts.Config)
	opts.Config.WarningHandler = rest.NoWarnings{} // those of dry runs are of no use
	opts.Config.QPS = -1                           // a few calls: the limiter would only have an error of its own when patience ends
	c, err := client.NewWithWatch(opts.Config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	return &checker{Options: opts, client: c}, nil
}

// The names of the checks.
const (
	checkKinds   = "kinds"
	checkWebhook = "webhook"
	checkMetrics = "metrics"
	checkHub     = "hub"
)

func (c *checker) checks() []check {
	skipIf := func(condition bool, why string) string {
		if condition {
			return why
		}
		return ""
	}
	return []check{
		{name: checkKinds, run: c.kinds},
		{name: checkWebhook, run: c.webhook, skipped: skipIf(c.Webhooks == "", "no webhooks are installed")},
		{name: checkMetrics, run: c.metrics, skipped: skipIf(len(c.MetricsURLs) == 0, "no metrics are served")},
		{name: checkHub, run: c.hub, skipped: skipIf(c.HubSecret == "", "no hub to reach is named")},
	}
}

// await tries until it succeeds or patience ends. The error is the last that says
// more than that patience has ended.
func (c *checker) await(ctx context.Context, try func(context.Context) (string, error)) (string, error) {
	var found string
	var last error
	ended := wait.PollUntilContextTimeout(ctx, retryInterval, c.Patience, true, func(ctx context.Context) (bool, error) {
		got, err := try(ctx)
		if err == nil {
			found = got
			return true, nil
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) {
			last = err
		}
		return false, nil
	})
	if ended == nil {
		return found, nil
	}
	if last == nil {
		last = ended
	}
	return "", last
}
