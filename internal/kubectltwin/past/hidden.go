package past

import (
	"encoding/json"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
)

// Hidden is a history without what may be a credential, by the leaf's name or by the value. The manager hides that as well;
// but others may write a status too.
func Hidden(history []v1alpha1.TwinWrite) []v1alpha1.TwinWrite {
	out := make([]v1alpha1.TwinWrite, len(history))
	for i := range history {
		history[i].DeepCopyInto(&out[i])
		for j := range out[i].Changes {
			hide(&out[i].Changes[j])
		}
	}
	return out
}

func hide(leaf *v1alpha1.LeafChange) {
	keys := strings.Split(leaf.Path, ".")
	for _, side := range []**runtime.RawExtension{&leaf.Before, &leaf.After} {
		if *side == nil {
			continue
		}
		value, err := valueOf(*side)
		if text, isText := value.(string); isText && text == credential.Hidden {
			continue
		}
		if err != nil || credential.HeldAt(keys, value) {
			*side = &runtime.RawExtension{Raw: []byte(strconv.Quote(credential.Hidden))}
			leaf.Withheld = v1alpha1.WithheldHidden
		}
	}
}

// valueOf is a value of a history, nil for none.
func valueOf(raw *runtime.RawExtension) (any, error) {
	if raw == nil {
		return nil, nil
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw.Raw)))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return value, err
}
