package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// State says what is known of a leaf in one place.
type State string

const (
	// Known says that Value is there.
	Known State = "Known"
	// Absent says that nothing is there.
	Absent State = "Absent"
	// Differs says that something else is there than declared, and not what.
	Differs State = "Differs"
	// Unknown says that the status does not tell.
	Unknown State = "Unknown"
)

// Value is what is known of a leaf in one place.
type Value struct {
	State State `json:"state"`
	// Value is JSON, or a note in the place of what looks like a credential.
	Value any `json:"value,omitempty"`
	// Note is what else is known, such as the device's answer.
	Note string `json:"note,omitempty"`
}

// Leaf is one leaf in three places.
type Leaf struct {
	Path     string `json:"path"`
	Declared Value  `json:"declared"`
	Hub      Value  `json:"hub"`
	Device   Value  `json:"device"`
	// Differs tells that the hub does not hold what is declared, or that the device has not taken it over. An unknown one does not differ.
	Differs bool `json:"differs"`
	// Uncertain tells that it is unknown whether it does.
	Uncertain bool `json:"uncertain,omitempty"`
}

// Twin is one DeviceTwin.
type Twin struct {
	Namespace    string `json:"namespace"`
	Name         string `json:"name"`
	Device       string `json:"device"`
	Module       string `json:"module,omitempty"`
	Hub          string `json:"hub"`
	Ready        string `json:"ready"`
	Reason       string `json:"reason,omitempty"`
	Message      string `json:"message,omitempty"`
	Connectivity string `json:"connectivity,omitempty"`
	Connection   string `json:"connection,omitempty"`
	Suspended    bool   `json:"suspended,omitempty"`
	// Stale tells that the status speaks of an earlier declaration.
	Stale  bool     `json:"stale,omitempty"`
	Leaves []Leaf   `json:"leaves"`
	Notes  []string `json:"notes,omitempty"`
}

// Differs tells whether any leaf does.
func (t *Twin) Differs() bool {
	for i := range t.Leaves {
		if t.Leaves[i].Differs {
			return true
		}
	}
	return false
}

// Of compares a DeviceTwin. A declaration that cannot be read is an error; admission and the controllers refuse it too.
func Of(obj *v1alpha1.DeviceTwin) (*Twin, error) {
	declared, errs := validation.DeviceTwin(obj)
	if len(errs) > 0 && declared.Tags == nil && declared.Desired == nil {
		return nil, fmt.Errorf("devicetwin/%s: %s", obj.Name, validation.Text(errs))
	}
	out := header(obj)
	hub, err := newHubView(obj, declared)
	if err != nil {
		return nil, fmt.Errorf("devicetwin/%s: %w", obj.Name, err)
	}
	device, err := newDeviceView(obj, declared)
	if err != nil {
		return nil, fmt.Errorf("devicetwin/%s: %w", obj.Name, err)
	}
	for path, want := range declared.Leaves() {
		leaf := Leaf{Path: path.String(), Declared: known(path, want), Hub: hub.of(path, want), Device: device.of(path)}
		leaf.Differs = leaf.Hub.State == Differs || leaf.Hub.State == Absent || hub.differs(path) || device.differs(path)
		leaf.Uncertain = !leaf.Differs && (leaf.Hub.State == Unknown || leaf.Device.State == Unknown && leaf.Device.Note == "" || device.tellsNothing(path))
		out.Leaves = append(out.Leaves, leaf)
	}
	out.Leaves = append(out.Leaves, hub.removals(declared.Document)...)
	out.Notes = notes(obj)
	return out, nil
}

func header(obj *v1alpha1.DeviceTwin) *Twin {
	out := &Twin{
		Namespace: obj.Namespace, Name: obj.Name, Device: obj.Spec.DeviceID, Module: obj.Spec.ModuleID, Hub: obj.Spec.HubRef.Name,
		Ready: string(metav1.ConditionUnknown), Suspended: obj.Spec.Suspend, Stale: stale(obj), Connectivity: obj.Status.Connectivity, Leaves: []Leaf{},
	}
	if obj.Spec.HubRef.Namespace != "" && obj.Spec.HubRef.Namespace != obj.Namespace {
		out.Hub = obj.Spec.HubRef.Namespace + "/" + out.Hub
	}
	if ready := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		out.Ready, out.Reason, out.Message = string(ready.Status), ready.Reason, ready.Message
	}
	if obj.Status.Connection != nil {
		out.Connection = string(obj.Status.Connection.State)
	}
	return out
}

// stale tells that a status says nothing of the declaration as it is.
func stale(obj *v1alpha1.DeviceTwin) bool { return obj.Status.ObservedGeneration != obj.Generation }

// notes are the messages of the conditions that say why something differs.
func notes(obj *v1alpha1.DeviceTwin) []string {
	var out []string
	if stale(obj) {
		out = append(out, "the status does not speak of this declaration yet")
	}
	for _, kind := range []string{v1alpha1.ConditionDrifted, v1alpha1.ConditionContended, v1alpha1.ConditionRecordLost} {
		if c := meta.FindStatusCondition(obj.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionTrue {
			out = append(out, kind+": "+c.Message)
		}
	}
	if c := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionAcknowledged); c != nil && c.Status != metav1.ConditionTrue {
		out = append(out, c.Type+": "+c.Message)
	}
	if obj.Status.ReportedTruncated != "" {
		out = append(out, "status.reported: "+obj.Status.ReportedTruncated)
	}
	return out
}

// known is a value that is there, unless it looks like a credential.
func known(path twin.Path, value any) Value {
	if credential.HeldAt(path.Keys(), value) {
		return Value{State: Known, Value: credential.Hidden}
	}
	return Value{State: Known, Value: value}
}

// object reads a document of a status, with numbers as they are written.
func object(raw *runtime.RawExtension) (map[string]any, error) {
	if raw == nil {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw.Raw))
	decoder.UseNumber()
	var out map[string]any
	if err := decoder.Decode(&out); err != nil {
		return nil, fmt.Errorf("a part of its status cannot be read: %w", err)
	}
	return out, nil
}

// Text is a value as a table shows it.
func (v Value) Text() string {
	switch v.State {
	case Absent:
		return suffixed("-", v.Note)
	case Unknown:
		return suffixed("unknown", v.Note)
	case Differs:
		return suffixed("differs", v.Note)
	case Known:
	}
	if v.Value == credential.Hidden {
		return suffixed("("+credential.Hidden+")", v.Note)
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v.Value); err != nil {
		return "no JSON"
	}
	return suffixed(strings.TrimSpace(text.String()), v.Note)
}

func suffixed(text, note string) string {
	if note == "" {
		return text
	}
	return text + " (" + note + ")"
}
