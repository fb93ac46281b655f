package validation

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

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
	return declarationOf(&obj.Spec, specPath())
}

func declarationOf(spec *v1alpha1.DeviceTwinSpec, at *field.Path) (Declaration, field.ErrorList) {
	document, errs := documentOf(spec, at)
	policies, badPolicies := policiesOf(spec, at)
	mirror, badMirror := mirrorOf(spec, at)
	return Declaration{Document: document, Policies: policies, Mirror: mirror},
		slices.Concat(errs, markerDeclared(document, at), badPolicies, badMirror, connectionSecretName(spec, at))
}

// markerDeclared refuses the tag in which DeviceTwinSets note what a twin holds: a set
// would take what is declared there for its own note.
func markerDeclared(declared twin.Document, at *field.Path) field.ErrorList {
	if _, ok := declared.Tags[v1alpha1.SetMarkerTag]; !ok {
		return nil
	}
	return field.ErrorList{invalid(at.Child(string(twin.Tags), v1alpha1.SetMarkerTag),
		"the tag in which DeviceTwinSets note what they wrote; leave it out")}
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
	return doubts
}

// WithOwner adds the owner tag of a HubConnection to what is declared for one of
// its twins, which must leave room for it.
func WithOwner(declared *Declaration, owner *v1alpha1.OwnerTag) field.ErrorList {
	if owner == nil {
		return nil
	}
	if errs := addOwner(declared.Document, owner, specPath()); len(errs) > 0 {
		return errs
	}
	errs := documentErrors(declared.Document, specPath())
	for _, err := range errs {
		err.Detail += "; that includes the owner tag of the HubConnection, spec.ownerTag"
	}
	return errs
}

// addOwner adds an owner tag to a document, which must not have it.
func addOwner(declared twin.Document, owner *v1alpha1.OwnerTag, at *field.Path) field.ErrorList {
	if _, ok := declared.Tags[owner.Name]; ok {
		return field.ErrorList{invalid(at.Child(string(twin.Tags), owner.Name), "the owner tag of the HubConnection, spec.ownerTag.name; leave it out")}
	}
	declared.Tags[owner.Name] = owner.Value
	return nil
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
		if rule := aboveReported(text); rule != "" {
			errs = append(errs, invalid(mirrorPath(at, i), rule))
			continue
		}
		keys, err := twin.ParseKeys(text)
		if err != nil {
			errs = append(errs, invalid(mirrorPath(at, i), err.Error()))
			continue
		}
		read = append(read, keys)
	}
	return read, errs
}

// toReported is how a path begins that was taken from a query, a document, a JSON
// pointer or a status: it leads to the reported properties themselves.
var toReported = regexp.MustCompile(`(?i)^\$?[./]?(?:(?:twin[./]|devices[./])?(?:properties[./])?|status[./])reported(?:[./]|$)`)

// aboveReported says how a path is written that begins above the reported properties;
// "" for others. A property called reported is mirrored with all others.
func aboveReported(path string) string {
	prefix := toReported.FindString(path)
	if prefix == "" {
		return ""
	}
	const rule = "begins with what leads to the reported properties, and paths begin below them: "
	rest := path[len(prefix):]
	if rest == "" {
		return rule + "leave the path out; without paths everything is mirrored"
	}
	if strings.HasPrefix(path, "/") {
		rest = strings.ReplaceAll(rest, "/", ".")
	}
	return rule + "write " + strings.NewReplacer("[[", "", "]]", "").Replace(rest)
}

func mirrorPath(at *field.Path, i int) *field.Path { return at.Child("mirror", "paths").Index(i) }

// connectionSecretName checks that a Secret can have that name, if it is there, and
// that there is a connection string to keep in it: otherwise the keys of a device would
// have no place to go.
func connectionSecretName(spec *v1alpha1.DeviceTwinSpec, at *field.Path) field.ErrorList {
	if spec.ConnectionSecretName == "" {
		return nil
	}
	var errs field.ErrorList
	for _, rule := range apivalidation.NameIsDNSSubdomain(spec.ConnectionSecretName, false) {
		errs = append(errs, invalid(at.Child("connectionSecretName"), rule))
	}
	if strings.Contains(spec.DeviceID+spec.ModuleID, ";") {
		errs = append(errs, invalid(at.Child("connectionSecretName"),
			"the id holds ';', which separates the parts of a connection string: there is none for it. Leave connectionSecretName out"))
	}
	return errs
}
