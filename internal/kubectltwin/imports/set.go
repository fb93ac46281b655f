package imports

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

const (
	// maxLeftOut is how many leaves are named that are not in a template.
	maxLeftOut = 50
	// mostDevices is the schema's bound of spec.maxDevices.
	mostDevices = 1_000_000
)

// setImport makes one DeviceTwinSet of many twins.
type setImport struct {
	*importer

	name      types.NamespacedName
	condition *query.Condition
	agreement *agreement
	seen      map[string]bool
	// kept are all twins, where each may need a DeviceTwin.
	kept []manifest
}

// checkSet refuses flags that a set cannot be made with.
func (i *importer) checkSet() error {
	switch rules := utilvalidation.IsDNS1123Label(i.set); {
	case i.set == "" && i.overrides:
		return errors.New("--overrides are for --set: without it each twin has its DeviceTwin anyway")
	case i.set == "":
		return nil
	case len(rules) > 0:
		return fmt.Errorf("--set %q: %s", i.set, rules[0])
	case i.from != "devices":
		return errors.New("--set is for devices: a DeviceTwinSet does not select modules, leave --from out")
	case i.limit > 0:
		return errors.New("--set takes all twins that --where selects, as the set will: leave --limit out")
	}
	return nil
}

func (i *importer) newSet(namespace string) (*setImport, error) {
	condition, err := query.ParseCondition(i.where)
	if err != nil {
		return nil, fmt.Errorf("--where: %w", err)
	}
	s := &setImport{
		importer: i, name: types.NamespacedName{Namespace: namespace, Name: i.set}, condition: condition,
		agreement: newAgreement(), seen: map[string]bool{},
	}
	if read, _, found := fleet.Reads(condition, twin.Document{}, s.name); found {
		return nil, fmt.Errorf("--where reads %s, which the set writes itself: select by something else", read)
	}
	return s, nil
}

// take takes one more twin into account. The index moves between pages: one that comes twice counts once.
func (s *setImport) take(m manifest) {
	if s.seen[m.Spec.DeviceID] {
		return
	}
	s.seen[m.Spec.DeviceID] = true
	s.agreement.add(m.Spec.DeviceID, m.document())
	if s.overrides {
		s.kept = append(s.kept, m)
	}
}

// reads tells whether the condition reads a leaf: a set that writes it would select its devices by what it writes.
func (s *setImport) reads(leaf *agreedLeaf) bool {
	var alone twin.Document
	put(&alone, leaf.path, leaf.value)
	_, _, found := fleet.Reads(s.condition, alone, s.name)
	return found
}

// template are the leaves on which all twins agree, and leftOut says why others are not.
func (s *setImport) template() (declared twin.Document, leftOut []string) {
	for _, leaf := range s.agreement.all() {
		switch {
		case s.reads(leaf):
			leftOut = append(leftOut, leaf.path.String()+": --where reads it")
		case leaf.other != "":
			leftOut = append(leftOut, leaf.path.String()+": "+leaf.why())
		default:
			put(&declared, leaf.path, leaf.value)
		}
	}
	return declared, leftOut
}

// finish makes the manifests of what was taken: the set, and the DeviceTwins beside it.
func (s *setImport) finish(found *collection) (setManifest, error) {
	if s.agreement.twins == 0 {
		return setManifest{}, errors.New("no twin satisfies --where: there is nothing that a set could declare")
	}
	declared, leftOut := s.template()
	for n, text := range leftOut {
		if n == maxLeftOut {
			s.access.Note("left out: %d more", len(leftOut)-n)
			break
		}
		s.access.Note("left out: %s", text)
	}
	if declared.Empty() {
		return setManifest{}, fmt.Errorf("there is no leaf among --tags and --desired that %s would declare: one that each of %s holds alike, and that --where does not read", s.name.Name, terminal.Count(s.agreement.twins, "twin"))
	}
	if s.agreement.twins > mostDevices {
		return setManifest{}, fmt.Errorf("%d twins satisfy --where: a set has at most %d devices: use several with narrower conditions", s.agreement.twins, mostDevices)
	}
	for _, m := range s.kept {
		own := chosen(m.document(), s.agreement.differs)
		m.Spec.Tags, m.Spec.Desired = own.Tags, own.Desired
		if !own.Empty() {
			found.take(m)
		}
	}
	made := s.manifest(declared)
	s.access.Note("the set declares %d of the leaves of %s, %d are left out",
		len(s.agreement.leaves)-len(leftOut), terminal.Count(s.agreement.twins, "twin"), len(leftOut))
	return made, made.check(s.name)
}

func (s *setImport) manifest(declared twin.Document) setManifest {
	return setManifest{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DeviceTwinSet"},
		Metadata: metadata{Name: s.name.Name, Labels: s.labels},
		Spec: setSpec{
			HubRef: s.hub.Ref, Selector: v1alpha1.SetSelector{Where: s.where}, MaxDevices: roomFor(s.agreement.twins), Policy: v1alpha1.LeafPolicy(s.policy),
			Template: setTemplate{Tags: declared.Tags, Desired: declared.Desired},
		},
	}
}

// roomFor is a bound for a set that has so many devices now: a tenth more, to two digits.
func roomFor(devices int32) int32 {
	most, step := devices+(devices+9)/10, int32(1)
	for most/step >= 100 {
		step *= 10
	}
	return min((most+step-1)/step*step, mostDevices)
}

// setManifest is a DeviceTwinSet as it is written to a file: what the API server would add is left out.
type setManifest struct {
	metav1.TypeMeta `json:",inline"`

	Metadata metadata `json:"metadata"`
	Spec     setSpec  `json:"spec"`
}

type setSpec struct {
	HubRef     v1alpha1.HubReference `json:"hubRef"`
	Selector   v1alpha1.SetSelector  `json:"selector"`
	MaxDevices int32                 `json:"maxDevices"`
	Policy     v1alpha1.LeafPolicy   `json:"policy,omitempty"`
	Template   setTemplate           `json:"template"`
}

type setTemplate struct {
	Tags    map[string]any `json:"tags,omitempty"`
	Desired map[string]any `json:"desired,omitempty"`
}

// check holds a manifest against the rules of admission.
func (m setManifest) check(name types.NamespacedName) error {
	obj := &v1alpha1.DeviceTwinSet{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}, Spec: v1alpha1.DeviceTwinSetSpec{
		HubRef: m.Spec.HubRef, Selector: m.Spec.Selector, MaxDevices: m.Spec.MaxDevices, Policy: m.Spec.Policy,
	}}
	var err error
	if obj.Spec.Template.Tags, err = rawOf(m.Spec.Template.Tags); err != nil {
		return err
	}
	if obj.Spec.Template.Desired, err = rawOf(m.Spec.Template.Desired); err != nil {
		return err
	}
	if _, errs := validation.DeviceTwinSet(obj); len(errs) > 0 {
		return fmt.Errorf("these twins make no DeviceTwinSet: %s", validation.Text(errs))
	}
	return nil
}

// file is where the manifest stands in a folder. No name of a DeviceTwin has an underscore, so that its file is another one.
func (m setManifest) file() string { return string(cluster.SetKind) + "_" + m.Metadata.Name + ".yaml" }

// text is a manifest as it stands in a file.
func (m setManifest) text() ([]byte, error) { return yaml.Marshal(m) }
