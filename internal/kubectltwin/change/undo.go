package change

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/past"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

const undoHelp = `Take the last edit of a DeviceTwin back: its spec declares again what the hub held before that edit was written. A leaf that the hub
did not hold is no longer declared, and one that was deleted is declared again. With --to, all edits are taken back that were
written after a generation.

It goes by status.history, and changes the object, not the hub: the manager writes what is declared then, within the hub's
guard. Nothing is changed where the history does not tell values whole, since they look like credentials or are long, and where
the spec has been edited since. An edit that did not reach the hub is in no history, and stays.

Where the object is applied from Git, take the edit back there: the next sync sets back what is changed here.`

const undoExamples = `  # look first, then undo the last edit
  kubectl twin history thermostat-1 -v
  kubectl twin undo thermostat-1 --dry-run
  kubectl twin undo thermostat-1

  # back to what was declared at generation 3
  kubectl twin undo thermostat-1 --to 3`

// undo is what the command was called with.
type undo struct {
	access *cluster.Access
	to     int64
	dryRun string
}

// NewUndo returns the command undo.
func NewUndo(access *cluster.Access) *cobra.Command {
	u := &undo{access: access}
	cmd := &cobra.Command{
		Use: "undo NAME", Short: "Declare again what was declared before the last edit", Long: undoHelp, Example: undoExamples,
		Args: cobra.ExactArgs(1), ValidArgsFunction: access.CompleteTwin,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("to") && u.to < 1 {
				return errors.New("--to: should be a generation from kubectl twin history, 1 or later")
			}
			return u.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().Int64Var(&u.to, "to", 0, "generation to go back to, as kubectl twin history shows them; when left out, the one before the last edit")
	dryRunFlag(cmd, &u.dryRun)
	return cmd
}

func (u *undo) run(ctx context.Context, name string) error {
	r, err := newRun(u.access, u.dryRun)
	if err != nil {
		return err
	}
	obj, err := u.access.Twin(ctx, r.client, name)
	if err != nil {
		return err
	}
	var done past.Undone
	applier := past.Applier(obj)
	stale := false
	// What the manager writes into the status meanwhile moves the object as an edit does: it is looked at anew.
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if stale {
			if err := r.client.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
				return err
			}
		}
		stale = true
		if done, err = past.Undo(obj, u.to); err != nil || u.dryRun == dryRunClient {
			return err
		}
		return r.declare(ctx, obj, done)
	})
	if err != nil {
		return fmt.Errorf("devicetwin/%s: %w", obj.Name, cluster.Explained(err))
	}
	r.show(obj, done)
	if applier != "" {
		u.access.Note("warning: %s is applied by %s, which sets this back the next time: take the edit back in its source as well", obj.Name, applier)
	}
	return nil
}

// declare writes a declaration in the place of the one that was read.
func (r *run) declare(ctx context.Context, obj *v1alpha1.DeviceTwin, done past.Undone) error {
	steps := []step{{Op: "replace", Path: "/metadata/resourceVersion", Value: obj.ResourceVersion}}
	for _, section := range []struct {
		path     string
		was, now *runtime.RawExtension
	}{{"/spec/tags", obj.Spec.Tags, done.Tags}, {"/spec/desired", obj.Spec.Desired, done.Desired}} {
		switch {
		case section.now != nil:
			steps = append(steps, step{Op: "add", Path: section.path, Value: json.RawMessage(section.now.Raw)})
		case section.was != nil:
			steps = append(steps, step{Op: "remove", Path: section.path})
		}
	}
	patch, err := json.Marshal(steps)
	if err != nil {
		return err
	}
	err = r.client.Patch(ctx, obj.DeepCopy(), client.RawPatch(types.JSONPatchType, patch), r.patchOptions()...)
	if apierrors.IsInvalid(err) {
		return fmt.Errorf("what was declared before is refused: %w", err)
	}
	return err
}

// step is one of a JSON patch.
type step struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// show tells what is declared in another way.
func (r *run) show(obj *v1alpha1.DeviceTwin, done past.Undone) {
	r.screen.Line(terminal.Plain, "devicetwin/%s of %s declares again what it did at generation %d%s", obj.Name, obj.Namespace, done.To, r.suffix())
	table := terminal.NewTable(2).Keep(0)
	for _, leaf := range done.Leaves {
		table.Row(terminal.Text("%s", leaf.Path), terminal.Text("%s", past.Spelled(leaf.Now)), terminal.Text("->"), terminal.Text("%s", past.Spelled(leaf.New)))
	}
	r.screen.Table(table)
}
