package compare_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/compare"
)

func raw(text string) *runtime.RawExtension { return &runtime.RawExtension{Raw: []byte(text)} }

// conditions are Ready and Synced, then what is given as TYPE STATUS REASON MESSAGE.
func conditions(synced, reason, message string, more ...string) []metav1.Condition {
	out := []metav1.Condition{
		{Type: "Ready", Status: metav1.ConditionStatus(synced), Reason: reason, Message: message},
		{Type: "Synced", Status: metav1.ConditionStatus(synced), Reason: reason, Message: message},
	}
	for _, text := range more {
		parts := strings.SplitN(text, " ", 4)
		out = append(out, metav1.Condition{Type: parts[0], Status: metav1.ConditionStatus(parts[1]), Reason: parts[2], Message: parts[3]})
	}
	return out
}

// rows are the leaves of a comparison: a sign, the path, what the hub holds and what the device reports.
func rows(t *testing.T, obj *v1alpha1.DeviceTwin) []string {
	t.Helper()
	twin, err := compare.Of(obj)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, leaf := range twin.Leaves {
		sign := "="
		if leaf.Differs {
			sign = "!"
		} else if leaf.Uncertain {
			sign = "?"
		}
		out = append(out, sign+" "+leaf.Path+" "+leaf.Hub.Text()+" "+leaf.Device.Text())
	}
	return out
}

func TestWhatTheStatusTells(t *testing.T) {
	t.Parallel()
	const ok = "the hub holds what is declared"
	for name, tt := range map[string]struct {
		spec   v1alpha1.DeviceTwinSpec
		status v1alpha1.DeviceTwinStatus
		want   []string
	}{
		"never looked at": {v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":1}`)}, v1alpha1.DeviceTwinStatus{}, []string{"? tags.a unknown -"}},
		"stale": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":1}`)}, v1alpha1.DeviceTwinStatus{ObservedGeneration: 6, Conditions: conditions("True", "Succeeded", ok)},
			[]string{"? tags.a unknown -"},
		},
		"suspended": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":1}`), Suspend: true}, v1alpha1.DeviceTwinStatus{Conditions: conditions("True", "Succeeded", ok)},
			[]string{"? tags.a unknown -"},
		},
		"hub away": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":1}`)}, v1alpha1.DeviceTwinStatus{Conditions: conditions("Unknown", "HubUnreachable", "no answer")},
			[]string{"? tags.a unknown -"},
		},
		"in step": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":{},"b":[1]}`)}, v1alpha1.DeviceTwinStatus{Conditions: conditions("True", "Succeeded", ok)},
			[]string{"= tags.a {} -", "= tags.b [1] -"},
		},
		"read-only hub": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":1,"b":2}`)}, v1alpha1.DeviceTwinStatus{
				Conditions: conditions("False", "HubReadOnly", "1 change"), Plan: &v1alpha1.PlannedChange{Changes: 1, Patch: raw(`{"tags":{"a":1}}`)},
			},
			[]string{"! tags.a differs -", "= tags.b 2 -"},
		},
		"a plan too long to be shown": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":1}`)}, v1alpha1.DeviceTwinStatus{
				Conditions: conditions("False", "HubReadOnly", "many"), Plan: &v1alpha1.PlannedChange{Changes: 999},
			},
			[]string{"? tags.a unknown -"},
		},
		"refused": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":1}`)}, v1alpha1.DeviceTwinStatus{Conditions: conditions("False", "RefusedByHub", "HTTP 400")},
			[]string{"? tags.a unknown -"},
		},
		"names that begin alike": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":1,"ab":2}`)}, v1alpha1.DeviceTwinStatus{
				Conditions: conditions("True", "Succeeded", ok, `Drifted True Yielded yielded: tags.ab (declared 2, held 3)`),
			},
			[]string{"= tags.a 1 -", "! tags.ab 3 -"},
		},
		"a path at the end of another": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":1}`), Desired: raw(`{"tags":{"a":1}}`), Mirror: v1alpha1.Mirror{MaxBytes: ptr.To[int32](0)}}, v1alpha1.DeviceTwinStatus{
				Conditions: conditions("True", "Succeeded", ok, `Drifted True Yielded yielded: desired.tags.a (declared 1, held 2)`),
			},
			[]string{"= tags.a 1 -", "! desired.tags.a 2 unknown"},
		},
		"values with brackets": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":"x), held y","b":1}`)}, v1alpha1.DeviceTwinStatus{
				Conditions: conditions("True", "Succeeded", ok, `Drifted True Yielded yielded: tags.a (declared "x), held y", held "), tags.b (declared 1, held 2"), tags.c (declared 1, held nothing)`),
			},
			[]string{`! tags.a "), tags.b (declared 1, held 2" -`, "! tags.b differs -"}, // found in another's value: a difference too many, never one too few
		},
		"shortened values": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":"long"}`)}, v1alpha1.DeviceTwinStatus{
				Conditions: conditions("True", "Succeeded", ok, `Drifted True Yielded yielded: tags.a (declared "lon…, held "other…)`),
			},
			[]string{"! tags.a differs -"},
		},
		"more than are listed": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":1,"b":2}`), Policies: []v1alpha1.PathPolicy{{Path: "tags.a", Policy: v1alpha1.PolicyYield}}}, v1alpha1.DeviceTwinStatus{
				Conditions: conditions("True", "Succeeded", ok, `Drifted True Yielded yielded: tags.z (declared 1, held 2), and 3 more`),
			},
			[]string{"? tags.a unknown -", "= tags.b 2 -"},
		},
		"inside an array": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":[1,2]}`)}, v1alpha1.DeviceTwinStatus{
				Conditions: conditions("True", "Succeeded", ok, `Drifted True Yielded yielded: tags.a[1] (declared 2, held 3)`),
			},
			[]string{"! tags.a differs -"},
		},
		"conflict": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"a":1,"b":2}`)}, v1alpha1.DeviceTwinStatus{
				Conditions: conditions("False", "Conflict", `tags.a is declared as a value, and the hub holds another writer's tags.a.x below it (declared 1, held {"x":1})`),
			},
			[]string{"! tags.a differs -", "= tags.b 2 -"},
		},
		"device": {
			v1alpha1.DeviceTwinSpec{Desired: raw(`{"a":1,"b":2,"c":3,"d":4}`)}, v1alpha1.DeviceTwinStatus{
				ETag: "e", Reported: raw(`{"a":1,"b":{"value":2,"ac":202,"av":3,"ad":"at work"},"c":9}`),
				Conditions: conditions("True", "Succeeded", ok, `Acknowledged False AwaitingDevice not acknowledged yet: desired.b, desired.c, desired.d; the device is at work on desired.b with code 202 ("at work")`),
			},
			[]string{"= desired.a 1 1", `! desired.b 2 2 (code 202, "at work")`, "! desired.c 3 9", "! desired.d 4 -"},
		},
		"device by an answer above": {
			v1alpha1.DeviceTwinSpec{Desired: raw(`{"fan":{"speed":3}}`)}, v1alpha1.DeviceTwinStatus{
				ETag: "e", Reported: raw(`{"fan":{"ac":200,"av":3}}`), Conditions: conditions("True", "Succeeded", ok, `Acknowledged True Acknowledged all`),
			},
			[]string{"= desired.fan.speed 3 - (code 200)"},
		},
		"device that is not mirrored": {
			v1alpha1.DeviceTwinSpec{Desired: raw(`{"a":1,"b":2}`), Mirror: v1alpha1.Mirror{Paths: []string{"b"}}}, v1alpha1.DeviceTwinStatus{
				ETag: "e", Reported: raw(`{"b":2}`), Conditions: conditions("True", "Succeeded", ok, `Acknowledged True Acknowledged all`),
			},
			[]string{"= desired.a 1 unknown (acknowledged)", "= desired.b 2 2"},
		},
		"device that never reported": {
			v1alpha1.DeviceTwinSpec{Tags: raw(`{"t":1}`), Desired: raw(`{"a":1}`)}, v1alpha1.DeviceTwinStatus{
				ETag: "e", Conditions: conditions("True", "Succeeded", ok, `Acknowledged Unknown NeverReported nothing yet`),
			},
			[]string{"= tags.t 1 -", "? desired.a 1 -"},
		},
		"device without a mirror": {
			v1alpha1.DeviceTwinSpec{Desired: raw(`{"a":1}`), Mirror: v1alpha1.Mirror{MaxBytes: ptr.To[int32](0)}}, v1alpha1.DeviceTwinStatus{
				ETag: "e", Conditions: conditions("True", "Succeeded", ok, `Acknowledged Unknown NeverReported nothing yet`),
			},
			[]string{"? desired.a 1 unknown"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Name: "t", Generation: 7}, Spec: tt.spec, Status: tt.status}
			if obj.Status.ObservedGeneration == 0 {
				obj.Status.ObservedGeneration = 7
			}
			NewWithT(t).Expect(rows(t, obj)).To(Equal(tt.want))
		})
	}
}
