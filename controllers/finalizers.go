package controllers

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/claim"
)

// finalizerReconciler keeps the finalizer just on those DeviceTwins that the hub is to be
// cleaned up behind. It never talks to a hub, so that no hub keeps it from that: an object
// may be deleted at any moment.
type finalizerReconciler struct {
	client client.Client
}

func (r *finalizerReconciler) setup(mgr ctrl.Manager, opts Options) error {
	wrong := predicate.NewPredicateFuncs(func(obj client.Object) bool {
		twin, isTwin := obj.(*v1alpha1.DeviceTwin)
		return isTwin && finalizerDiffers(twin)
	})
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DeviceTwin{}, builder.WithPredicates(wrong)).
		WithOptions(opts.controller()).
		Named("devicetwin-finalizer").
		Complete(r)
}

// Reconcile adds or removes the finalizer of one DeviceTwin.
func (r *finalizerReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var obj v1alpha1.DeviceTwin
	if err := r.client.Get(ctx, req.NamespacedName, &obj); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !finalizerDiffers(&obj) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(writeFinalizer(ctx, r.client, &obj, claim.CleansUp(&obj)))
}

// writeFinalizer has an object keep the finalizer, or lose it.
func writeFinalizer(ctx context.Context, c client.Client, obj client.Object, kept bool) error {
	before, ok := obj.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("a copy of %T is no object", obj)
	}
	if kept {
		controllerutil.AddFinalizer(obj, v1alpha1.CleanupFinalizer)
	} else {
		controllerutil.RemoveFinalizer(obj, v1alpha1.CleanupFinalizer)
	}
	if err := c.Patch(ctx, obj, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("writing the finalizer: %w", err)
	}
	return nil
}

// finalizerDiffers tells whether an object's finalizer is not as its deletion policy
// wants it. On one that is being deleted none can be added, and deletion removes it.
func finalizerDiffers(obj *v1alpha1.DeviceTwin) bool {
	return obj.DeletionTimestamp.IsZero() && controllerutil.ContainsFinalizer(obj, v1alpha1.CleanupFinalizer) != claim.CleansUp(obj)
}

// lacksFinalizer tells whether an object could be deleted without being cleaned up behind.
func lacksFinalizer(obj *v1alpha1.DeviceTwin) bool {
	return finalizerDiffers(obj) && claim.CleansUp(obj)
}
