package report

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/doctor"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
	"github.com/devicetwin-io/devicetwin-operator/internal/version"
)

const help = `Collect what a bug report needs into an archive: DeviceTwins, DeviceTwinSets, HubConnections and TwinQueries with their conditions, events about them,
what doctor says, and the manager's Deployments, Leases and logs where you may read them.

Secrets are not read. Values that look like a key, a token or a connection string, or that stand under a key named like a credential,
are hidden, wherever they are; so are other lines of logs that mention one. It goes by appearance: a password under a key that says
nothing is not recognized. Device ids, tags and reported properties are in the archive. Look into it before you send it.`

const examples = `  # the current namespace, to twin-report-20261120-102030.tar.gz
  kubectl twin report

  # all namespaces, to a file of your own
  kubectl twin report -A -f report.tar.gz`

const readme = `This archive was made by %s at %s.

namespaces/    DeviceTwins, DeviceTwinSets, HubConnections and TwinQueries, and events about them
manager/       Deployments, Pods and Leases of the manager, and its logs
doctor.txt     what kubectl twin doctor found
missing.txt    what could not be collected, and why

Secrets were not read. "a value that looks like a credential" stands in the place of what may be one.
`

// command is what it was called with.
type command struct {
	access           *cluster.Access
	file             string
	all              bool
	managerNamespace string
}

// stdout is the file name that stands for standard output.
const stdout = "-"

// NewCommand returns the command report.
func NewCommand(access *cluster.Access) *cobra.Command {
	r := &command{access: access}
	cmd := &cobra.Command{
		Use: "report", Short: "Collect what a bug report needs, without credentials", Long: help, Example: examples, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd.Context()) },
	}
	cmd.Flags().StringVarP(&r.file, "file", "f", "", "archive to write, - for standard output; it must not be there yet")
	cmd.Flags().BoolVarP(&r.all, "all-namespaces", "A", false, "objects of all namespaces")
	cmd.Flags().StringVar(&r.managerNamespace, "manager-namespace", doctor.DefaultManagerNamespace, "namespace that the manager is installed in")
	return cmd
}

func (r *command) run(ctx context.Context) error {
	c, err := r.collector()
	if err != nil {
		return err
	}
	now := r.access.Clock.Now()
	folder := "twin-report-" + now.Format("20060102-150405")
	if r.file == "" {
		r.file = folder + ".tar.gz"
	}
	if _, err := os.Lstat(r.file); err == nil { // before anything is collected for it
		return fmt.Errorf("--file: %s: file exists", r.file)
	}
	c.progress = r.access.Progress("collecting")
	c.collect(ctx)
	c.progress.Stop()
	if err := ctx.Err(); err != nil {
		return err
	}
	fmt.Fprintf(c.file("README.txt"), readme, version.Line("kubectl-twin"), now.UTC().Format(time.RFC3339))
	if len(c.missing) > 0 {
		c.file("missing.txt").WriteString(strings.Join(c.missing, "\n") + "\n")
	}
	if r.file == stdout {
		err = c.write(r.access.Out, folder, now)
	} else {
		err = c.save(r.file, folder, now)
	}
	if err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	for _, what := range c.missing {
		r.access.Note("not in the report: %s", what)
	}
	if r.file != stdout {
		_, err = fmt.Fprintf(r.access.Out, "%s holds %s: look into it before you send it\n", r.file, terminal.Count(len(c.files), "file"))
	}
	return err
}

func (r *command) collector() (*collector, error) {
	config, err := r.access.Config()
	if err != nil {
		return nil, err
	}
	out := &collector{bundle: newBundle(), access: r.access, managerNamespace: r.managerNamespace}
	if out.client, err = r.access.Client(); err != nil {
		return nil, err
	}
	if out.pods, err = kubernetes.NewForConfig(config); err != nil {
		return nil, cluster.Explained(err)
	}
	if !r.all {
		out.namespace, err = r.access.Namespace()
	}
	return out, err
}
