package compare

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// deviceView is what a status tells of the device.
type deviceView struct {
	reported twin.Document
	// complete tells that all that the device reports is mirrored, and paths what of it is where not.
	complete bool
	paths    [][]string
	// acknowledged tells that the device has taken over everything; said is why not.
	acknowledged bool
	asked        bool
	said         string
	// silent tells that the device has never reported any declared property: whether it has taken over one is unknown.
	silent bool
	// pending are the leaves that are not acknowledged by what is mirrored.
	pending []string
}

func newDeviceView(obj *v1alpha1.DeviceTwin, declared validation.Declaration) (*deviceView, error) {
	reported, err := object(obj.Status.Reported)
	if err != nil {
		return nil, err
	}
	v := &deviceView{reported: twin.Document{Desired: reported}, paths: declared.Mirror}
	v.complete = obj.Status.ETag != "" && obj.Status.ReportedTruncated == "" && ptr.Deref(obj.Spec.Mirror.MaxBytes, 1) > 0
	condition := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionAcknowledged)
	v.asked = condition != nil && !stale(obj)
	if v.asked {
		v.acknowledged = condition.Status == metav1.ConditionTrue
		v.silent = condition.Reason == v1alpha1.ReasonNeverReported
		v.said = condition.Message
	}
	for _, path := range twin.Acknowledge(declared.Desired, twin.Stamps{}, reported).Pending {
		v.pending = append(v.pending, path.String())
	}
	return v, nil
}

// of is what the device reports where a leaf is declared. A device sees no tags.
func (v *deviceView) of(path twin.Path) Value {
	if path.Section() == twin.Tags {
		return Value{State: Absent}
	}
	value, found := v.reported.At(path)
	if !found {
		if note := v.answerAbove(path); note != "" {
			return Value{State: Absent, Note: note}
		}
		if !v.mirrored(path) {
			return Value{State: Unknown, Note: v.acknowledgement()}
		}
		return Value{State: Absent}
	}
	if answer, ok := answerOf(value); ok {
		out := Value{State: Known, Value: answer.value, Note: answer.String()}
		if credential.HeldAt(path.Keys(), answer.value) {
			out.Value = credential.Hidden
		}
		if answer.value == nil {
			out.State = Absent
		}
		return out
	}
	return known(path, value)
}

// acknowledgement is what the condition tells of a leaf that is not mirrored.
func (v *deviceView) acknowledgement() string {
	if v.acknowledged {
		return "acknowledged"
	}
	return ""
}

// mirrored tells whether a property would be in the status if the device reported it.
func (v *deviceView) mirrored(path twin.Path) bool {
	if !v.complete {
		return false
	}
	keys := path.Keys()
	return len(v.paths) == 0 || slices.ContainsFunc(v.paths, func(at []string) bool {
		return len(at) <= len(keys) && slices.Equal(at, keys[:len(at)])
	})
}

// differs tells that the device has not taken over a leaf.
func (v *deviceView) differs(path twin.Path) bool {
	if path.Section() == twin.Tags || !v.asked || v.acknowledged || v.silent {
		return false
	}
	text := path.String()
	if mentions(v.said, text) {
		return true
	}
	_, found := v.reported.At(path)
	return (found || v.mirrored(path)) && slices.Contains(v.pending, text)
}

// tellsNothing tells that the device could report a leaf, and reports nothing of what is declared.
func (v *deviceView) tellsNothing(path twin.Path) bool {
	return v.silent && path.Section() == twin.Desired
}

// answerAbove is the answer that a device gave for all that is declared above a leaf.
func (v *deviceView) answerAbove(path twin.Path) string {
	var value any = v.reported.Desired
	for _, key := range path.Keys() {
		members, _ := value.(map[string]any)
		value = members[key]
		if answer, ok := answerOf(value); ok {
			return answer.String()
		}
	}
	return ""
}

// answer is an acknowledgement by IoT Plug and Play's conventions.
type answer struct {
	value       any
	code        string
	description string
}

func answerOf(reported any) (answer, bool) {
	members, _ := reported.(map[string]any)
	code, hasCode := members["ac"].(json.Number)
	_, hasVersion := members["av"].(json.Number)
	if !hasCode || !hasVersion {
		return answer{}, false
	}
	description, _ := members["ad"].(string)
	return answer{value: members["value"], code: code.String(), description: description}, true
}

// String is the answer in a few words.
func (a answer) String() string {
	text := "code " + a.code
	if a.description != "" {
		text += fmt.Sprintf(", %q", credential.Masked(strings.TrimSpace(a.description)))
	}
	return text
}
