package controllers

import (
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// declarationChanged lets pass what a user did: changes of the spec, requests
// for a reconcile, resets of a guard, and the deletion. Our own writes do not pass.
func declarationChanged() predicate.Predicate {
	asked := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		for _, annotation := range []string{
			v1alpha1.ReconcileAtAnnotation, v1alpha1.GuardResetAnnotation, v1alpha1.ApproveAnnotation, v1alpha1.RolloutAnnotation,
		} {
			if e.ObjectOld.GetAnnotations()[annotation] != e.ObjectNew.GetAnnotations()[annotation] {
				return true
			}
		}
		return false
	}}
	return predicate.Or(predicate.GenerationChangedPredicate{}, asked)
}

// keptChanged lets pass what other clients took from a DeviceTwin, and its finalizer
// when that is put back: every write of a manifest as a whole drops it.
func keptChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, isTwin := e.ObjectOld.(*v1alpha1.DeviceTwin)
			after, isTwinStill := e.ObjectNew.(*v1alpha1.DeviceTwin)
			if !isTwin || !isTwinStill {
				return false
			}
			record := before.Status.Record != "" && after.Status.Record == ""
			registration := before.Status.Registration != nil && after.Status.Registration == nil
			return record || registration || lacksFinalizer(before) != lacksFinalizer(after)
		},
	}
}
