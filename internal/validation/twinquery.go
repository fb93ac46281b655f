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
	return conditionOf(obj.Spec.Where, specPath().Child("where"), func(text string) int {
		return hub.QueryLength(hub.Source(obj.Spec.From), text)
	})
}

// conditionOf reads a condition. length is how many characters the query has that it is
// sent in.
func conditionOf(where string, at *field.Path, length func(condition string) int) (*query.Condition, field.ErrorList) {
	condition, err := query.ParseCondition(where)
	if err != nil {
		return nil, field.ErrorList{invalid(at, err.Error())}
	}
	if length := length(condition.String()); length > query.MaxLength {
		return nil, field.ErrorList{invalid(at, fmt.Sprintf(
			"a condition that takes a query of %d characters, with blanks and parentheses around its operators as it is sent; IoT Hub takes at most %d: "+
				"use fewer comparisons, such as IN with a list in place of OR", length, query.MaxLength))}
	}
	return condition, nil
}

// TwinQueryDoubts says what a valid TwinQuery probably does not mean. None of it
// is a reason to refuse the object.
func TwinQueryDoubts(obj *v1alpha1.TwinQuery, condition *query.Condition) []string {
	return conditionDoubts(condition, obj.Spec.From, specPath().Child("where"))
}

func conditionDoubts(condition *query.Condition, from string, at *field.Path) []string {
	doubts := condition.Doubts(from == string(hub.Modules))
	for i, doubt := range doubts {
		doubts[i] = at.String() + ": " + doubt
	}
	return doubts
}
