package validation

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// TwinQuery reads the condition of a TwinQuery. An error says at which position
// the text stops being a condition, and why.
func TwinQuery(obj *v1alpha1.TwinQuery) (*query.Condition, field.ErrorList) {
	condition, err := query.ParseCondition(obj.Spec.Where)
	if err != nil {
		return nil, field.ErrorList{invalid(specPath().Child("where"), err.Error())}
	}
	if length := hub.QueryLength(hub.Source(obj.Spec.From), condition.String()); length > query.MaxLength {
		return nil, field.ErrorList{invalid(specPath().Child("where"), fmt.Sprintf(
			"a condition that takes a query of %d characters, with blanks and parentheses around its operators as it is sent; IoT Hub takes at most %d: "+
				"use fewer comparisons, such as IN with a list in place of OR", length, query.MaxLength))}
	}
	return condition, nil
}

// TwinQueryDoubts says what a valid TwinQuery probably does not mean. None of it
// is a reason to refuse the object.
func TwinQueryDoubts(obj *v1alpha1.TwinQuery, condition *query.Condition) []string {
	doubts := condition.Doubts(obj.Spec.From == string(hub.Modules))
	for i, doubt := range doubts {
		doubts[i] = specPath().Child("where").String() + ": " + doubt
	}
	return doubts
}
