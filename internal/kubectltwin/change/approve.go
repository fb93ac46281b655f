package change

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/rollout"
)

const approveHelp = `Approve the wave that DeviceTwinSets wait behind, by the annotation iothub.devicetwin.io/approve with revision and wave: set/NAME, or
NAME where no HubConnection has it. Look at what came of the wave first, with kubectl twin rollout. What has moved on since the command
has looked is not approved; with --wave, and --revision, neither is what has moved on since you have.

Or reset the guard of HubConnections, spec.guard, after it has stopped a change that concerns many twins: hub/NAME or NAME, by the
annotation iothub.devicetwin.io/guardReset. Look at what waits first, with kubectl twin status and
kubectl twin get --hub HUBCONNECTION --differing.`

const approveExamples = `  # a wave
  kubectl twin rollout line-7
  kubectl twin approve set/line-7 --wave canary --wait

  # a change that a guard has stopped
  kubectl twin get --hub factory --differing
  kubectl twin approve factory --wait`

// approval is what the command approve was called with.
type approval struct {
	waiting

	access         *cluster.Access
	wave, revision string
	dryRun         string
}

// NewApprove returns the command approve.
func NewApprove(access *cluster.Access) *cobra.Command {
	a := &approval{access: access}
	cmd := &cobra.Command{
		Use: "approve {set/NAME | HUBCONNECTION}...", Short: "Let a rollout go on that waits for it, or changes that a hub's guard has stopped",
		Long: approveHelp, Example: approveExamples, Args: cobra.MinimumNArgs(1), ValidArgsFunction: access.CompleteHubsAndSets,
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd.Context(), args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&a.wave, "wave", "", "approve this wave of a set, and no other that waits by now")
	flags.StringVar(&a.revision, "revision", "", "approve this revision of a set, and no other that waits by now")
	if err := cmd.RegisterFlagCompletionFunc("wave", access.CompleteWaves); err != nil {
		panic(err) // the flag was added above
	}
	dryRunFlag(cmd, &a.dryRun)
	a.addFlags(cmd, "what was approved goes on")
	return cmd
}

func (a *approval) run(ctx context.Context, names []string) error {
	namespace, err := a.access.Namespace()
	if err != nil {
		return err
	}
	r, err := newRun(a.access, a.dryRun)
	if err != nil {
		return err
	}
	for _, name := range names {
		kind, obj, err := find(ctx, r.client, namespace, name)
		if err != nil {
			r.fail(kind, key(namespace, name).Name, err)
			continue
		}
		switch obj := obj.(type) {
		case *v1alpha1.HubConnection:
			each(ctx, r, a.ofHub(), kind, obj)
		case *v1alpha1.DeviceTwinSet:
			each(ctx, r, a.ofSet(obj.DeepCopy()), kind, obj)
		}
	}
	return r.end("approved")
}

// key is a name without the kind before it.
func key(namespace, name string) client.ObjectKey {
	if i := strings.LastIndex(name, "/"); i >= 0 {
		name = name[i+1:]
	}
	return client.ObjectKey{Namespace: namespace, Name: name}
}

// find reads what a user means. A name without a kind is that of a HubConnection or, where there is none, of a
// DeviceTwinSet: where there are both, neither is approved in the other's place.
func find(ctx context.Context, c client.Reader, namespace, name string) (cluster.Kind, client.Object, error) {
	hub, set, at := &v1alpha1.HubConnection{}, &v1alpha1.DeviceTwinSet{}, key(namespace, name)
	if _, ok := cluster.SetKind.Named(name); ok {
		return cluster.SetKind, set, c.Get(ctx, at, set)
	}
	if _, ok := cluster.HubKind.Named(name); ok {
		return cluster.HubKind, hub, c.Get(ctx, at, hub)
	}
	if strings.Contains(name, "/") {
		return cluster.HubKind, hub, fmt.Errorf("%q: should be set/NAME, hub/NAME or NAME; another namespace is chosen with -n", name)
	}
	noHub, noSet := c.Get(ctx, at, hub), c.Get(ctx, at, set)
	switch {
	case noHub == nil && noSet == nil:
		return cluster.HubKind, hub, fmt.Errorf("there is a DeviceTwinSet of that name as well: say hub/%s or set/%s", name, name)
	case noSet == nil && (apierrors.IsNotFound(noHub) || apierrors.IsForbidden(noHub)):
		return cluster.SetKind, set, nil
	}
	return cluster.HubKind, hub, noHub
}

// ofHub resets the guard of a HubConnection.
func (a *approval) ofHub() verb[*v1alpha1.HubConnection] {
	v := verb[*v1alpha1.HubConnection]{done: "approved", edit: func(obj *v1alpha1.HubConnection) error {
		if a.wave != "" || a.revision != "" {
			return errors.New("--wave and --revision are for DeviceTwinSets: a HubConnection has none")
		}
		if obj.Status.Guard == nil || obj.Status.Guard.TrippedAt == nil {
			return unchangedError{"its guard has stopped nothing"}
		}
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, v1alpha1.GuardResetAnnotation, stamp(a.access))
		return nil
	}}
	v.note = func(obj *v1alpha1.HubConnection) string {
		return fmt.Sprintf(": %d twins that waited may be changed", obj.Status.Guard.Waiting)
	}
	v.after = func(ctx context.Context, r *run, obj *v1alpha1.HubConnection) error {
		if !a.wait || r.dryRun != dryRunNone {
			return nil
		}
		asked := obj.Annotations[v1alpha1.GuardResetAnnotation]
		return until(ctx, r, a.waiting, obj, func(obj *v1alpha1.HubConnection) bool {
			return obj.Status.Guard != nil && obj.Status.Guard.LastHandledReset == asked
		})
	}
	return v
}

// ofSet approves the wave that a set waits behind, as it was first seen.
func (a *approval) ofSet(first *v1alpha1.DeviceTwinSet) verb[*v1alpha1.DeviceTwinSet] {
	edit := func(obj *v1alpha1.DeviceTwinSet) error {
		value, err := rollout.CanApprove(obj, a.wave, a.revision)
		if err != nil {
			return err
		}
		if meant, err := rollout.CanApprove(first, a.wave, a.revision); err != nil || meant != value {
			return movedOn(rollout.Of(obj))
		}
		if obj.Annotations[v1alpha1.ApproveAnnotation] == value {
			return unchangedError{"approved already, and the controller has not acted upon it yet"}
		}
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, v1alpha1.ApproveAnnotation, value)
		return nil
	}
	note := func(before *v1alpha1.DeviceTwinSet) string {
		return fmt.Sprintf(": wave %s of revision %s", before.Status.Wave, before.Status.Revision)
	}
	after := func(ctx context.Context, r *run, obj *v1alpha1.DeviceTwinSet) error {
		if !a.wait || r.dryRun != dryRunNone {
			return nil
		}
		approved := obj.Annotations[v1alpha1.ApproveAnnotation]
		return until(ctx, r, a.waiting, obj, func(obj *v1alpha1.DeviceTwinSet) bool {
			return obj.Status.Phase != v1alpha1.SetAwaitingApproval || obj.Status.Revision+"/"+obj.Status.Wave != approved
		})
	}
	return verb[*v1alpha1.DeviceTwinSet]{done: "approved", edit: edit, note: note, after: after}
}
