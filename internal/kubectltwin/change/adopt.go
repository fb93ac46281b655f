package change

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// NewAdopt returns the command adopt.
func NewAdopt(access *cluster.Access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "adopt [NAME...]", Short: "Enforce what was only observed",
		Long: `Set spec.policy of DeviceTwins from Observe to Enforce: what they declare is written from then on. What the hub holds already
is taken over without a write; each line says what would be written by the object's status.plan.

Entries of spec.policies stay as they are: a part that is only observed by its own entry still is.`,
		Example: `  # look first, then adopt
  kubectl twin get --hub factory --differing
  kubectl twin adopt --hub factory --dry-run=server
  kubectl twin adopt --hub factory`,
	}
	v := verb[*v1alpha1.DeviceTwin]{done: "adopted"}
	v.edit = func(obj *v1alpha1.DeviceTwin) error {
		if obj.Spec.Policy != v1alpha1.PolicyObserve {
			return unchangedError{"spec.policy is " + string(obj.Spec.Policy) + ", not Observe"}
		}
		obj.Spec.Policy = v1alpha1.PolicyEnforce
		return nil
	}
	v.note = planned
	return onTwins(access, cmd, v)
}

// planned says what the change comes to on the hub, by what was last seen there.
func planned(obj *v1alpha1.DeviceTwin) string {
	plan := obj.Status.Plan
	switch {
	case obj.Status.ETag == "":
		return ": what the hub holds is not known yet"
	case plan == nil:
		return ": nothing to write"
	}
	return fmt.Sprintf(": %d leaves to write, %d to delete", plan.Changes, plan.Removals)
}

// NewRelease returns the command release.
func NewRelease(access *cluster.Access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "release [NAME...]", Short: "Delete DeviceTwins and leave the hub as it is",
		Long: `Delete DeviceTwins without touching their twins: spec.deletionPolicy is set to Retain, whatever it was, and the object is deleted.
Device, tags and desired properties stay on the hub. A Secret with a device's connection string stays as well, without an owner.

Where the objects come from Git, take them out there first: they are created anew otherwise.`,
		Example: `  # hand one twin over to another tool
  kubectl twin release thermostat-1

  # what would be released
  kubectl twin release -l line=7 --dry-run=server`,
	}
	v := verb[*v1alpha1.DeviceTwin]{done: "released"}
	v.edit = func(obj *v1alpha1.DeviceTwin) error {
		if obj.DeletionTimestamp != nil {
			return unchangedError{"it is being deleted already, with deletionPolicy " + string(obj.Spec.DeletionPolicy)}
		}
		obj.Spec.DeletionPolicy = v1alpha1.DeletionRetain
		return nil
	}
	v.after = func(ctx context.Context, r *run, obj *v1alpha1.DeviceTwin) error {
		if err := r.delete(ctx, obj); err != nil {
			return fmt.Errorf("its deletionPolicy is Retain now, and it was not deleted: %w", err)
		}
		return nil
	}
	return onTwins(access, cmd, v)
}

// delete deletes an object whose deletionPolicy is Retain. The controllers write to it when it becomes that: it is looked
// at again then, so that none goes that another user has given another policy.
func (r *run) delete(ctx context.Context, obj *v1alpha1.DeviceTwin) error {
	uid := obj.UID
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		err := r.client.Delete(ctx, obj, r.deleteOptions(obj)...)
		if !apierrors.IsConflict(err) {
			return err
		}
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
			return err
		}
		if obj.UID != uid || obj.Spec.DeletionPolicy != v1alpha1.DeletionRetain {
			return errors.New("another user has changed it meanwhile")
		}
		return err
	})
}

// deleteOptions delete just the object as it was patched. Its Secret, if it has one, is left without an owner.
func (r *run) deleteOptions(obj *v1alpha1.DeviceTwin) []client.DeleteOption {
	options := []client.DeleteOption{client.Preconditions{UID: ptr.To(obj.UID), ResourceVersion: ptr.To(obj.ResourceVersion)}}
	if r.dryRun == dryRunServer { // its patch was not stored
		options = []client.DeleteOption{client.Preconditions{UID: ptr.To(obj.UID)}, client.DryRunAll}
	}
	if obj.Spec.ConnectionSecretName != "" {
		options = append(options, client.PropagationPolicy(metav1.DeletePropagationOrphan))
	}
	return options
}
