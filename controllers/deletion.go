package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// finalize cleans the hub up behind an object that is being deleted. It never
// hangs: when the time is over, or there is no hub to clean up any more, it lets
// the object go and says what was left behind.
func (r *deviceTwinReconciler) finalize(ctx context.Context, obj *v1alpha1.DeviceTwin) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(obj)
	if r.deletions.over(obj) {
		return ctrl.Result{}, nil // other finalizers keep it, or the cache is a moment behind
	}
	if !controllerutil.ContainsFinalizer(obj, v1alpha1.CleanupFinalizer) {
		r.wentAlone(ctx, obj)
		r.forget(ctx, name)
		r.deletions.end(obj)
		return ctrl.Result{}, nil
	}
	stored := outcome.NewStored(r.client, r.report.Server, obj)
	if err := stored.Writable(ctx); err != nil {
		return r.report.Next(ctx, outcome.Of(err), 0)
	}
	left, err := r.cleanUp(ctx, stored)
	if err == nil {
		return r.removeFinalizer(ctx, obj, left)
	}
	out := outcome.Of(err)
	queued := r.waitsForPermit(obj, out)
	remaining := r.deletions.remaining(obj, queued)
	switch {
	case queued:
		out.Message = "it waits for a permit, among all objects that have something to do at the hub and share its rate"
	case out.Class == outcome.Parked:
		out.Message = "the hub has not answered lately"
	}
	if remaining <= 0 || out.Effects().EndsCleanup {
		return r.removeFinalizer(ctx, obj, "the hub was not cleaned up: "+out.Message)
	}
	if out.Class != outcome.Unseen {
		out.Message = outcome.Bounded("the hub is not cleaned up yet: " + out.Message)
		told := outcome.Outcome{Class: outcome.Waiting, Reason: v1alpha1.ReasonDeleting, Message: out.Message}
		obj.Status.ObservedGeneration = obj.Generation
		r.report.SetConditions(obj, told)
		if err := r.report.Write(ctx, r.client, stored.Held, obj); err != nil {
			return r.report.Next(ctx, outcome.Of(err), 0)
		}
	}
	if out.Class == outcome.Parked { // it keeps its place
		return ctrl.Result{RequeueAfter: remaining, Priority: ptr.To(trigger.Edit)}, nil
	}
	r.permits.Withdraw(name)
	result, err := r.report.Next(ctx, out, 0)
	if err == nil {
		result.RequeueAfter = max(min(result.RequeueAfter, remaining), time.Millisecond)
		result.Priority = ptr.To(trigger.Edit)
	}
	return result, err
}

// waitsForPermit tells whether nothing but our own rate keeps the hub from being
// cleaned up: however many objects are deleted at once, that is no outage.
func (r *deviceTwinReconciler) waitsForPermit(obj *v1alpha1.DeviceTwin, out outcome.Outcome) bool {
	if out.Class != outcome.Parked {
		return false
	}
	known, _ := r.connections.Known(fieldindex.HubOf(obj))
	return known.Session != nil && !known.Session.Dispatcher().Broken()
}

// removeFinalizer removes the finalizer, and says what stays on the hub.
func (r *deviceTwinReconciler) removeFinalizer(ctx context.Context, obj *v1alpha1.DeviceTwin, left string) (ctrl.Result, error) {
	if err := writeFinalizer(ctx, r.client, obj, false); client.IgnoreNotFound(err) != nil {
		return r.report.Next(ctx, outcome.Of(err), 0)
	}
	r.forget(ctx, client.ObjectKeyFromObject(obj))
	r.deletions.end(obj)
	if obj.Spec.DeletionPolicy == v1alpha1.DeletionRetain {
		return ctrl.Result{}, nil // nothing was asked for
	}
	if left == "" {
		r.report.Event(obj, corev1.EventTypeNormal, v1alpha1.EventCleanedUp, "the hub was cleaned up")
		return ctrl.Result{}, nil
	}
	r.recordLeftBehind(ctx, obj, left)
	return ctrl.Result{}, nil
}

// wentAlone says so when an object goes without having been cleaned up behind, since
// another client took its finalizer off. Only its name need be known.
func (r *deviceTwinReconciler) wentAlone(ctx context.Context, obj *v1alpha1.DeviceTwin) {
	if name := client.ObjectKeyFromObject(obj); r.claims.Owed(name) {
		r.recordLeftBehind(ctx, obj, "the hub was not cleaned up: the finalizer "+v1alpha1.CleanupFinalizer+" had been taken off "+name.String())
	}
}

// recordLeftBehind logs, counts and records as an event what was left behind: on the HubConnection of
// another namespace when the object's own is going away, which takes no events.
func (r *deviceTwinReconciler) recordLeftBehind(ctx context.Context, obj *v1alpha1.DeviceTwin, left string) {
	log.FromContext(ctx).Info("left behind on the hub", "device", fieldindex.IDOf(obj).String(), "left", left)
	r.metrics.leftBehind()
	if r.connections.Namespaces().Stays(ctx, obj.Namespace) {
		r.report.Event(obj, corev1.EventTypeWarning, v1alpha1.EventLeftBehind, left)
		return
	}
	var conn v1alpha1.HubConnection
	if key := fieldindex.HubOf(obj); key.Namespace != obj.Namespace && r.client.Get(ctx, key, &conn) == nil {
		r.report.EventFor(&conn, obj, corev1.EventTypeWarning, v1alpha1.EventLeftBehind,
			fmt.Sprintf("%s of a namespace that was deleted: %s", fieldindex.IDOf(obj), left))
	}
}

// cleanUp does what the deletion policy says, and returns what stays on the hub.
func (r *deviceTwinReconciler) cleanUp(ctx context.Context, stored *outcome.Stored) (left string, err error) {
	obj := stored.Obj
	if obj.Spec.DeletionPolicy == v1alpha1.DeletionRetain {
		return "", nil
	}
	if obj.Spec.Suspend {
		return "", outcome.AsError(outcome.Outcome{Class: outcome.Suspended, Reason: v1alpha1.ReasonSuspended, Message: "spec.suspend is true"})
	}
	found, err := r.claimed(ctx, obj)
	if outcome.Of(err).Effects().KeptElsewhere {
		return "", nil // another one keeps the twin: nothing on it is ours
	}
	if err != nil {
		return "", err
	}
	successor, err := r.claims.Successor(ctx, obj, fieldindex.TargetName(obj, found.Session.Host()))
	if err != nil {
		return "", err
	}
	permit, err := r.permits.Acquire(obj, found.Session, dispatch.WriteNeed, trigger.Edit)
	if err != nil {
		return "", err
	}
	defer permit.Done()
	ctx = dispatch.With(ctx, permit)
	writer := r.writer(stored, found, func(ctx context.Context, change twinsync.Change) {
		r.patched(ctx, found.Session.Host(), causeDeletion, change)
	})
	if obj.Spec.DeletionPolicy == v1alpha1.DeletionDelete && successor == nil {
		if deleted, err := r.registrar(stored, found.Session).Deregister(ctx, writer.Admit); err != nil || deleted {
			return "", err
		}
	}
	cleared := twinsync.Clear{Writer: writer, Spared: r.spared(ctx, successor)}
	return cleared.Run(ctx)
}

// spared is what a successor, if there is one, takes over: what it declares, the
// owner tag of its hub included. What it cannot have it does not take over.
func (r *deviceTwinReconciler) spared(ctx context.Context, successor *v1alpha1.DeviceTwin) twin.Document {
	if successor == nil {
		return twin.Document{}
	}
	declared, err := declaredBy(successor)
	if err != nil {
		return twin.Document{}
	}
	found, err := r.connections.Resolve(ctx, successor.Namespace, successor.Spec.HubRef)
	if err == nil && len(validation.WithOwner(&declared, found.Spec.OwnerTag)) > 0 {
		return twin.Document{}
	}
	return declared.Document
}

// defaultDeletionTimeout is how long an outage may keep an object from going: an outage is
// not a departure, and people should not have to remove finalizers by hand.
const defaultDeletionTimeout = 10 * time.Minute
