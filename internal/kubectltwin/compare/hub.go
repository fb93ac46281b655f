package compare

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// hubView is what a status tells of the hub.
type hubView struct {
	declared validation.Declaration
	// read tells that the hub was read for this declaration.
	read bool
	// synced tells that it holds what is declared, but for what policies leave alone.
	synced bool
	// plan is what would be written, if that is all known.
	plan twin.Document
	// planned tells that something would be.
	planned, whole bool
	// said are the messages that name leaves with the value that is held.
	said string
	// left tells that policies leave other values on the hub.
	left bool
	// conflict tells that leaves stand in the way of each other, and all others are in step.
	conflict bool
}

// more is what ends a list of leaves that is cut.
const more = " more"

func newHubView(obj *v1alpha1.DeviceTwin, declared validation.Declaration) (*hubView, error) {
	v := &hubView{declared: declared}
	synced := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionSynced)
	v.read = !stale(obj) && !obj.Spec.Suspend && synced != nil && synced.Status != metav1.ConditionUnknown
	if !v.read {
		return v, nil
	}
	v.synced = synced.Status == metav1.ConditionTrue
	v.conflict = synced.Reason == v1alpha1.ReasonConflict
	if v.conflict {
		v.said = synced.Message
	}
	if drifted := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionDrifted); drifted != nil {
		v.left = true
		v.said += "; " + drifted.Message
	}
	if obj.Status.Plan == nil {
		return v, nil
	}
	v.planned, v.whole = true, obj.Status.Plan.Patch != nil
	patch, err := object(obj.Status.Plan.Patch)
	if err != nil {
		return nil, err
	}
	v.plan.Tags, _ = patch["tags"].(map[string]any)
	properties, _ := patch["properties"].(map[string]any)
	v.plan.Desired, _ = properties["desired"].(map[string]any)
	return v, nil
}

// of is what the hub holds where a leaf is declared.
func (v *hubView) of(path twin.Path, want any) Value {
	if !v.read {
		return Value{State: Unknown}
	}
	if value, found := v.held(path); found {
		return value
	}
	if _, found := v.plan.At(path); found {
		return Value{State: Differs}
	}
	if v.named(path) {
		return Value{State: Differs}
	}
	if !v.certain(path) {
		return Value{State: Unknown}
	}
	return known(path, want)
}

// certain tells that a leaf would have been named if the hub held something else.
func (v *hubView) certain(path twin.Path) bool {
	switch {
	case v.planned && !v.whole: // the patch is too long for the status
		return false
	case (v.left || v.conflict) && strings.Contains(v.said, more) && (v.conflict || v.declared.Policies.Of(path) != twin.Enforce):
		return false
	}
	return v.synced || v.planned || v.conflict
}

// differs tells that something else is held there than declared.
func (v *hubView) differs(path twin.Path) bool {
	if !v.read {
		return false
	}
	_, held := v.held(path)
	return held || v.named(path)
}

// named tells that a message is about a leaf, or about a place inside or below it.
func (v *hubView) named(path twin.Path) bool {
	for _, after := range []string{" (declared", "[", ".", " is declared"} {
		if indexOf(v.said, path.String()+after) >= 0 {
			return true
		}
	}
	return false
}

// held is the value that a message tells is on the hub.
func (v *hubView) held(path twin.Path) (Value, bool) {
	const declared, held = " (declared ", ", held "
	at := indexOf(v.said, path.String()+declared)
	if at < 0 {
		return Value{}, false
	}
	rest := v.said[at+len(path.String())+len(declared):]
	_, rest, ok := spelled(rest)
	if !ok || !strings.HasPrefix(rest, held) {
		return Value{State: Differs}, true
	}
	value, rest, ok := spelled(rest[len(held):])
	if !ok || !strings.HasPrefix(rest, ")") {
		return Value{State: Differs}, true
	}
	return value, true
}

// mentions tells whether a message names a path, and not one that only begins like it.
func mentions(message, path string) bool {
	for from := 0; ; {
		at := indexOf(message[from:], path)
		if at < 0 {
			return false
		}
		from += at + len(path)
		if from == len(message) || strings.ContainsRune(" ,;:.[()", rune(message[from])) {
			return true
		}
	}
}

// indexOf finds a path in a message, and not the end of a longer one.
func indexOf(message, path string) int {
	for from := 0; ; {
		at := strings.Index(message[from:], path)
		if at < 0 {
			return -1
		}
		at += from
		if at == 0 || message[at-1] == ' ' {
			return at
		}
		from = at + len(path)
	}
}

// spelled reads one value of a message, and returns what follows.
func spelled(text string) (Value, string, bool) {
	for note, value := range map[string]Value{
		"nothing":         {State: Absent},
		credential.Hidden: {State: Known, Value: credential.Hidden},
	} {
		if rest, found := strings.CutPrefix(text, note); found {
			return value, rest, true
		}
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return Value{}, "", false // it is shortened
	}
	return Value{State: Known, Value: value}, text[decoder.InputOffset():], true
}

// removals are the leaves that left the declaration and are to leave the hub.
func (v *hubView) removals(declared twin.Document) []Leaf {
	var out []Leaf
	for path, value := range v.plan.Leaves() {
		if _, found := declared.At(path); found || value != nil {
			continue
		}
		leaf := Leaf{Path: path.String(), Declared: Value{State: Absent}, Hub: Value{State: Differs, Note: "to be deleted"}, Differs: true}
		leaf.Device = Value{State: Unknown}
		if path.Section() == twin.Tags {
			leaf.Device.State = Absent // a device sees no tags
		}
		out = append(out, leaf)
	}
	return out
}
