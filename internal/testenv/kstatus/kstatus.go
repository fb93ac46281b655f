// Package kstatus holds the objects of this API against what tools conclude from
// their conditions.
package kstatus

import (
	"errors"
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/argocd"
)

// Object is a kind of this API.
type Object interface {
	client.Object
	GetConditions() *[]metav1.Condition
}

// Current is an object's condition of a type, nil unless it speaks of the object's
// current generation.
func Current(obj Object, conditionType string) *metav1.Condition {
	found := meta.FindStatusCondition(*obj.GetConditions(), conditionType)
	if found == nil || found.ObservedGeneration != obj.GetGeneration() {
		return nil
	}
	return found
}

// Check says what is wrong with an object's conditions: Ready is always there,
// Reconciling and Stalled are true or absent and never both, every condition has a
// reason and a message and speaks of no future generation, and kstatus concludes
// from them just what they mean, as does Argo CD.
func Check(obj Object) error {
	conditions := *obj.GetConditions()
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return fmt.Errorf("%s: there is no condition Ready", obj.GetName())
	}
	errs := []error{checkEach(obj, conditions)}
	reconciling := meta.FindStatusCondition(conditions, v1alpha1.ConditionReconciling)
	stalled := meta.FindStatusCondition(conditions, v1alpha1.ConditionStalled)
	for _, abnormal := range []*metav1.Condition{reconciling, stalled} {
		if abnormal != nil && abnormal.Status != metav1.ConditionTrue {
			errs = append(errs, fmt.Errorf("%s: %+v is neither absent nor true", obj.GetName(), abnormal))
		}
	}
	if reconciling != nil && stalled != nil {
		errs = append(errs, fmt.Errorf("%s: both Reconciling and Stalled", obj.GetName()))
	}
	return errors.Join(append(errs, checkTools(obj, expect(obj, ready, reconciling, stalled), ready))...)
}

// checkTools holds what tools conclude against what they should.
func checkTools(obj Object, expected status.Status, ready *metav1.Condition) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return err
	}
	seen := &unstructured.Unstructured{Object: content}
	result, err := status.Compute(seen)
	if err == nil && result.Status != expected {
		err = fmt.Errorf("%s: kstatus concludes %s, not %s, from %+v", obj.GetName(), result.Status, expected, *obj.GetConditions())
	}
	health, _, errOfArgo := argocd.HealthOf(seen)
	if shown := expectHealth(obj, expected, ready); errOfArgo == nil && health != shown {
		errOfArgo = fmt.Errorf("%s: Argo CD shows %s, not %s, for %+v", obj.GetName(), health, shown, *obj.GetConditions())
	}
	return errors.Join(err, errOfArgo)
}

// expectHealth is what Argo CD should show where kstatus concludes a status. Only Argo CD
// knows objects that are suspended.
func expectHealth(obj Object, concluded status.Status, ready *metav1.Condition) argocd.Health {
	switch {
	case concluded == status.CurrentStatus:
		return argocd.Healthy
	case concluded == status.FailedStatus:
		return argocd.Degraded
	case concluded == status.InProgressStatus && ready.Reason == v1alpha1.ReasonSuspended && ready.ObservedGeneration == obj.GetGeneration():
		return argocd.Suspended
	}
	return argocd.Progressing
}

func checkEach(obj Object, conditions []metav1.Condition) error {
	var errs []error
	for _, c := range conditions {
		if c.Reason == "" || c.Message == "" {
			errs = append(errs, fmt.Errorf("%s: %s lacks a reason or message: %+v", obj.GetName(), c.Type, c))
		}
		if c.ObservedGeneration > obj.GetGeneration() {
			errs = append(errs, fmt.Errorf("%s: %s speaks of generation %d of %d", obj.GetName(), c.Type, c.ObservedGeneration, obj.GetGeneration()))
		}
	}
	return errors.Join(errs...)
}

func expect(obj Object, ready, reconciling, stalled *metav1.Condition) status.Status {
	switch {
	case obj.GetDeletionTimestamp() != nil: // whatever its conditions say
		return status.TerminatingStatus
	case ready.ObservedGeneration != obj.GetGeneration(), reconciling != nil, ready.Status == metav1.ConditionUnknown:
		return status.InProgressStatus
	case stalled != nil:
		return status.FailedStatus
	}
	return status.CurrentStatus
}
