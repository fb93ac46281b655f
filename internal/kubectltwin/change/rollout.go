package change

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/rollout"
)

// What the output says of sets: the controller does it, and has not when a command ends that does not wait.
const (
	asksAbort    = "asked to abort"
	asksRollback = "asked to roll back"
)

// NewPause returns the command pause.
func NewPause(access *cluster.Access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "pause SET...", Short: "Keep a DeviceTwinSet from writing, and go on counting",
		Long: `Set spec.rollout.paused of DeviceTwinSets: nothing is written, and no wave follows another. Counts are still refreshed. kubectl twin
resume set/NAME takes it back.

Where the objects come from Git, set spec.rollout.paused there: what is set here is taken back with the next sync.`,
		Example: "  kubectl twin pause line-7",
	}
	return onSets(access, cmd, "paused", nil, func(*v1alpha1.DeviceTwinSet) verb[*v1alpha1.DeviceTwinSet] {
		return verb[*v1alpha1.DeviceTwinSet]{done: "paused", edit: func(obj *v1alpha1.DeviceTwinSet) error {
			if obj.Spec.Rollout.Paused {
				return unchangedError{"paused already"}
			}
			obj.Spec.Rollout.Paused = true
			return nil
		}}
	})
}

// NewAbort returns the command abort.
func NewAbort(access *cluster.Access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "abort SET...", Short: "Stop the rollout of a DeviceTwinSet where it is",
		Long: `Stop the revision that DeviceTwinSets are bringing to their devices, by the annotation iothub.devicetwin.io/rollout: devices that hold it keep
it, the others keep what they have. An edit of the template begins with another revision; kubectl twin resume goes on with this one, and
kubectl twin rollback returns to the stable one.`,
		Example: `  kubectl twin abort line-7 --wait`,
	}
	w := &waiting{}
	return onSets(access, cmd, asksAbort, w, func(first *v1alpha1.DeviceTwinSet) verb[*v1alpha1.DeviceTwinSet] {
		return awaitCommand(w, commandSet(access, asksAbort, rollout.Abort, first.DeepCopy(), rollout.CanAbort))
	})
}

// NewRollback returns the command rollback.
func NewRollback(access *cluster.Access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback SET...", Short: "Return a DeviceTwinSet to its stable revision",
		Long: `Write the stable revision of DeviceTwinSets, the last one that was complete, to the devices that hold the one that is being brought out, by
the annotation iothub.devicetwin.io/rollout. The template stays as it is: that revision is not written until the template is edited, or
kubectl twin resume set/NAME asks for it.`,
		Example: `  kubectl twin rollback line-7 --wait
  kubectl twin rollout line-7 --watch`,
	}
	w := &waiting{}
	return onSets(access, cmd, asksRollback, w, func(first *v1alpha1.DeviceTwinSet) verb[*v1alpha1.DeviceTwinSet] {
		return awaitCommand(w, commandSet(access, asksRollback, rollout.RollBack, first.DeepCopy(), rollout.CanRollBack))
	})
}

// commandSet gives a command about the revision of a set as it was first seen, if can says that there is one. A set that has
// moved on meanwhile is refused: the user has not seen what the command would be about.
func commandSet(
	access *cluster.Access, done, command string, first *v1alpha1.DeviceTwinSet, can func(*v1alpha1.DeviceTwinSet) (string, error),
) verb[*v1alpha1.DeviceTwinSet] {
	edit := func(obj *v1alpha1.DeviceTwinSet) error {
		revision, err := can(obj)
		if already, ok := errors.AsType[*rollout.AlreadyError](err); ok {
			return unchangedError{already.Error()}
		}
		if err != nil {
			return err
		}
		if meant, err := can(first); err == nil && meant != revision {
			return movedOn(rollout.Of(obj))
		}
		if rollout.Asked(obj, revision, command) {
			return unchangedError{"asked for already, and the controller has not acted upon it yet"}
		}
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, v1alpha1.RolloutAnnotation, rollout.Command(obj, revision, command, stamp(access)))
		return nil
	}
	note := func(before *v1alpha1.DeviceTwinSet) string {
		revision, _ := can(before) // edit has asked before
		if command == rollout.RollBack {
			return ": from revision " + revision + " to " + before.Status.StableRevision
		}
		return ": revision " + revision
	}
	return verb[*v1alpha1.DeviceTwinSet]{done: done, edit: edit, note: note}
}

func movedOn(r *rollout.Rollout) error {
	return fmt.Errorf("it has moved on meanwhile: %s, revision %s; look at it before you say what is to be done", r.Where(), r.Revision)
}

// awaitCommand waits until the controller has acted upon the command, if the user wants to.
func awaitCommand(w *waiting, v verb[*v1alpha1.DeviceTwinSet]) verb[*v1alpha1.DeviceTwinSet] {
	v.after = func(ctx context.Context, r *run, obj *v1alpha1.DeviceTwinSet) error {
		if !w.wait || r.dryRun != dryRunNone {
			return nil
		}
		asked := obj.Annotations[v1alpha1.RolloutAnnotation]
		return until(ctx, r, *w, obj, func(obj *v1alpha1.DeviceTwinSet) bool { return obj.Status.LastHandledRollout == asked })
	}
	return v
}

// onSets is a command that changes DeviceTwinSets by name. w is nil for one that has nothing to wait for.
func onSets(access *cluster.Access, cmd *cobra.Command, done string, w *waiting, ofSet setVerb) *cobra.Command {
	dryRun := ""
	cmd.ValidArgsFunction = access.CompleteSets
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("which DeviceTwinSets? name them")
		}
		names, err := cluster.SetNames(args)
		if err != nil {
			return err
		}
		namespace, err := access.Namespace()
		if err != nil {
			return err
		}
		r, err := newRun(access, dryRun)
		if err != nil {
			return err
		}
		for _, obj := range r.sets(cmd.Context(), namespace, names) {
			each(cmd.Context(), r, ofSet(obj), cluster.SetKind, obj)
		}
		return r.end(done)
	}
	dryRunFlag(cmd, &dryRun)
	if w != nil {
		w.addFlags(cmd, "the controller has acted upon it")
	}
	return cmd
}
