package controllers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/claim"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/guard"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubqueue"
	"github.com/devicetwin-io/devicetwin-operator/internal/membership"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/readback"
	"github.com/devicetwin-io/devicetwin-operator/internal/registration"
	"github.com/devicetwin-io/devicetwin-operator/internal/synccache"
	"github.com/devicetwin-io/devicetwin-operator/internal/tracing"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// deviceTwinReconciler keeps the declared leaves of one twin on the hub, and
// mirrors what is seen there.
type deviceTwinReconciler struct {
	client      client.Client
	report      outcome.Reporter
	connections *hubaccess.Connections
	memberships *membership.Memberships
	inFlight    *twinsync.InFlight
	contention  *twinsync.Contention
	guards      *guard.Guards
	claims      *claim.Claims
	readBack    *readback.Group
	synced      *synccache.Cache
	queue       *trigger.Queue // for what is learned elsewhere of objects
	permits     *hubqueue.Queue
	metrics     *Metrics

	edits        *editTimes
	untold       *untoldWrites
	secretReader client.Reader // not cached: the manager holds no Secrets
	deletions    *deletions
}

func (r *deviceTwinReconciler) setup(mgr ctrl.Manager, opts Options) error {
	r.connections.Subscribe(dependents(r.client, &v1alpha1.DeviceTwinList{}, r.queue))
	build := ctrl.NewControllerManagedBy(mgr).
		Watches(&v1alpha1.DeviceTwin{}, trigger.Edits(r.edited), builder.WithPredicates(predicate.Or(declarationChanged(), keptChanged()))).
		WatchesRawSource(r.permits.Ready().Source()).
		WatchesRawSource(r.queue.Source()).
		WithOptions(opts.controller()).
		Named("devicetwin")
	followNamespaces(build, opts.Shard, r.connections.Namespaces(), guestsOf(r.client, &v1alpha1.DeviceTwinList{}), r.queue)
	return build.Complete(traced(opts.Tracing, "DeviceTwin", r))
}

// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwins,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwins/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=create,roleName=secret-creator-role
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwins/finalizers,verbs=update

// Reconcile brings one DeviceTwin and its twin into step.
func (r *deviceTwinReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	began := r.report.Clock.Now()
	var obj v1alpha1.DeviceTwin
	err := r.client.Get(ctx, req.NamespacedName, &obj)
	if apierrors.IsNotFound(err) {
		obj.Namespace, obj.Name = req.Namespace, req.Name
		r.wentAlone(ctx, &obj)
		r.forget(ctx, req.NamespacedName)
	}
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if before := r.synced.UID(req.NamespacedName); before != "" && before != obj.UID {
		r.forget(ctx, req.NamespacedName) // a namesake whose deletion no reconcile saw
	}
	if !obj.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, &obj)
	}
	if lacksFinalizer(&obj) {
		return ctrl.Result{}, nil // its finalizer triggers it
	}
	stored, seen := r.observe(ctx, &obj, began, false)
	if seen.contradicted(stored) {
		stored, seen = r.observe(ctx, stored.Held, began, true)
	}
	return r.commit(ctx, stored, seen)
}

// commit writes the status that an observation led to, and remembers the observation only
// once that is written.
func (r *deviceTwinReconciler) commit(ctx context.Context, stored *outcome.Stored, seen observation) (ctrl.Result, error) {
	obj, before := stored.Obj, stored.Held
	if seen.keepsNothing() {
		return r.next(ctx, obj, seen.outcome, 0)
	}
	err := r.tell(ctx, stored)
	if err == nil {
		err = r.report.Write(ctx, r.client, before, obj)
	}
	if err != nil {
		return r.next(ctx, obj, outcome.Of(err), 0)
	}
	r.untold.told(obj)
	r.reported(before, obj, seen)
	r.served(client.ObjectKeyFromObject(obj), seen)
	if seen.recordLost {
		r.reportRecordLost(before, obj)
	}
	r.remember(obj, seen)
	return r.next(ctx, obj, seen.outcome, r.synced.Due(obj))
}

// next says when to reconcile an object again. One that is parked was not found to be in
// step: its next reconcile asks the hub, whatever the index shows.
func (r *deviceTwinReconciler) next(ctx context.Context, obj *v1alpha1.DeviceTwin, out outcome.Outcome, interval time.Duration) (ctrl.Result, error) {
	if out.Class == outcome.Parked {
		tracing.Event(ctx, waitsForPermit)
		r.synced.Invalidate(obj)
		return ctrl.Result{}, nil
	}
	return r.permits.Next(ctx, r.report, client.ObjectKeyFromObject(obj), out, interval)
}

// remember notes how far an object is in step with its twin.
func (r *deviceTwinReconciler) remember(obj *v1alpha1.DeviceTwin, seen observation) {
	if seen.twin != nil {
		r.known(obj).Dealt(seen.twin, !seen.indexed)
	}
	if seen.outcome.Effects().DeviceGone {
		r.known(obj).Gone()
	}
	switch {
	case seen.idle:
	case seen.outcome.Class == outcome.Succeeded:
		r.synced.Set(obj, seen.hub, r.schedule(obj, seen))
	default:
		r.synced.Invalidate(obj)
	}
}

// known is what is known of an object's twin.
func (r *deviceTwinReconciler) known(obj *v1alpha1.DeviceTwin) *readback.Known {
	return r.readBack.Of(client.ObjectKeyFromObject(obj))
}

// writer changes the twin of an object. wrote is called after each change.
func (r *deviceTwinReconciler) writer(stored *outcome.Stored, found hubaccess.Hub, wrote func(context.Context, twinsync.Change)) twinsync.Writer {
	obj := stored.Obj
	return twinsync.Writer{
		Stored: stored, Session: found.Session, InFlight: r.inFlight, ID: fieldindex.IDOf(obj),
		Target: fieldindex.TargetOf(obj, found.Session.Host()), Owner: found.Spec.OwnerTag,
		Admit: func() error { return r.admit(found, obj) },
		Wrote: wrote,
	}
}

// claimed finds the hub of an object that may use its device there and keeps its
// twin. One that may not keeps nothing.
func (r *deviceTwinReconciler) claimed(ctx context.Context, obj *v1alpha1.DeviceTwin) (hubaccess.Hub, error) {
	found, err := r.connections.Resolve(ctx, obj.Namespace, obj.Spec.HubRef)
	if err == nil {
		err = found.Scope.Admit(obj.Spec.DeviceID)
	}
	if err != nil {
		if outcome.Of(err).Class == outcome.Stalled {
			r.release(ctx, client.ObjectKeyFromObject(obj))
		}
		return hubaccess.Hub{}, err
	}
	name := client.ObjectKeyFromObject(obj)
	if !claim.Wanted(obj) {
		if r.claims.Kept(obj) != "" {
			r.claims.Release(ctx, name)
		}
		r.readBack.Join(name, found.Key, fieldindex.IDOf(obj))
		return found, nil
	}
	if err := r.claims.Take(ctx, obj, found.Session.Host()); err != nil {
		return hubaccess.Hub{}, err
	}
	// What is written ahead of the hub tells a later manager who keeps the twin, should this one end before the rest is
	// written.
	obj.Status.Target = fieldindex.TargetName(obj, found.Session.Host())
	if displaced := r.readBack.Track(name, found.Key, fieldindex.IDOf(obj)); displaced != (types.NamespacedName{}) {
		r.queue.Enqueue(displaced, trigger.News) // another object is notified of the twin now
	}
	return found, nil
}

// keepWritten has an object that wrote to its twin keep it also when it was suspended
// before its first status was written, and the manager that wrote has gone since.
func (r *deviceTwinReconciler) keepWritten(ctx context.Context, obj *v1alpha1.DeviceTwin) error {
	if obj.Status.ObservedGeneration > 0 || !claim.Wrote(obj) {
		return nil // its status says what it keeps, or it keeps nothing
	}
	if _, err := r.claimed(ctx, obj); outcome.Of(err).Class == outcome.Unseen {
		return err
	}
	return nil // who may not keep it goes without
}

func (r *deviceTwinReconciler) registrar(stored *outcome.Stored, session hub.Session) *registration.Registrar {
	return &registration.Registrar{
		Client: r.client, SecretReader: r.secretReader, Session: session, Stored: stored, InFlight: r.inFlight,
		Event: func(reason, note string) { r.report.Event(stored.Obj, "Normal", reason, note) },
	}
}

// admit says whether the hub may be changed for an object now.
func (r *deviceTwinReconciler) admit(found hubaccess.Hub, obj *v1alpha1.DeviceTwin) error {
	if err := writable(found, "status.plan shows what would be written"); err != nil {
		return err
	}
	return r.guards.Admit(found.Key, obj.UID, obj.UID)
}

// writable says whether a hub may be changed at all. shown tells where what is kept back is to be seen.
func writable(found hubaccess.Hub, shown string) error {
	if found.Spec.Mode != v1alpha1.ModeReadOnly {
		return nil
	}
	return outcome.Differ(outcome.Waiting, v1alpha1.ReasonHubReadOnly, fmt.Sprintf("the mode of HubConnection %s is ReadOnly: %s", found.Key, shown))
}

// declaredBy reads the declaration and holds it against the rules.
func declaredBy(obj *v1alpha1.DeviceTwin) (validation.Declaration, error) {
	declared, errs := validation.DeviceTwin(obj)
	if len(errs) > 0 {
		return declared, invalidTwin(validation.Text(errs))
	}
	return declared, nil
}

func invalidTwin(message string) error {
	return outcome.Differ(outcome.Stalled, v1alpha1.ReasonInvalidTwin, message+". Nothing was sent to the hub")
}
