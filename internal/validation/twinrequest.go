package validation

import (
	"errors"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// RequestedQuery is what a TwinRequest asks the hub for, read.
type RequestedQuery struct {
	Condition *query.Condition
	Columns   *query.Projection
}

// TwinRequest holds a TwinRequest against the rules of what it asks about: those of a
// TwinQuery's condition, or of a DeviceTwin.
func TwinRequest(obj *v1alpha1.TwinRequest) field.ErrorList {
	var errs field.ErrorList
	if obj.Spec.Query != nil {
		_, wrong := TwinRequestQuery(obj.Spec.Query)
		errs = append(errs, wrong...)
	}
	if obj.Spec.Plan != nil {
		_, wrong := TwinRequestPlan(obj.Spec.Plan)
		errs = append(errs, wrong...)
	}
	return errs
}

// TwinRequestQuery reads the query of a TwinRequest. What it returns is good for use only
// without errors.
func TwinRequestQuery(asked *v1alpha1.TwinRequestQuery) (RequestedQuery, field.ErrorList) {
	at := specPath().Child("query")
	columns, err := query.ParseProjection(asked.Select)
	if wrong, found := errors.AsType[*query.ProjectionError](err); found {
		return RequestedQuery{}, field.ErrorList{invalid(at.Child("select").Index(wrong.Index), wrong.Problem)}
	}
	condition, errs := conditionOf(asked.Where, at.Child("where"), func(text string) int {
		return hub.PageQueryLength(hub.Source(asked.From), columns, text)
	})
	return RequestedQuery{Condition: condition, Columns: columns}, errs
}

// TwinRequestDoubts says what the query of a valid TwinRequest probably does not mean.
func TwinRequestDoubts(obj *v1alpha1.TwinRequest) []string {
	if obj.Spec.Query == nil {
		return nil
	}
	read, errs := TwinRequestQuery(obj.Spec.Query)
	if len(errs) > 0 {
		return nil
	}
	return conditionDoubts(read.Condition, obj.Spec.Query.From, specPath().Child("query", "where"))
}

// TwinRequestPlan reads what the DeviceTwin of a plan declares, by the rules of DeviceTwin.
func TwinRequestPlan(asked *v1alpha1.TwinRequestPlan) (Declaration, field.ErrorList) {
	at := specPath().Child("plan")
	var errs field.ErrorList
	for _, rule := range apivalidation.NameIsDNSSubdomain(asked.Name, false) {
		errs = append(errs, invalid(at.Child("name"), rule))
	}
	declared, wrong := declarationOf(&asked.Spec, at.Child("spec"))
	return declared, append(errs, wrong...)
}
