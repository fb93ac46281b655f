package past_test

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/past"
)

// edit is a write of one generation: path, before and after for each leaf, "" for no value.
func edit(generation int64, leaves ...[3]string) v1alpha1.TwinWrite {
	return write(v1alpha1.WriteCauseEdit, generation, leaves...)
}

func write(cause v1alpha1.WriteCause, generation int64, leaves ...[3]string) v1alpha1.TwinWrite {
	out := v1alpha1.TwinWrite{Generation: generation, Cause: cause}
	for _, leaf := range leaves {
		out.Changes = append(out.Changes, v1alpha1.LeafChange{Path: leaf[0], Before: raw(leaf[1]), After: raw(leaf[2])})
	}
	return out
}

func raw(text string) *runtime.RawExtension {
	if text == "" {
		return nil
	}
	return &runtime.RawExtension{Raw: []byte(text)}
}

func text(of *runtime.RawExtension) string {
	if of == nil {
		return ""
	}
	return string(of.Raw)
}

func TestUndo(t *testing.T) {
	t.Parallel()
	first := edit(1, [3]string{"tags.a", "", "1"})
	for name, tt := range map[string]struct {
		tags, desired string
		generation    int64
		to            int64
		history       []v1alpha1.TwinWrite // newest first
		want          [2]string
		leaves        string
		refused       string
	}{
		"a value": {
			tags: `{"a":2,"x":9}`, generation: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "1", "2"}), first},
			want: [2]string{`{"a":1,"x":9}`}, leaves: "tags.a 2 -> 1",
		},
		"numbers are compared by value": {
			tags: `{"a":2.0}`, generation: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "1e3", "2"})},
			want: [2]string{`{"a":1e3}`}, leaves: "tags.a 2.0 -> 1e3",
		},
		"a leaf that was new": {
			desired: `{"o":{"b":[1]},"c":1}`, generation: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"desired.o.b", "", "[1]"})},
			want: [2]string{"", `{"c":1}`}, leaves: "desired.o.b [1] -> -",
		},
		"the only leaf": {
			tags: `{"a":1}`, generation: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "", "1"})}, leaves: "tags.a 1 -> -",
		},
		"a leaf that was deleted": {
			tags: `{"o":{"b":1}}`, generation: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.o.c", "2", ""})},
			want: [2]string{`{"o":{"b":1,"c":2}}`}, leaves: "tags.o.c - -> 2",
		},
		"an object in the place of a leaf": {
			tags: `{"a":{"b":1,"c":2}}`, generation: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "1", `{"b":1,"c":2}`})},
			want: [2]string{`{"a":1}`}, leaves: `tags.a {"b":1,"c":2} -> 1`,
		},
		"a generation that was written in two steps, with drift in between": {
			tags: `{"a":2,"b":2}`, generation: 2, history: []v1alpha1.TwinWrite{
				edit(2, [3]string{"tags.b", "1", "2"}), write(v1alpha1.WriteCauseDrift, 2, [3]string{"tags.a", "7", "2"}), edit(2, [3]string{"tags.a", "1", "2"}), first,
			},
			want: [2]string{`{"a":1,"b":1}`}, leaves: "tags.b 2 -> 1, tags.a 2 -> 1",
		},
		"the owner tag is not of the spec": {
			tags: `{"a":2}`, generation: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "1", "2"}, [3]string{"tags.managedBy", "", `"us"`})},
			want: [2]string{`{"a":1}`}, leaves: "tags.a 2 -> 1",
		},
		"to a generation": {
			tags: `{"a":4,"b":1}`, generation: 5, to: 1, history: []v1alpha1.TwinWrite{
				edit(4, [3]string{"tags.a", "2", "4"}), edit(3, [3]string{"tags.b", "", "1"}), edit(2, [3]string{"tags.a", "1", "2"}), first,
			},
			want: [2]string{`{"a":1}`}, leaves: "tags.a 4 -> 1, tags.b 1 -> -",
		},

		"no history":    {tags: `{"a":1}`, generation: 1, refused: "nothing to undo: status.history tells of no edit"},
		"nothing to go": {tags: `{"a":1}`, generation: 3, to: 2, refused: "nothing to undo: status.history tells of no write"},
		"only drift": {
			tags: `{"a":1}`, generation: 1, history: []v1alpha1.TwinWrite{write(v1alpha1.WriteCauseDrift, 1, [3]string{"tags.a", "2", "1"})},
			refused: "nothing to undo: status.history tells of no edit",
		},
		"the first declaration": {tags: `{"a":1}`, generation: 1, history: []v1alpha1.TwinWrite{first}, refused: "before which nothing was declared"},
		"another edit since": {
			tags: `{"a":2}`, generation: 3, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "1", "2"}), first},
			refused: "the spec was edited since: it is at generation 3, and the last edit in status.history is generation 2",
		},
		"the leaf was edited since": {
			tags: `{"a":3}`, generation: 3, to: 1, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "1", "2"}), first},
			refused: "tags.a was edited since it was written",
		},
		"the leaf is declared again": {
			tags: `{"a":1}`, generation: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "1", ""})}, refused: "tags.a was edited since",
		},
		"a leaf stands above it": {
			tags: `{"o":1}`, generation: 3, to: 1, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.o.b", "1", ""}), first}, refused: "tags.o.b was edited since",
		},
		"a write is missing": {
			tags: `{"a":4}`, generation: 4, to: 1, history: []v1alpha1.TwinWrite{edit(4, [3]string{"tags.a", "3", "4"}), edit(2, [3]string{"tags.a", "1", "2"}), first},
			refused: "a write in between is not in status.history",
		},
		"too far": {
			tags: `{"a":2}`, generation: 6, to: 3, history: []v1alpha1.TwinWrite{edit(6, [3]string{"tags.a", "1", "2"}), edit(5, [3]string{"tags.a", "0", "1"})},
			refused: "status.history goes back to generation 5 only",
		},
		"where it is": {tags: `{"a":2}`, generation: 2, to: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "1", "2"})}, refused: "the object is at generation 2"},
		"no edit since": {
			tags: `{"a":1}`, generation: 3, to: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "0", "1"})}, refused: "nothing to undo: no edit after generation 2",
		},
		"a value that may be a credential": {
			tags: `{"pwd":"new"}`, generation: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.pwd", `"hunter2"`, `"new"`})},
			refused: "status.history does not hold the values of tags.pwd (hidden)",
		},
		"no path": {tags: `{}`, generation: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"reported.a", "1", "2"})}, refused: `names a leaf "reported.a" that no twin can have`},
		"no JSON": {tags: `{"a":1}`, generation: 2, history: []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "{", "1"})}, refused: "tags.a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Generation: tt.generation}}
			obj.Spec.Tags, obj.Spec.Desired, obj.Status.History = raw(tt.tags), raw(tt.desired), tt.history
			done, err := past.Undo(obj, tt.to)
			if tt.refused != "" {
				g.Expect(err).To(MatchError(ContainSubstring(tt.refused)))
				g.Expect(err.Error()).NotTo(ContainSubstring("hunter2"))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect([2]string{text(done.Tags), text(done.Desired)}).To(Equal(tt.want))
			leaves := ""
			for i, leaf := range done.Leaves {
				if i > 0 {
					leaves += ", "
				}
				leaves += fmt.Sprintf("%s %s -> %s", leaf.Path, past.Spelled(leaf.Now), past.Spelled(leaf.New))
			}
			g.Expect(leaves).To(Equal(tt.leaves))
			g.Expect(text(obj.Spec.Tags)).To(Equal(tt.tags), "what is given is not changed")
		})
	}
}

func TestWhatIsCutOrLeftOutIsNotUndone(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
	obj.Spec.Tags = raw(`{"a":2}`)
	obj.Status.History = []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", `"long…"`, "2"})}
	obj.Status.History[0].Changes[0].Withheld = v1alpha1.WithheldCut
	_, err := past.Undo(obj, 0)
	g.Expect(err).To(MatchError(ContainSubstring("does not hold the values of tags.a (cut)")))
	obj.Status.History = []v1alpha1.TwinWrite{edit(2, [3]string{"tags.a", "1", "2"})}
	obj.Status.History[0].Omitted = 3
	_, err = past.Undo(obj, 0)
	g.Expect(err).To(MatchError(ContainSubstring("leaves out 3 of its leaves")))
}

func TestApplier(t *testing.T) {
	t.Parallel()
	fields := metav1.NewFieldsV1(`{"f:spec":{"f:tags":{}}}`)
	for want, meta := range map[string]metav1.ObjectMeta{
		"":                     {ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl-edit", Operation: metav1.ManagedFieldsOperationUpdate, FieldsV1: fields}}},
		"kustomize-controller": {ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kustomize-controller", Operation: metav1.ManagedFieldsOperationApply, FieldsV1: fields}}},
		"kubectl apply":        {Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
		"helm":                 {Annotations: map[string]string{"meta.helm.sh/release-name": "plant"}},
	} {
		NewWithT(t).Expect(past.Applier(&v1alpha1.DeviceTwin{ObjectMeta: meta})).To(Equal(want))
	}
}
