package doctor

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

const help = `Check what the operator needs: custom resource definitions, admission webhooks and their certificates, rights, the manager and its
Leases, HubConnections with their Secrets and how old the last read of each hub is, this machine's clock.

There is a line for each check: ok, warn, or FAIL with what to do. Nothing is changed: the one object that is sent, to see whether
admission answers, is a dry run. Secrets are looked for by name; their content is not read. What the user may not see is a warn.

Exit codes: 0 no FAIL; 1 at least one; 2 the cluster cannot be asked.`

const examples = `  # the current namespace
  kubectl twin doctor

  # all HubConnections; the manager is installed elsewhere than by default
  kubectl twin doctor -A --manager-namespace iot-system`

// Status is how a check ended.
type Status string

// The ways in which a check ends.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "FAIL"
)

// Check is one line.
type Check struct {
	Status Status `json:"status"`
	// Subject is what was looked at.
	Subject string `json:"subject"`
	// Text says what was found, and what to do.
	Text string `json:"text"`
}

// examination is one run of the checks.
type examination struct {
	access    *cluster.Access
	client    client.Client
	http      *http.Client
	host      string
	namespace string
	// all HubConnections of the cluster are looked at, not those of the namespace alone.
	all              bool
	managerNamespace string

	checks []Check
	// progress is how many checks have ended.
	progress *terminal.Progress
	facts    facts
}

// facts are what later checks learn from earlier ones.
type facts struct {
	// unserved tells that the cluster does not know the kinds.
	unserved bool
	// accounts are the managers' ServiceAccounts.
	accounts []string
}

// NewCommand returns the command doctor.
func NewCommand(access *cluster.Access) *cobra.Command {
	format := terminal.NewFormat(terminal.JSON, terminal.YAML)
	e := &examination{access: access}
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for what keeps the operator from its work", Long: help, Example: examples, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := e.run(cmd.Context()); err != nil {
				return err
			}
			return e.print(format)
		},
	}
	cmd.Flags().BoolVarP(&e.all, "all-namespaces", "A", false, "HubConnections of all namespaces")
	cmd.Flags().StringVar(&e.managerNamespace, "manager-namespace", DefaultManagerNamespace, "namespace that the manager is installed in")
	format.AddFlag(cmd)
	return cmd
}

// DefaultManagerNamespace is where the manifests and the documents install the manager.
const DefaultManagerNamespace = "devicetwin-system"

// Examine runs the checks; all looks at the HubConnections of all namespaces. It fails where the cluster cannot be asked.
func Examine(ctx context.Context, access *cluster.Access, managerNamespace string, all bool) ([]Check, error) {
	e := &examination{access: access, managerNamespace: managerNamespace, all: all}
	err := e.run(ctx)
	return e.checks, err
}

func (e *examination) connect() error {
	config, err := e.access.Config()
	if err != nil {
		return err
	}
	if e.namespace, err = e.access.Namespace(); err != nil {
		return err
	}
	if e.client, err = e.access.Client(); err != nil {
		return err
	}
	e.host = config.Host
	if e.http, err = rest.HTTPClientFor(config); err != nil {
		return cluster.Explained(err)
	}
	return nil
}

// run runs the checks in the order in which one may explain the next.
func (e *examination) run(ctx context.Context) error {
	if err := e.connect(); err != nil {
		return err
	}
	e.progress = e.access.Progress("checks")
	defer e.progress.Stop()
	if err := e.apiServer(ctx); err != nil {
		return cluster.Explained(err)
	}
	e.definitions(ctx)
	e.ownRights(ctx)
	e.managers(ctx)
	e.managerRights(ctx)
	e.leases(ctx)
	e.webhooks(ctx)
	if !e.facts.unserved {
		e.hubs(ctx)
	}
	return ctx.Err()
}

func (e *examination) add(status Status, subject, text string) {
	e.checks = append(e.checks, Check{Status: status, Subject: subject, Text: text})
	e.progress.Add(1)
}

func (e *examination) print(format *terminal.Format) error {
	counts := map[Status]int{}
	for _, check := range e.checks {
		counts[check.Status]++
	}
	if format.Structured() {
		if err := format.Print(e.access.Out, map[string]any{"checks": e.checks}); err != nil {
			return err
		}
	} else {
		table := terminal.NewTable(0).Sentences()
		for _, check := range e.checks {
			table.Row(terminal.Styled(style(check.Status), "%s", check.Status), terminal.Text("%s", check.Subject), terminal.Text("%s", check.Text))
		}
		e.access.Screen().Table(table)
	}
	e.access.Note("%d ok, %d warn, %d FAIL", counts[OK], counts[Warn], counts[Fail])
	if counts[Fail] > 0 {
		return cluster.ErrFound
	}
	return nil
}

func style(status Status) terminal.Style {
	switch status {
	case OK:
		return terminal.Good
	case Warn:
		return terminal.Warning
	case Fail:
		return terminal.Bad
	}
	return terminal.Plain
}
