package diff

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/request"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

const help = `Show the exact change that each DeviceTwin would make on the hub, leaf by leaf, and how many messages the hub bills for it: of
manifests as if they were applied, or of DeviceTwins that are there as they are now. Nothing is written, neither to the cluster nor
to the hub.

The manager plans, by TwinRequests that this command makes and deletes. It reads each twin once, and goes by what it wrote before,
by policies and by the DeviceTwins of others. Values that look like credentials are not shown.

Exit codes: 0 nothing would be written; 1 something would; 2 it is not known of all, or another error.`

const examples = `  # before applying
  kubectl twin diff -f thermostat-1.yaml
  kubectl twin diff -k overlays/line-7

  # what the operator would restore now
  kubectl twin diff thermostat-1

  # in a pipeline
  kustomize build overlays/line-7 | kubectl twin diff -f - -o json`

const (
	// sideBySide is how many plans are asked for at once: the hub's rate bounds them all the same.
	sideBySide = 8
	stdin      = "-"
)

// command is what it was called with.
type command struct {
	access      *cluster.Access
	format      *terminal.Format
	flags       request.Flags
	selection   cluster.Selection
	files       []string
	recursive   bool
	kustomize   string
	all         bool
	credentials bool
}

// NewCommand returns the command diff.
func NewCommand(access *cluster.Access) *cobra.Command {
	d := &command{access: access, format: terminal.NewFormat(terminal.JSON, terminal.YAML)}
	cmd := &cobra.Command{
		Use: "diff {-f FILE | -k DIR | NAME...}", Short: "Show what manifests would write to the hub", Long: help, Example: examples,
		ValidArgsFunction: access.CompleteTwins,
		RunE: func(cmd *cobra.Command, args []string) error {
			d.selection.Names = args
			return d.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&d.files, "filename", "f", nil, "file or folder with manifests, - for standard input; may be given several times")
	flags.BoolVarP(&d.recursive, "recursive", "R", false, "folders with those below them")
	flags.StringVarP(&d.kustomize, "kustomize", "k", "", "folder with a kustomization.yaml")
	flags.BoolVar(&d.all, "show-unchanged", false, "show those that would write nothing as well")
	flags.BoolVar(&d.credentials, "show-credentials", false, "show values that look like credentials")
	d.flags.AddFlags(flags)
	d.format.AddFlag(cmd)
	return cmd
}

func (d *command) run(ctx context.Context) error {
	namespace, err := d.access.Namespace()
	if err != nil {
		return err
	}
	c, err := d.access.Client()
	if err != nil {
		return err
	}
	twins, err := d.twins(ctx, c, namespace)
	if err != nil {
		return err
	}
	if len(twins) == 0 {
		return errors.New("there is no DeviceTwin among the manifests")
	}
	items := d.plan(ctx, c, twins)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := d.print(items); err != nil {
		return err
	}
	return conclude(items)
}

// twins are what to plan for: manifests, or objects that are there.
func (d *command) twins(ctx context.Context, c client.Client, namespace string) ([]*v1alpha1.DeviceTwin, error) {
	given := 0
	for _, way := range []bool{len(d.files) > 0, d.kustomize != "", len(d.selection.Names) > 0} {
		if way {
			given++
		}
	}
	if given != 1 {
		return nil, errors.New("which DeviceTwins? give manifests with -f, a kustomization with -k, or names; one of them")
	}
	if len(d.selection.Names) == 0 {
		return d.manifests(namespace)
	}
	if err := d.selection.Check(true); err != nil {
		return nil, err
	}
	var twins []*v1alpha1.DeviceTwin
	_, err := d.selection.Each(ctx, c, namespace, func(obj *v1alpha1.DeviceTwin) error {
		twins = append(twins, obj)
		return nil
	}, func(_ string, err error) error { return err })
	return twins, err
}

// plan asks for all plans, some side by side, and keeps their order.
func (d *command) plan(ctx context.Context, c client.WithWatch, twins []*v1alpha1.DeviceTwin) []item {
	progress := d.access.Progress("planning")
	defer progress.Stop()
	items := make([]item, len(twins))
	var group errgroup.Group
	group.SetLimit(sideBySide)
	for i, twin := range twins {
		group.Go(func() error {
			items[i] = d.planOf(ctx, c, twin)
			progress.Add(1)
			return nil
		})
	}
	if err := group.Wait(); err != nil { // what fails is told with each item
		d.access.Note("error: %v", err)
	}
	return items
}

func (d *command) planOf(ctx context.Context, c client.WithWatch, twin *v1alpha1.DeviceTwin) item {
	found := item{Namespace: twin.Namespace, Name: twin.Name, Device: twin.Spec.DeviceID, Module: twin.Spec.ModuleID}
	asked := &v1alpha1.TwinRequest{}
	asked.Namespace = twin.Namespace
	asked.Spec.Plan = &v1alpha1.TwinRequestPlan{Name: twin.Name, Spec: *twin.Spec.DeepCopy()}
	if err := request.New(c, d.flags, twin.Labels).Answer(ctx, asked); err != nil {
		found.Error = err.Error()
		return found
	}
	if err := found.take(asked.Status.Plan, d.credentials); err != nil {
		found.Error = err.Error()
	}
	return found
}

// conclude is how the command ends.
func conclude(items []item) error {
	failed, changing := 0, false
	for _, i := range items {
		if i.Error != "" {
			failed++
		}
		changing = changing || i.writes()
	}
	switch {
	case failed > 0:
		return fmt.Errorf("of %d of %d DeviceTwins it is not known what they would write", failed, len(items))
	case changing:
		return cluster.ErrFound
	}
	return nil
}
