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
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
)

// keepFinalizer adds or removes the finalizer of a set, before any hub is asked.
func (r *deviceTwinSetReconciler) keepFinalizer(ctx context.Context, obj *v1alpha1.DeviceTwinSet) error {
	clears := obj.Spec.DeletionPolicy == v1alpha1.SetClear
	if controllerutil.ContainsFinalizer(obj, v1alpha1.CleanupFinalizer) == clears {
		return nil
	}
	return writeFinalizer(ctx, r.client, obj, clears)
}

// finalize clears the devices of a set that is being deleted. It never hangs: an outage keeps the
// set for a bounded time, and what stays on the hub is said.
func (r *deviceTwinSetReconciler) finalize(ctx context.Context, obj *v1alpha1.DeviceTwinSet) (ctrl.Result, error) {
	if r.deletions.over(obj) {
		return ctrl.Result{}, nil
	}
	if !controllerutil.ContainsFinalizer(obj, v1alpha1.CleanupFinalizer) {
		r.forget(client.ObjectKeyFromObject(obj))
		return ctrl.Result{}, nil
	}
	stored := &storedSet{reconciler: r, obj: obj, held: obj.DeepCopy()}
	done, left, err := r.clear(ctx, stored)
	if err == nil && done {
		return r.letGo(ctx, obj, left)
	}
	out := outcome.Of(err)
	remaining := r.deletions.remaining(obj, err == nil)
	if remaining <= 0 || out.Effects().EndsCleanup {
		return r.letGo(ctx, obj, "the hub was not cleaned up: "+out.Message)
	}
	if out.Class == outcome.Unseen {
		return r.report.Next(ctx, out, 0)
	}
	message := fmt.Sprintf("%d devices held the set's revision when they were counted last, and are cleared", obj.Status.Counts.Written)
	if err != nil {
		message = "the hub is not cleaned up yet: " + out.Message
	}
	obj.Status.ObservedGeneration = obj.Generation
	r.report.SetConditions(obj, outcome.Outcome{Class: outcome.Waiting, Reason: v1alpha1.ReasonDeleting, Message: message})
	if err := stored.write(ctx); err != nil {
		return r.report.Next(ctx, outcome.Of(err), 0)
	}
	if err == nil {
		return ctrl.Result{RequeueAfter: time.Millisecond, Priority: ptr.To(trigger.News)}, nil
	}
	result, err := r.report.Next(ctx, out, 0)
	if err == nil {
		result.RequeueAfter = max(min(result.RequeueAfter, remaining), time.Millisecond)
	}
	return result, err
}

// clear deletes what the set has written, for about a second.
func (r *deviceTwinSetReconciler) clear(ctx context.Context, stored *storedSet) (done bool, left string, err error) {
	if stored.obj.Spec.DeletionPolicy != v1alpha1.SetClear {
		return true, "", nil
	}
	if stored.obj.Spec.Suspend {
		return false, "", outcome.AsError(outcome.Outcome{Class: outcome.Suspended, Reason: v1alpha1.ReasonSuspended, Message: "spec.suspend is true"})
	}
	task, err := r.task(ctx, stored)
	if err != nil {
		return false, "", err
	}
	if task.Revisions, err = r.revisions.Of(ctx, stored.obj); err != nil {
		return false, "", err
	}
	return r.sets.Clear(ctx, task)
}

// letGo removes the finalizer, and says what stays on the hub.
func (r *deviceTwinSetReconciler) letGo(ctx context.Context, obj *v1alpha1.DeviceTwinSet, left string) (ctrl.Result, error) {
	if err := writeFinalizer(ctx, r.client, obj, false); client.IgnoreNotFound(err) != nil {
		return r.report.Next(ctx, outcome.Of(err), 0)
	}
	r.forget(client.ObjectKeyFromObject(obj))
	r.deletions.end(obj)
	switch {
	case obj.Spec.DeletionPolicy != v1alpha1.SetClear:
	case left == "":
		r.report.Event(obj, corev1.EventTypeNormal, v1alpha1.EventCleanedUp, "the hub was cleaned up")
	default:
		log.FromContext(ctx).Info("left behind on the hub", "left", left)
		r.metrics.leftBehind()
		r.report.Event(obj, corev1.EventTypeWarning, v1alpha1.EventLeftBehind, left)
	}
	return ctrl.Result{}, nil
}
