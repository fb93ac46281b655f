package change

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// pollInterval is how often an object is looked at that is waited for.
const pollInterval = 300 * time.Millisecond

// waiting is --wait and --timeout.
type waiting struct {
	wait    bool
	timeout time.Duration
}

func (w *waiting) addFlags(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&w.wait, "wait", false, "wait until "+what)
	cmd.Flags().DurationVar(&w.timeout, "timeout", time.Minute, "how long to wait for each object")
}

// until reads an object again and again, until a function is content with it.
func until[T client.Object](ctx context.Context, r *run, w waiting, obj T, handled func(T) bool) error {
	progress := r.access.Progress("waiting for " + obj.GetName())
	defer progress.Stop()
	err := wait.PollUntilContextTimeout(ctx, pollInterval, w.timeout, true, func(ctx context.Context) (bool, error) {
		progress.Add(1)
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
			return false, err
		}
		return handled(obj), nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return fmt.Errorf("no controller has acted upon it within %s: does the manager run? `kubectl twin doctor` looks", w.timeout)
	}
	return err
}

// NewReconcile returns the command reconcile.
func NewReconcile(access *cluster.Access) *cobra.Command {
	w := &waiting{}
	cmd := &cobra.Command{
		Use: "reconcile [NAME...]", Short: "Have twins read and brought into step at once",
		Long: `Ask the controller to reconcile DeviceTwins and DeviceTwinSets now, whatever their interval, by the annotation
iothub.devicetwin.io/reconcileAt. Suspended ones are refused. With --wait each line says what came of it, and one that is not ready then
has failed. A DeviceTwinSet is named as set/NAME, or as NAME where no DeviceTwin has it; the flags select DeviceTwins alone.`,
		Example: `  # one twin, and what comes of it
  kubectl twin reconcile thermostat-1 --wait

  # all twins of a hub
  kubectl twin reconcile --hub factory`,
	}
	const done = "asked to be reconciled"
	errSuspended := errors.New("it is suspended: resume it first")
	v := verb[*v1alpha1.DeviceTwin]{done: done}
	v.edit = func(obj *v1alpha1.DeviceTwin) error {
		if obj.Spec.Suspend {
			return errSuspended
		}
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, v1alpha1.ReconcileAtAnnotation, stamp(access))
		return nil
	}
	v.after = func(ctx context.Context, r *run, obj *v1alpha1.DeviceTwin) error {
		if !w.wait || r.dryRun != dryRunNone {
			return nil
		}
		asked := obj.Annotations[v1alpha1.ReconcileAtAnnotation]
		if err := until(ctx, r, *w, obj, func(obj *v1alpha1.DeviceTwin) bool { return obj.Status.LastHandledReconcileAt == asked }); err != nil {
			return err
		}
		return notReady(obj.Status.Conditions)
	}
	set := verb[*v1alpha1.DeviceTwinSet]{done: done}
	set.edit = func(obj *v1alpha1.DeviceTwinSet) error {
		if obj.Spec.Suspend {
			return errSuspended
		}
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, v1alpha1.ReconcileAtAnnotation, stamp(access))
		return nil
	}
	set.after = func(ctx context.Context, r *run, obj *v1alpha1.DeviceTwinSet) error {
		if !w.wait || r.dryRun != dryRunNone {
			return nil
		}
		asked := obj.Annotations[v1alpha1.ReconcileAtAnnotation]
		if err := until(ctx, r, *w, obj, func(obj *v1alpha1.DeviceTwinSet) bool { return obj.Status.LastHandledReconcileAt == asked }); err != nil {
			return err
		}
		return notReady(obj.Status.Conditions)
	}
	cmd = onTwinsOrSets(access, cmd, v, func(*v1alpha1.DeviceTwinSet) verb[*v1alpha1.DeviceTwinSet] { return set })
	w.addFlags(cmd, "the controller has acted upon it")
	return cmd
}

func stamp(access *cluster.Access) string { return access.Clock.Now().UTC().Format(time.RFC3339Nano) }

// notReady is the reason why an object is not.
func notReady(conditions []metav1.Condition) error {
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionFalse {
		return nil
	}
	return fmt.Errorf("it was reconciled, and is not ready: %s: %s", ready.Reason, ready.Message)
}
