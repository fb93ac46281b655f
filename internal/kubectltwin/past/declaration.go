package past

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// declaration is what an object declares, to be changed in place.
type declaration map[twin.Section]map[string]any

func declarationOf(obj *v1alpha1.DeviceTwin) (declaration, error) {
	out := declaration{}
	for section, raw := range map[twin.Section]*runtime.RawExtension{twin.Tags: obj.Spec.Tags, twin.Desired: obj.Spec.Desired} {
		if raw == nil {
			out[section] = map[string]any{}
			continue
		}
		var err error
		if out[section], err = twin.ParseSection(raw.Raw); err != nil {
			return nil, fmt.Errorf("spec.%s is %w", section, err)
		}
	}
	return out, nil
}

// at is what is declared at a path, a leaf or an object; nil for nothing.
func (d declaration) at(path twin.Path) any {
	value, _ := twin.Document{Tags: d[twin.Tags], Desired: d[twin.Desired]}.At(path)
	return value
}

// below tells whether a leaf is declared above a path, so that nothing can be declared there.
func (d declaration) below(path twin.Path) bool {
	var value any = d[path.Section()]
	for _, key := range path.Keys() {
		object, isObject := value.(map[string]any)
		if !isObject {
			return value != nil
		}
		value = object[key]
	}
	return false
}

// set declares a value at a path, in the place of what stands there.
func (d declaration) set(path twin.Path, value any) {
	keys := path.Keys()
	into := d[path.Section()]
	for _, key := range keys[:len(keys)-1] {
		below, isObject := into[key].(map[string]any)
		if !isObject {
			below = map[string]any{}
			into[key] = below
		}
		into = below
	}
	into[keys[len(keys)-1]] = value
}

// remove takes away what is declared at a path, and the objects that are empty then.
func (d declaration) remove(path twin.Path) { removeFrom(d[path.Section()], path.Keys()) }

func removeFrom(object map[string]any, keys []string) {
	key := keys[0]
	if len(keys) == 1 {
		delete(object, key)
		return
	}
	below, isObject := object[key].(map[string]any)
	if !isObject {
		return
	}
	removeFrom(below, keys[1:])
	if len(below) == 0 {
		delete(object, key)
	}
}

// section is a part of the declaration as a spec holds it, nil where it is empty.
func (d declaration) section(name twin.Section) (*runtime.RawExtension, error) {
	if len(d[name]) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(d[name])
	return &runtime.RawExtension{Raw: text}, err
}
