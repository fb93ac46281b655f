package imports

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// manifest is a DeviceTwin as it is written to a file: what the API server would add is left out.
type manifest struct {
	metav1.TypeMeta `json:",inline"`

	Metadata metadata `json:"metadata"`
	Spec     spec     `json:"spec"`
}

type metadata struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
}

type spec struct {
	HubRef   v1alpha1.HubReference `json:"hubRef"`
	DeviceID string                `json:"deviceId"`
	ModuleID string                `json:"moduleId,omitempty"`
	Policy   v1alpha1.LeafPolicy   `json:"policy,omitempty"`
	Tags     map[string]any        `json:"tags,omitempty"`
	Desired  map[string]any        `json:"desired,omitempty"`
}

// manifestOf declares what a row holds, but for what the operator keeps there itself.
func (i *importer) manifestOf(row map[string]any) manifest {
	device, _ := row["deviceId"].(string)
	module, _ := row["moduleId"].(string)
	m := manifest{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DeviceTwin"},
		Metadata: metadata{Name: nameOf(device, module), Labels: i.labels},
		Spec: spec{
			HubRef: i.hub.Ref, DeviceID: device, ModuleID: module, Policy: v1alpha1.LeafPolicy(i.policy), Tags: i.tags.of(row), Desired: i.desired.of(row),
		},
	}
	delete(m.Spec.Tags, v1alpha1.SetMarkerTag)
	if i.hub.Object != nil && i.hub.Object.Spec.OwnerTag != nil {
		delete(m.Spec.Tags, i.hub.Object.Spec.OwnerTag.Name)
	}
	if len(m.Spec.Tags) == 0 {
		m.Spec.Tags = nil
	}
	return m
}

// id is the device or module.
func (m manifest) id() string { return m.Spec.DeviceID + "/" + m.Spec.ModuleID }

// document is what is declared.
func (m manifest) document() twin.Document {
	return twin.Document{Tags: m.Spec.Tags, Desired: m.Spec.Desired}
}

// check holds a manifest against the rules of admission.
func (m manifest) check() error {
	obj := &v1alpha1.DeviceTwin{Spec: v1alpha1.DeviceTwinSpec{HubRef: m.Spec.HubRef, DeviceID: m.Spec.DeviceID, ModuleID: m.Spec.ModuleID}}
	var err error
	if obj.Spec.Tags, err = rawOf(m.Spec.Tags); err != nil {
		return err
	}
	if obj.Spec.Desired, err = rawOf(m.Spec.Desired); err != nil {
		return err
	}
	if _, errs := validation.DeviceTwin(obj); len(errs) > 0 {
		return fmt.Errorf("%s", validation.Text(errs))
	}
	return nil
}

// rawOf is a section as the API has it; nil for none.
func rawOf(section map[string]any) (*runtime.RawExtension, error) {
	if section == nil {
		return nil, nil
	}
	text, err := json.Marshal(section)
	return &runtime.RawExtension{Raw: text}, err
}

// file is where the manifest stands in a folder.
func (m manifest) file() string { return m.Metadata.Name + ".yaml" }

// text is a manifest as it stands in a file.
func (m manifest) text() ([]byte, error) { return yaml.Marshal(m) }

// collection are the manifests of DeviceTwins, and which twins have none.
type collection struct {
	manifests []manifest
	refused   []string
	// ids by their names.
	ids map[string]string
}

// take adds a manifest, unless it cannot be declared. The index moves between pages: one that comes twice is added once.
func (c *collection) take(m manifest) {
	err := m.check()
	switch before, twice := c.ids[m.Metadata.Name]; {
	case twice && before == m.id():
	case twice:
		c.refused = append(c.refused, fmt.Sprintf("%s: its name %s is that of %s already", m.id(), m.Metadata.Name, before))
	case err != nil:
		c.refused = append(c.refused, m.Spec.DeviceID+": "+err.Error())
	default:
		c.ids[m.Metadata.Name] = m.id()
		c.manifests = append(c.manifests, m)
	}
}
