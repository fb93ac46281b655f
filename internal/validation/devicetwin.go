package validation

import (
	"fmt"
	"slices"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
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
	// Mirror lists the reported properties to mirror, each as its keys.
	Mirror [][]string
}

// DeviceTwin reads what a DeviceTwin declares and holds it against the rules of
// IoT Hub's twin format. What it returns is good for use only without errors.
func DeviceTwin(obj *v1alpha1.DeviceTwin) (Declaration, field.ErrorList) {
	document, errs := documentOf(&obj.Spec, specPath())
	policies, badPolicies := policiesOf(&obj.Spec, specPath())
	mirror, badMirror := mirrorOf(&obj.Spec, specPath())
	return Declaration{Document: document, Policies: policies, Mirror: mirror},
		slices.Concat(errs, badPolicies, badMirror, connectionSecretName(&obj.Spec, specPath()))
}

// DeviceTwinDoubts says what a valid DeviceTwin probably does not mean. None of it
// is a reason to refuse the object.
func DeviceTwinDoubts(declared Declaration) []string {
	var doubts []string
	for i, p := range declared.Policies.Paths {
		if !p.Path.LeadsInto(declared.Document) {
			doubts = append(doubts, fmt.Sprintf("%s: nothing is declared at or below it", policyPath(specPath(), i)))
		}
	}
	for i, keys := range declared.Mirror {
		if len(keys) > 1 && keys[0] == "reported" {
			doubts = append(doubts, fmt.Sprintf("%s: begins with reported; paths begin below it", mirrorPath(specPath(), i)))
		}
	}
	return doubts
}

// WithOwner adds the owner tag of a HubConnection to what is declared for one of
// its twins, which must leave room for it.
func WithOwner(declared *Declaration, owner *v1alpha1.OwnerTag) field.ErrorList {
	if owner == nil {
		return nil
	}
	at := specPath().Child(string(twin.Tags))
	if _, ok := declared.Tags[owner.Name]; ok {
		return field.ErrorList{invalid(at.Child(owner.Name), "the owner tag of the HubConnection, spec.ownerTag.name; leave it out")}
	}
	declared.Tags[owner.Name] = owner.Value
	errs := documentErrors(declared.Document, specPath())
	for _, err := range errs {
		err.Detail += "; that includes the owner tag of the HubConnection, spec.ownerTag"
	}
	return errs
}

func documentOf(spec *v1alpha1.DeviceTwinSpec, at *field.Path) (twin.Document, field.ErrorList) {
	tags, errs := section(spec.Tags, at.Child(string(twin.Tags)))
	desired, more := section(spec.Desired, at.Child(string(twin.Desired)))
	declared := twin.Document{Tags: tags, Desired: desired}
	if errs = append(errs, more...); len(errs) > 0 {
		return declared, errs
	}
	return declared, documentErrors(declared, at)
}

func documentErrors(declared twin.Document, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, violation := range twin.Validate(declared) {
		errs = append(errs, invalid(at.Child(violation.Field), violation.Rule))
	}
	return errs
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
			errs = append(errs, invalid(policyPath(at, i), err.Error()))
			continue
		}
		read.Paths = append(read.Paths, twin.PathPolicy{Path: path, Policy: twin.Policy(p.Policy)})
	}
	return read, errs
}

func policyPath(at *field.Path, i int) *field.Path {
	return at.Child("policies").Index(i).Child("path")
}

func mirrorOf(spec *v1alpha1.DeviceTwinSpec, at *field.Path) ([][]string, field.ErrorList) {
	var errs field.ErrorList
	var read [][]string
	for i, text := range spec.Mirror.Paths {
		keys, err := twin.ParseKeys(text)
		if err != nil {
			errs = append(errs, invalid(mirrorPath(at, i), err.Error()))
			continue
		}
		read = append(read, keys)
	}
	return read, errs
}

func mirrorPath(at *field.Path, i int) *field.Path { return at.Child("mirror", "paths").Index(i) }

// connectionSecretName checks that a Secret can have that name, if it is there:
// otherwise the keys of a device would have no place to go.
func connectionSecretName(spec *v1alpha1.DeviceTwinSpec, at *field.Path) field.ErrorList {
	if spec.ConnectionSecretName == "" {
		return nil
	}
	var errs field.ErrorList
	for _, rule := range apivalidation.NameIsDNSSubdomain(spec.ConnectionSecretName, false) {
		errs = append(errs, invalid(at.Child("connectionSecretName"), rule))
	}
	return errs
}
