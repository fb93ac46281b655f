package lint

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

const help = `Check manifests of DeviceTwins, DeviceTwinSets, HubConnections, TwinQueries and TwinRequests without a cluster, by the rules that the API server
and admission have: the schemas with their CEL rules, IoT Hub's limits for twins, its query language. Unknown fields and duplicate keys are
errors as well. Other kinds are left out.

What takes a cluster to know is not checked: that a HubConnection exists, that an immutable field changes. Manifests that kustomize
or Helm completes have to be built first.

Exit codes: 0 nothing found, or warnings alone without --strict; 1 findings; 2 a file cannot be read.`

const examples = `  # files, and folders with those below
  kubectl twin lint -f thermostat-1.yaml -f fleet/ -R

  # what a template gives
  kustomize build overlays/line-7 | kubectl twin lint -f -

  # for code scanning
  kubectl twin lint -f fleet/ -R -o sarif > twins.sarif`

// The values of --output besides JSON.
const (
	outputText  = "text"
	outputSARIF = "sarif"
)

// command is what it was called with.
type command struct {
	access    *cluster.Access
	format    *terminal.Format
	files     []string
	recursive bool
	strict    bool
}

// NewCommand returns the command lint.
func NewCommand(access *cluster.Access) *cobra.Command {
	l := &command{access: access, format: terminal.NewFormat(outputText, terminal.JSON, outputSARIF)}
	cmd := &cobra.Command{
		Use: "lint -f FILE", Short: "Check manifests without a cluster", Long: help, Example: examples, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context()) },
	}
	cmd.Flags().StringArrayVarP(&l.files, "filename", "f", nil, "file or folder with manifests, - for standard input; may be given several times")
	cmd.Flags().BoolVarP(&l.recursive, "recursive", "R", false, "folders with those below them")
	cmd.Flags().BoolVar(&l.strict, "strict", false, "end with 1 for warnings as well")
	l.format.AddFlag(cmd)
	return cmd
}

// file is what was found in one.
type file struct {
	findings  []Finding
	manifests int
}

func (l *command) run(ctx context.Context) error {
	if len(l.files) == 0 {
		return errors.New("which manifests? name files or folders with -f, or - for standard input")
	}
	paths, err := files(l.files, l.recursive)
	if err != nil {
		return err
	}
	results, err := l.check(ctx, paths)
	if err != nil {
		return err
	}
	findings, manifests := []Finding{}, 0
	for _, result := range results {
		findings = append(findings, result.findings...)
		manifests += result.manifests
	}
	if err := l.write(findings); err != nil {
		return err
	}
	counts := map[Severity]int{}
	for _, f := range findings {
		counts[f.Severity]++
	}
	l.access.Note("%s in %s: %s, %s", terminal.Count(manifests, "manifest"), terminal.Count(len(paths), "file"),
		terminal.Count(counts[Error], "error"), terminal.Count(counts[Warning], "warning"))
	if counts[Error] > 0 || l.strict && counts[Warning] > 0 {
		return cluster.ErrFound
	}
	return nil
}

// check reads files side by side, and keeps their order.
func (l *command) check(ctx context.Context, paths []string) ([]file, error) {
	linter, err := New()
	if err != nil {
		return nil, err
	}
	progress := l.access.Progress("checking files")
	defer progress.Stop()
	results := make([]file, len(paths))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, path := range paths {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			name, text, err := read(path, l.access.In)
			if err == nil {
				results[i].findings, results[i].manifests = linter.File(ctx, name, text)
			}
			progress.Add(1)
			return err
		})
	}
	return results, group.Wait()
}

func (l *command) write(findings []Finding) error {
	switch l.format.String() {
	case terminal.JSON:
		return writeJSON(l.access.Out, findings)
	case outputSARIF:
		return writeSARIF(l.access.Out, findings)
	}
	screen := l.access.Screen().Unlimited()
	for _, f := range findings {
		style := terminal.Bad
		if f.Severity == Warning {
			style = terminal.Warning
		}
		screen.Line(style, "%s", f)
	}
	return nil
}

func writeJSON(out io.Writer, findings []Finding) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{"findings": findings})
}
