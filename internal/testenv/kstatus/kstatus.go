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
// from them just what they mean.
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
	concluded, err := compute(obj)
	if expected := expect(obj, ready, reconciling, stalled); err == nil && concluded != expected {
		err = fmt.Errorf("%s: kstatus concludes %s, not %s, from %+v", obj.GetName(), concluded, expected, conditions)
	}
	return errors.Join(append(errs, err)...)
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

func compute(obj Object) (status.Status, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return "", err
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: content})
	if err != nil {
		return "", err
	}
	return result.Status, nil
}
