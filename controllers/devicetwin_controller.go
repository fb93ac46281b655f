package controllers

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
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
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
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
	settled     *settled
	queue       *trigger.Queue // for what is learned elsewhere of objects
	permits     *hubqueue.Queue
	metrics     *Metrics

	secretReader client.Reader // not cached: the manager holds no Secrets
	deletions    *deletions
}

func (r *deviceTwinReconciler) setup(mgr ctrl.Manager, opts Options) error {
	r.connections.Subscribe(dependents(r.client, &v1alpha1.DeviceTwinList{}, r.queue))
	toTwinsOfNamespace := trigger.Mapped(guestsOf(r.client, &v1alpha1.DeviceTwinList{}), trigger.News)
	return ctrl.NewControllerManagedBy(mgr).
		Watches(&v1alpha1.DeviceTwin{}, trigger.Edits(r.permits.Mark), builder.WithPredicates(predicate.Or(declarationChanged(), keptChanged()))).
		WatchesRawSource(r.permits.Ready().Source()).
		WatchesRawSource(r.queue.Source()).
		WatchesMetadata(hubaccess.NamespaceMetadata(), toTwinsOfNamespace, builder.WithPredicates(labelsChanged())).
		WithOptions(opts.controller()).
		Named("devicetwin").
		Complete(r)
}

// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwins,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwins/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=create
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwins/finalizers,verbs=update

// Reconcile looks at one DeviceTwin.
func (r *deviceTwinReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var obj v1alpha1.DeviceTwin
	err := r.client.Get(ctx, req.NamespacedName, &obj)
	if apierrors.IsNotFound(err) {
		obj.Namespace, obj.Name = req.Namespace, req.Name
		r.wentAlone(ctx, &obj)
		r.forget(ctx, req.NamespacedName)
		r.deletions.forget(req.NamespacedName)
	}
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if before := r.settled.of(req.NamespacedName); before != "" && before != obj.UID {
		r.forget(ctx, req.NamespacedName) // a namesake that was deleted, which no visit saw gone
	}
	if !obj.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, &obj)
	}
	if lacksFinalizer(&obj) {
		return ctrl.Result{}, nil // its finalizer wakes it
	}
	return r.look(ctx, &obj, false)
}

// look visits an object and reports what came of it. direct tells that what the hub's
// index says of the twin is not enough.
func (r *deviceTwinReconciler) look(ctx context.Context, obj *v1alpha1.DeviceTwin, direct bool) (ctrl.Result, error) {
	stored := outcome.NewStored(r.client, r.report.Server, obj)
	if err := stored.Writable(ctx); err != nil {
		return r.next(ctx, obj, outcome.Of(err), 0)
	}
	found, seen, err := r.visit(ctx, stored, direct)
	out := outcome.Of(err)
	if out.Class == outcome.Unseen || out.Class == outcome.Parked {
		r.known(obj).PutBack(seen.hint)
		return r.next(ctx, obj, out, 0)
	}
	if seen.twin != nil {
		seen.said = twin.Acknowledge(seen.declared.Desired, seen.twin.DesiredStamps, seen.twin.Reported)
	}
	before := stored.Held
	if seen.idle {
		r.describeMemberships(ctx, obj, found)
	} else {
		r.describe(ctx, obj, found, seen, out)
	}
	if seen.hint != nil && !seen.known && !equality.Semantic.DeepEqual(before, obj) {
		// Right after a start nothing tells whether the index or the status is older.
		return r.look(ctx, before, true)
	}
	if err := r.report.Write(ctx, r.client, before, obj); err != nil {
		r.known(obj).PutBack(seen.hint)
		return r.next(ctx, obj, outcome.Of(err), 0)
	}
	if seen.recordLost {
		r.tellRecordLost(before, obj)
	}
	return r.next(ctx, obj, out, r.remember(obj, found, seen, out))
}

// next says when to visit an object again. One that is parked was not found to be in
// step: its next visit asks the hub, whatever the index shows.
func (r *deviceTwinReconciler) next(ctx context.Context, obj *v1alpha1.DeviceTwin, out outcome.Outcome, interval time.Duration) (ctrl.Result, error) {
	if out.Class == outcome.Parked {
		r.settled.undo(obj)
		return ctrl.Result{}, nil
	}
	return r.permits.Next(ctx, r.report, client.ObjectKeyFromObject(obj), out, interval)
}

// remember notes how far an object is in step with its twin. It returns when it is
// due for another visit, 0 for when something moves.
func (r *deviceTwinReconciler) remember(obj *v1alpha1.DeviceTwin, found hubaccess.Hub, seen observation, out outcome.Outcome) time.Duration {
	if seen.twin != nil {
		r.known(obj).Dealt(seen.twin, seen.hint == nil)
	}
	if out.Effects().DeviceGone {
		r.known(obj).Gone()
	}
	switch {
	case seen.idle:
		return r.settled.due(obj)
	case out.Class != outcome.Succeeded:
		r.settled.undo(obj)
		return 0
	}
	r.settled.note(obj, found, r.visitsOf(obj, found, seen))
	return r.settled.due(obj)
}

// known is what is known of an object's twin.
func (r *deviceTwinReconciler) known(obj *v1alpha1.DeviceTwin) *readback.Known {
	return r.readBack.Of(client.ObjectKeyFromObject(obj))
}

// forget drops all that is remembered of an object that is gone, and passes its twin on.
func (r *deviceTwinReconciler) forget(ctx context.Context, name types.NamespacedName) {
	uid := r.settled.of(name)
	r.giveUp(ctx, name)
	r.settled.forget(name)
	r.contention.Forget(uid)
	r.guards.Gone(uid)
	r.inFlight.Forget(uid)
}

// giveUp passes the twin on of an object that may not use it, or is gone. What it wrote
// may still be on its way.
func (r *deviceTwinReconciler) giveUp(ctx context.Context, name types.NamespacedName) {
	r.readBack.Untrack(name)
	r.permits.Withdraw(name)
	r.permits.Served(name)
	if uid := r.claims.Release(ctx, name); uid != "" {
		r.contention.Forget(uid)
		r.guards.Gone(uid)
	}
}

// writer changes the twin of an object.
func (r *deviceTwinReconciler) writer(stored *outcome.Stored, found hubaccess.Hub) twinsync.Writer {
	obj := stored.Obj
	return twinsync.Writer{
		Stored: stored, Session: found.Session, InFlight: r.inFlight, ID: fieldindex.IDOf(obj),
		Target: fieldindex.TargetOf(obj, found.Session.Host()), Owner: found.Spec.OwnerTag,
		Admit: func() error { return r.admit(found, obj) },
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
			r.giveUp(ctx, client.ObjectKeyFromObject(obj))
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
	if displaced := r.readBack.Track(name, found.Key, fieldindex.IDOf(obj)); displaced != (types.NamespacedName{}) {
		r.queue.Enqueue(displaced, trigger.News) // it is told of the twin no more
	}
	return found, nil
}

// keepWritten has an object that wrote to its twin keep it also when it was suspended
// before its first status was written, and the manager that wrote has gone since.
func (r *deviceTwinReconciler) keepWritten(ctx context.Context, obj *v1alpha1.DeviceTwin) error {
	if obj.Status.ObservedGeneration != 0 || !claim.Wrote(obj) {
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
	if found.Spec.Mode == v1alpha1.ModeReadOnly {
		return outcome.Differ(outcome.Waiting, v1alpha1.ReasonHubReadOnly, fmt.Sprintf(
			"the mode of HubConnection %s is ReadOnly: status.plan shows what would be written", found.Key))
	}
	return r.guards.Admit(found.Key, obj.UID)
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
