package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/guard"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/revisions"
	"github.com/devicetwin-io/devicetwin-operator/internal/setsync"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// deviceTwinSetReconciler brings the devices of one set to its revision, a step at a time.
type deviceTwinSetReconciler struct {
	client      client.Client
	uncached    client.Reader
	report      outcome.Reporter
	connections *hubaccess.Connections
	guards      *guard.Guards
	sets        *setsync.Sets
	revisions   *revisions.Store
	deletions   *deletions
	metrics     *Metrics
	queue       *trigger.Queue
	pace        *statusPace
	// patched counts and logs a change that the hub accepted.
	patched func(ctx context.Context, host, cause string, change twinsync.Change)
}

func (r *deviceTwinSetReconciler) setup(mgr ctrl.Manager, opts Options) error {
	r.connections.Subscribe(dependents(r.client, &v1alpha1.DeviceTwinSetList{}, r.queue))
	build := ctrl.NewControllerManagedBy(mgr).
		Watches(&v1alpha1.DeviceTwinSet{}, trigger.Edits(func(types.NamespacedName, int) {}), builder.WithPredicates(declarationChanged())).
		WatchesRawSource(r.queue.Source()).
		WithOptions(opts.controller()).
		Named("devicetwinset")
	followNamespaces(build, opts.Shard, r.connections.Namespaces(), guestsOf(r.client, &v1alpha1.DeviceTwinSetList{}), r.queue)
	return build.Complete(traced(opts.Tracing, "DeviceTwinSet", r))
}

// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwinsets,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwinsets/status,verbs=patch
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwinsets/finalizers,verbs=update
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=list;create;delete

// Reconcile brings one DeviceTwinSet a step forward.
func (r *deviceTwinSetReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var obj v1alpha1.DeviceTwinSet
	err := r.client.Get(ctx, req.NamespacedName, &obj)
	if apierrors.IsNotFound(err) {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if !obj.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, &obj)
	}
	if err := r.keepFinalizer(ctx, &obj); err != nil {
		return r.report.Next(ctx, outcome.Of(err), 0)
	}
	return r.step(ctx, &obj)
}

// forget drops all that is remembered of a set that is gone.
func (r *deviceTwinSetReconciler) forget(name types.NamespacedName) {
	r.guards.Forget(name, r.sets.Forget(name))
	r.revisions.Forget(name)
	r.deletions.Forget(name, "")
	r.pace.forget(name)
}

// step has the set brought forward, and reports what came of it.
func (r *deviceTwinSetReconciler) step(ctx context.Context, obj *v1alpha1.DeviceTwinSet) (ctrl.Result, error) {
	stored := &storedSet{reconciler: r, obj: obj, held: obj.DeepCopy()}
	task, result, err := r.advance(ctx, stored)
	out := outcome.Of(err)
	if out.Class == outcome.Unseen {
		return r.report.Next(ctx, out, 0)
	}
	if err == nil {
		out = setOutcome(obj)
	}
	obj.Status.ObservedGeneration = obj.Generation
	obj.Status.LastHandledReconcileAt = outcome.Handled(obj)
	r.report.SetConditions(obj, out)
	left := r.pace.left(stored, result.Urgent, r.report.Clock.Now())
	if left == 0 {
		if err := stored.write(ctx); err != nil {
			return r.report.Next(ctx, outcome.Of(err), 0)
		}
	}
	if result.Ignored != "" {
		r.report.Event(obj, corev1.EventTypeWarning, v1alpha1.EventNotActedUpon,
			fmt.Sprintf("the annotation %s was not acted upon: %s", v1alpha1.RolloutAnnotation, result.Ignored))
	}
	if err != nil {
		return r.report.Next(ctx, out, 0)
	}
	if result.Done && (result.Urgent || !r.revisions.Pruned(obj)) {
		if err := r.prune(ctx, task); err != nil {
			return r.report.Next(ctx, outcome.Of(err), 0)
		}
	}
	again := result.Again
	if left > 0 {
		again = min(again, left)
	}
	return ctrl.Result{RequeueAfter: again, Priority: ptr.To(trigger.News)}, nil
}

// advance makes a step, unless something keeps the set from it.
func (r *deviceTwinSetReconciler) advance(ctx context.Context, stored *storedSet) (*setsync.Task, setsync.Result, error) {
	obj := stored.obj
	if obj.Spec.Suspend {
		return nil, setsync.Result{}, outcome.AsError(outcome.Outcome{
			Class: outcome.Suspended, Reason: v1alpha1.ReasonSuspended, Message: "spec.suspend is true: no twin is read or written",
		})
	}
	task, err := r.task(ctx, stored)
	if err != nil {
		return nil, setsync.Result{}, err
	}
	if err := r.revisions.Keep(ctx, obj, task.Desired); err != nil {
		return nil, setsync.Result{}, err
	}
	if task.Revisions, err = r.revisions.Of(ctx, obj); err != nil {
		return nil, setsync.Result{}, err
	}
	result, err := r.sets.Step(ctx, task)
	if err == nil {
		r.guards.Settled(task.Hub.Key, obj.UID)
	}
	return task, result, err
}

// task is a step of a set at its hub.
func (r *deviceTwinSetReconciler) task(ctx context.Context, stored *storedSet) (*setsync.Task, error) {
	obj := stored.obj
	declared, errs := validation.DeviceTwinSet(obj)
	if len(errs) > 0 {
		return nil, outcome.Stall(v1alpha1.ReasonInvalidSet, validation.Text(errs)+". Nothing was sent to the hub")
	}
	desired, err := fleet.NewRevision(declared.Document)
	if err != nil {
		return nil, outcome.Stall(v1alpha1.ReasonInvalidSet, err.Error())
	}
	found, err := r.connections.Resolve(ctx, obj.Namespace, obj.Spec.HubRef)
	if err != nil {
		return nil, err
	}
	if errs := validation.SetWithOwner(&declared, found.Spec.OwnerTag); len(errs) > 0 {
		return nil, outcome.Stall(v1alpha1.ReasonInvalidSet, validation.Text(errs)+". Nothing was sent to the hub")
	}
	host := found.Session.Host()
	return &setsync.Task{
		Set: obj, Hub: found, Declared: declared, Desired: desired,
		Others: &setsync.Others{Reader: r.client, Hubs: r.connections, Revisions: r.revisions},
		Store:  stored.write, Current: stored.current, Clock: r.report.Clock,
		Asked: outcome.Handled(obj) != obj.Status.LastHandledReconcileAt,
		Admit: func(device string) error {
			if err := writable(found, "status.counts shows how many devices are behind"); err != nil {
				return err
			}
			return r.guards.Admit(found.Key, types.UID("device "+device), obj.UID)
		},
		Wrote: func(ctx context.Context, cause string, change twinsync.Change) {
			if cause == causeDrift {
				r.metrics.driftCorrected(host)
			}
			r.patched(ctx, host, cause, change) // drops the series again where no HubConnection leads to the host any more
		},
	}, nil
}

// prune deletes revisions that no device holds any more, beyond those that are kept in any case: those that the status
// names as it was stored. Before that, the one before may still be what devices are to hold after a failure, or a restart.
func (r *deviceTwinSetReconciler) prune(ctx context.Context, task *setsync.Task) error {
	status := task.Set.Status
	named := map[string]bool{status.Revision: true, status.StableRevision: true, status.FailedRevision: true, task.Desired.Name: true}
	return r.revisions.Prune(ctx, task.Set, int(ptr.Deref(task.Set.Spec.RevisionHistoryLimit, 0)), func(ctx context.Context, revision string) (bool, error) {
		if named[revision] {
			return true, nil
		}
		return r.sets.Holds(ctx, task, revision)
	})
}

// storedSet is a set beside what the API server is known to hold of it.
type storedSet struct {
	reconciler *deviceTwinSetReconciler
	obj, held  *v1alpha1.DeviceTwinSet
}

// write stores the status.
func (s *storedSet) write(ctx context.Context) error {
	if err := s.reconciler.report.Write(ctx, s.reconciler.client, s.held, s.obj); err != nil {
		return err
	}
	s.held = s.obj.DeepCopy()
	s.reconciler.pace.wrote(client.ObjectKeyFromObject(s.obj), s.reconciler.report.Clock.Now())
	return nil
}

// current is an error unless the API server still holds the object that was read: a manager that was
// paused must not act on a declaration that has changed since.
func (s *storedSet) current(ctx context.Context) error {
	var now v1alpha1.DeviceTwinSet
	if err := s.reconciler.report.Server.Answered(s.reconciler.uncached.Get(ctx, client.ObjectKeyFromObject(s.obj), &now)); err != nil {
		return fmt.Errorf("proving that the object has not changed: %w", err)
	}
	if now.UID != s.obj.UID || now.Generation != s.obj.Generation || !now.DeletionTimestamp.IsZero() {
		return outcome.Stale(nil)
	}
	return nil
}

// statusEvery is how often the numbers of a set are written while they move: often enough to follow a
// rollout, and seldom enough for the API server to keep a hundred of them.
const statusEvery = 5 * time.Second
