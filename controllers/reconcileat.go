package controllers

import (
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// maxHandled is the schema's bound of what status echoes of a request.
const maxHandled = 256

// handled is what a status echoes of the request for a visit.
func handled(obj client.Object) string {
	return cut(obj.GetAnnotations()[v1alpha1.ReconcileAtAnnotation], maxHandled)
}

// declarationChanged lets pass what a person did: changes of the spec, requests
// for a visit, resets of a guard, and the deletion. Our own writes of status and
// of the ownership record do not pass.
func declarationChanged() predicate.Predicate {
	asked := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		for _, annotation := range []string{v1alpha1.ReconcileAtAnnotation, v1alpha1.GuardResetAnnotation} {
			if e.ObjectOld.GetAnnotations()[annotation] != e.ObjectNew.GetAnnotations()[annotation] {
				return true
			}
		}
		return false
	}}
	return predicate.Or(predicate.GenerationChangedPredicate{}, asked)
}
