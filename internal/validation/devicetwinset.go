package validation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// SetDeclaration is what a DeviceTwinSet declares, read.
type SetDeclaration struct {
	// Document of the template.
	twin.Document
	Policies twin.Policies
	// Selector of the devices, not narrowed to any scope.
	Selector *query.Condition
	// Waves with their conditions, the rest at the end.
	Waves fleet.Waves

	// marked is the template together with the longest marker that the set writes.
	marked twin.Document
}

// DeviceTwinSet reads what a DeviceTwinSet declares and holds it against the rules. What it
// returns is good for use only without errors.
func DeviceTwinSet(obj *v1alpha1.DeviceTwinSet) (SetDeclaration, field.ErrorList) {
	set := types.NamespacedName{Namespace: obj.Namespace, Name: obj.Name}
	errs := setName(obj.Name)
	template := v1alpha1.DeviceTwinSpec{
		Tags: obj.Spec.Template.Tags, Desired: obj.Spec.Template.Desired, Policy: obj.Spec.Policy, Policies: obj.Spec.Policies,
	}
	document, wrong := documentOf(&template, templatePath())
	errs = slices.Concat(errs, wrong, markerDeclared(document, templatePath()))
	policies, wrong := policiesOf(&template, specPath())
	errs = slices.Concat(errs, wrong, policiesOfMarker(obj.Spec.Policies))
	selector, wrong := selectorOf(&obj.Spec.Selector)
	errs = append(errs, wrong...)
	conditions, wrong := waveConditions(obj.Spec.Rollout.Waves)
	if errs = append(errs, wrong...); len(errs) > 0 {
		return SetDeclaration{}, errs
	}
	declared := SetDeclaration{
		Document: document, Policies: policies, Selector: selector, Waves: fleet.NewWaves(obj.Spec.Rollout.Waves, conditions),
	}
	return declared, slices.Concat(
		withMarker(&declared, set), percentages(obj.Spec.Rollout.Waves), writesWhatIsRead(&declared, set), tooLong(&declared, set))
}

func templatePath() *field.Path { return specPath().Child("template") }

func selectorPath() *field.Path { return specPath().Child("selector") }

func wavePath(i int) *field.Path { return specPath().Child("rollout", "waves").Index(i) }

// policiesOfMarker refuses policies of the marker: one that is not enforced would be written again
// and again, or never.
func policiesOfMarker(policies []v1alpha1.PathPolicy) field.ErrorList {
	var errs field.ErrorList
	for i := range policies {
		path, err := twin.ParsePath(policies[i].Path)
		if keys := path.Keys(); err == nil && path.Section() == twin.Tags && len(keys) > 0 && keys[0] == v1alpha1.SetMarkerTag {
			errs = append(errs, invalid(policyPath(specPath(), i), "leads to the tag in which DeviceTwinSets note what they wrote; leave it out"))
		}
	}
	return errs
}

// setName checks that a set's marker can be told from that of any other set. A name that is
// yet to be generated is checked when it is.
func setName(name string) field.ErrorList {
	if name == "" {
		return nil
	}
	var errs field.ErrorList
	for _, rule := range utilvalidation.IsDNS1123Label(name) {
		errs = append(errs, invalid(field.NewPath("metadata", "name"), rule))
	}
	return errs
}

// selectorOf reads which devices are selected.
func selectorOf(selector *v1alpha1.SetSelector) (*query.Condition, field.ErrorList) {
	switch {
	case selector.Where != "" && len(selector.DeviceIDs) > 0, selector.Where == "" && len(selector.DeviceIDs) == 0:
		return nil, field.ErrorList{invalid(selectorPath(), "exactly one of where and deviceIds is required")}
	case len(selector.DeviceIDs) > 0:
		return query.In("deviceId", selector.DeviceIDs[0], selector.DeviceIDs[1:]...), nil
	}
	return readCondition(selector.Where, selectorPath().Child("where"))
}

func readCondition(text string, at *field.Path) (*query.Condition, field.ErrorList) {
	if strings.TrimSpace(text) == "" {
		return nil, field.ErrorList{invalid(at, "the condition is empty; one that every device satisfies is written deviceId != ''")}
	}
	return conditionOf(text, at, func(string) int { return 0 })
}

// waveConditions reads the conditions of waves, nil where a wave has none.
func waveConditions(waves []v1alpha1.SetWave) ([]*query.Condition, field.ErrorList) {
	var errs field.ErrorList
	conditions := make([]*query.Condition, len(waves))
	names := map[string]bool{}
	for i, wave := range waves {
		switch {
		case wave.Name == fleet.Rest:
			errs = append(errs, invalid(wavePath(i).Child("name"), "is the name of the wave that takes what is left"))
		case names[wave.Name]:
			errs = append(errs, field.Duplicate(wavePath(i).Child("name"), wave.Name))
		}
		names[wave.Name] = true
		switch {
		case (wave.Where != "") == (wave.Percent != 0):
			errs = append(errs, invalid(wavePath(i), "exactly one of where and percent is required"))
		case wave.Where != "":
			condition, wrong := readCondition(wave.Where, wavePath(i).Child("where"))
			conditions[i], errs = condition, append(errs, wrong...)
		}
	}
	return conditions, errs
}

// percentages checks that those of all waves are devices of one set.
func percentages(waves []v1alpha1.SetWave) field.ErrorList {
	sum := 0
	for _, wave := range waves {
		sum += int(wave.Percent)
	}
	if sum > 100 {
		return field.ErrorList{invalid(specPath().Child("rollout", "waves"),
			fmt.Sprintf("the percentages of waves are %d together; at most 100 are allowed, and what is left is the wave %s", sum, fleet.Rest))}
	}
	return nil
}

// withMarker checks that a twin has room for the template together with the marker.
func withMarker(declared *SetDeclaration, set types.NamespacedName) field.ErrorList {
	longest := fleet.Rest
	for _, wave := range declared.Waves {
		if len(wave.Name) > len(longest) {
			longest = wave.Name
		}
	}
	revision, err := fleet.NewRevision(declared.Document)
	if err != nil {
		return field.ErrorList{invalid(templatePath(), err.Error())}
	}
	declared.marked = fleet.WithMarker(declared.Document, set, fleet.Marker{Revision: revision.Name, Wave: longest})
	errs := documentErrors(declared.marked, templatePath())
	for _, err := range errs {
		err.Detail += "; that includes what the set notes in the tag " + v1alpha1.SetMarkerTag
	}
	return errs
}

// writesWhatIsRead refuses a template that would select its own devices away.
func writesWhatIsRead(declared *SetDeclaration, set types.NamespacedName) field.ErrorList {
	var errs field.ErrorList
	refuse := func(condition *query.Condition, at *field.Path) {
		if read, written, found := fleet.Reads(condition, declared.Document, set); found {
			errs = append(errs, invalid(at, fmt.Sprintf(
				"reads %s, and the set writes %s: a device would be selected by what is written to it; select by something that the set does not write", read, written)))
		}
	}
	refuse(declared.Selector, selectorPath().Child("where"))
	for i, wave := range declared.Waves {
		if wave.Condition != nil {
			refuse(wave.Condition, wavePath(i).Child("where"))
		}
	}
	return errs
}

// tooLong checks that the hub takes the longest queries that the set is asked about with.
func tooLong(declared *SetDeclaration, set types.NamespacedName) field.ErrorList {
	revision := strings.Repeat("f", 64)
	questions := fleet.NewQuestions(set, declared.Selector, func(c *query.Condition) (*query.Condition, error) { return c, nil })
	acknowledged, _ := fleet.Acknowledged(questions.WrittenIn(revision, strings.Repeat("w", 32)), declared.Document)
	asked := append(fleet.Drifted(questions.Written(revision), declared.Document, declared.Policies), questions.Behind(revision), fleet.Offline(acknowledged))
	if conditions := declared.Waves.Conditions(len(declared.Waves) - 1); len(conditions) > 0 {
		asked = append(asked, questions.BehindIn(revision, conditions))
	}
	for _, condition := range asked {
		if length := hub.QueryLength(hub.Devices, condition.String()); length > query.MaxLength {
			return field.ErrorList{invalid(specPath(), fmt.Sprintf(
				"selector and waves take a query of %d characters; IoT Hub takes at most %d: use shorter conditions, or list fewer devices",
				length, query.MaxLength))}
		}
	}
	return nil
}

// SetWithOwner adds the owner tag of a HubConnection to what a set declares for its twins,
// which must leave room for it beside the marker.
func SetWithOwner(declared *SetDeclaration, owner *v1alpha1.OwnerTag) field.ErrorList {
	if owner == nil {
		return nil
	}
	owned := twin.Document{Tags: maps.Clone(declared.Tags), Desired: declared.Desired}
	if errs := addOwner(owned, owner, templatePath()); len(errs) > 0 {
		return errs
	}
	declared.Document = owned
	// The owner's name is another than the marker's, and so that is still there.
	marked := twin.Document{Tags: maps.Clone(declared.marked.Tags), Desired: declared.Desired}
	marked.Tags[owner.Name] = owner.Value
	errs := documentErrors(marked, templatePath())
	for _, err := range errs {
		err.Detail += fmt.Sprintf("; that includes the owner tag of the HubConnection, spec.ownerTag, and what the set notes in the tag %s", v1alpha1.SetMarkerTag)
	}
	return errs
}

// DeviceTwinSetDoubts says what a valid DeviceTwinSet probably does not mean. None of it is a
// reason to refuse the object.
func DeviceTwinSetDoubts(declared SetDeclaration) []string {
	doubts := conditionDoubts(declared.Selector, "", selectorPath().Child("where"))
	for i, wave := range declared.Waves {
		if wave.Condition != nil {
			doubts = append(doubts, conditionDoubts(wave.Condition, "", wavePath(i).Child("where"))...)
		}
	}
	if !declared.Policies.Write(declared.Document) {
		doubts = append(doubts, fmt.Sprintf("%s: nothing of it is ever written, but for what the set notes in the tag %s", templatePath(), v1alpha1.SetMarkerTag))
	}
	for i, p := range declared.Policies.Paths {
		if !p.Path.LeadsInto(declared.Document) {
			doubts = append(doubts, fmt.Sprintf("%s: nothing is declared at or below it", policyPath(specPath(), i)))
		}
	}
	return doubts
}
