package validation

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// Declaration is what a DeviceTwin declares, read.
type Declaration struct {
	twin.Document
	// Policies say what to do about leaves that the hub does not hold.
	Policies twin.Policies
}

// DeviceTwin reads what a DeviceTwin declares and holds it against the rules of
// IoT Hub's twin format. What it returns is good for use only without errors.
func DeviceTwin(obj *v1alpha1.DeviceTwin) (Declaration, field.ErrorList) {
	document, errs := documentOf(&obj.Spec, specPath())
	policies, more := policiesOf(&obj.Spec, specPath())
	return Declaration{Document: document, Policies: policies}, append(errs, more...)
}

func documentOf(spec *v1alpha1.DeviceTwinSpec, at *field.Path) (twin.Document, field.ErrorList) {
	tags, errs := section(spec.Tags, at.Child(string(twin.Tags)))
	desired, more := section(spec.Desired, at.Child(string(twin.Desired)))
	declared := twin.Document{Tags: tags, Desired: desired}
	if errs = append(errs, more...); len(errs) > 0 {
		return declared, errs
	}
	for _, violation := range twin.Validate(declared) {
		errs = append(errs, invalid(at.Child(violation.Field), violation.Rule))
	}
	return declared, errs
}

func section(raw *runtime.RawExtension, at *field.Path) (map[string]any, field.ErrorList) {
	if raw == nil {
		raw = &runtime.RawExtension{}
	}
	parsed, err := twin.ParseSection(raw.Raw)
	if err != nil {
		return nil, field.ErrorList{invalid(at, err.Error())}
	}
	return parsed, nil
}

func policiesOf(spec *v1alpha1.DeviceTwinSpec, at *field.Path) (twin.Policies, field.ErrorList) {
	var errs field.ErrorList
	read := twin.Policies{Default: twin.Policy(spec.Policy)}
	for i, p := range spec.Policies {
		path, err := twin.ParsePath(p.Path)
		if err != nil {
			errs = append(errs, invalid(at.Child("policies").Index(i).Child("path"), err.Error()))
			continue
		}
		read.Paths = append(read.Paths, twin.PathPolicy{Path: path, Policy: twin.Policy(p.Policy)})
	}
	return read, errs
}
