package imports

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
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

// manifestOf declares what a row holds; it says what is wrong with one that cannot be declared.
func (i *importer) manifestOf(row map[string]any) (manifest, error) {
	device, _ := row["deviceId"].(string)
	module, _ := row["moduleId"].(string)
	m := manifest{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DeviceTwin"},
		Metadata: metadata{Name: nameOf(device, module), Labels: i.labels},
		Spec: spec{
			HubRef: i.hub.Ref, DeviceID: device, ModuleID: module, Policy: v1alpha1.LeafPolicy(i.policy), Tags: i.tags.of(row), Desired: i.desired.of(row),
		},
	}
	if i.hub.Object != nil && i.hub.Object.Spec.OwnerTag != nil {
		delete(m.Spec.Tags, i.hub.Object.Spec.OwnerTag.Name) // the operator keeps it
	}
	return m, m.check()
}

// check holds a manifest against the rules of admission.
func (m manifest) check() error {
	obj := &v1alpha1.DeviceTwin{Spec: v1alpha1.DeviceTwinSpec{HubRef: m.Spec.HubRef, DeviceID: m.Spec.DeviceID, ModuleID: m.Spec.ModuleID}}
	for _, section := range []struct {
		held map[string]any
		into **runtime.RawExtension
	}{{m.Spec.Tags, &obj.Spec.Tags}, {m.Spec.Desired, &obj.Spec.Desired}} {
		if section.held == nil {
			continue
		}
		text, err := json.Marshal(section.held)
		if err != nil {
			return err
		}
		*section.into = &runtime.RawExtension{Raw: text}
	}
	if _, errs := validation.DeviceTwin(obj); len(errs) > 0 {
		return fmt.Errorf("%s", validation.Text(errs))
	}
	return nil
}

// text is a manifest as it stands in a file.
func (m manifest) text() ([]byte, error) { return yaml.Marshal(m) }
