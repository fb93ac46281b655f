package kubectltwin_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// retag edits tags as a field manager.
func (w *world) retag(obj *v1alpha1.DeviceTwin, manager, tags string) {
	w.Helper()
	patch := []byte(`[{"op":"replace","path":"/spec/tags","value":` + tags + `}]`)
	w.Expect(w.client.Patch(w.Context(), obj, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(manager))).To(Succeed())
}

// TestAnEditIsTakenBack: history shows what the controller wrote, undo declares what was declared before, and the controller
// writes that.
func TestAnEditIsTakenBack(t *testing.T) {
	t.Parallel()
	l := newLive(t, nil, "d1")
	obj := twin("d1")
	l.create(obj)
	l.awaitReason(obj, v1alpha1.ReasonSucceeded)
	l.Expect(l.refused("undo", "d1")).To(ContainSubstring("before which nothing was declared"))
	l.retag(obj, "mistake", `{"plant":"Elsewhere","floor":3,"wifi":{"ssid":"plant"}}`)
	l.awaitReason(obj, v1alpha1.ReasonSucceeded)

	lines := strings.Split(l.ok("history", "d1"), "\n")
	l.Expect(lines[0]).To(MatchRegexp(`^WHEN +GENERATION +MANAGER +CAUSE +LEAVES +ETAGS$`))
	l.Expect(lines[1]).To(MatchRegexp(`^20\S+Z +2 +mistake +Edit +tags.floor, tags.plant, tags.wifi.ssid +\S+ -> ` + regexp.QuoteMeta(obj.Status.ETag) + `$`))
	l.Expect(lines[2]).To(MatchRegexp(`^20\S+Z +1 +\S+ +Edit +tags.plant +`))
	for _, flag := range []string{"-v", "-owide"} {
		out := l.ok("history", "d1", flag)
		l.Expect(out).To(MatchRegexp(`(?m)^20\S+Z  generation 2  Edit by mistake  etag `))
		l.Expect(out).To(MatchRegexp(`(?m)^  tags.plant +"Redmond43" +-> +"Elsewhere"$`))
		l.Expect(out).To(MatchRegexp(`(?m)^  tags.floor +- +-> +3$`))
		l.Expect(out).To(ContainSubstring("the hub's id of the request: "))
	}
	var listed struct{ Items []v1alpha1.TwinWrite }
	l.Expect(json.Unmarshal([]byte(l.ok("history", "devicetwin/d1", "-o", "json")), &listed)).To(Succeed())
	l.Expect(listed.Items).To(HaveLen(2))
	l.Expect(listed.Items[0].Manager).To(Equal("mistake"))

	for _, mode := range []string{"client", "server"} {
		r := l.run("undo", "d1", "--dry-run="+mode)
		l.Expect(r.Code).To(Equal(0), r.Err)
		l.Expect(r.Out).To(MatchRegexp(`devicetwin/d1 of \S+ declares again what it did at generation 1 \((server )?dry run\)`))
		l.Expect(r.Out).To(MatchRegexp(`(?m)^  tags.plant +"Elsewhere" +-> +"Redmond43"$`))
		l.Expect(r.Err).To(BeEmpty())
		l.get(obj)
		l.Expect(obj.Generation).To(BeEquivalentTo(2))
	}
	l.Expect(l.ok("undo", "d1")).To(HavePrefix("devicetwin/d1 of " + l.ns + " declares again what it did at generation 1\n"))
	l.awaitReason(obj, v1alpha1.ReasonSucceeded)
	l.Expect(string(obj.Spec.Tags.Raw)).To(MatchJSON(`{"plant":"Redmond43"}`))
	l.Expect(l.held("d1")).To(And(ContainSubstring("Redmond43"), Not(ContainSubstring("ssid")), Not(ContainSubstring("floor"))))
	l.Expect(obj.ManagedFields).To(ContainElement(HaveField("Manager", cluster.FieldManager)))

	l.ok("undo", "d1")
	l.awaitReason(obj, v1alpha1.ReasonSucceeded)
	l.Expect(string(obj.Spec.Tags.Raw)).To(MatchJSON(`{"plant":"Elsewhere","floor":3,"wifi":{"ssid":"plant"}}`), "an undo is an edit, which is undone as any other")
	l.Expect(l.ok("undo", "d1", "--to", "1")).To(ContainSubstring("generation 1"))
	l.awaitReason(obj, v1alpha1.ReasonSucceeded)
	l.Expect(string(obj.Spec.Tags.Raw)).To(MatchJSON(`{"plant":"Redmond43"}`))
	l.Expect(kstatus.Check(obj)).To(Succeed())
}

// wrote is the status of an object whose last edit changed tags.plant.
func wrote(generation int64) v1alpha1.DeviceTwinStatus {
	return v1alpha1.DeviceTwinStatus{Conditions: inStep(), History: []v1alpha1.TwinWrite{
		{
			Time: metav1.NewTime(time.Unix(1.8e9, 0)), Generation: generation, Cause: v1alpha1.WriteCauseEdit, ETagBefore: "AAAAAAAAAAE=", ETagAfter: "AAAAAAAAAAI=",
			Changes: []v1alpha1.LeafChange{{Path: "tags.plant", Before: raw(`"Elsewhere"`), After: raw(`"Redmond43"`)}},
		},
	}}
}

// TestUndoWarnsOfWhatSetsItBack, where the object is applied.
func TestUndoWarnsOfWhatSetsItBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj := twin("d1")
	obj.Namespace, obj.TypeMeta = w.ns, metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DeviceTwin"}
	applied := &metav1.PartialObjectMetadata{TypeMeta: obj.TypeMeta, ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "d1"}}
	text, err := json.Marshal(map[string]any{"apiVersion": obj.APIVersion, "kind": obj.Kind, "metadata": map[string]any{"name": "d1"}, "spec": obj.Spec})
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(w.client.Patch(w.Context(), applied, client.RawPatch(types.ApplyPatchType, text), client.FieldOwner("kustomize-controller"))).To(Succeed())
	w.retag(obj, "kubectl-edit", `{"plant":"Redmond43","floor":1}`)
	w.said(obj, wrote(obj.Generation))
	r := w.run("undo", "d1", "--dry-run")
	w.Expect(r.Code).To(Equal(0), r.Err)
	w.Expect(r.Err).To(Equal("warning: d1 is applied by kustomize-controller, which sets this back the next time: take the edit back in its source as well\n"))
}

// TestUndoRefuses in one line, and changes nothing.
func TestUndoRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj := twin("d1")
	w.create(obj)
	w.Expect(w.refused("undo", "nowhere")).To(Equal(`error: devicetwins.iothub.devicetwin.io "nowhere" not found`))
	w.Expect(w.refused("history", "nowhere")).To(Equal(`error: devicetwins.iothub.devicetwin.io "nowhere" not found`))
	w.Expect(w.refused("undo")).To(ContainSubstring("accepts 1 arg(s)"))
	w.Expect(w.refused("undo", "hub/x")).To(ContainSubstring("should be the name of a DeviceTwin"))
	w.Expect(w.refused("undo", "d1", "--to", "0")).To(ContainSubstring("--to: should be a generation"))
	w.Expect(w.refused("undo", "d1")).To(Equal("error: devicetwin/d1: nothing to undo: status.history tells of no edit"))
	w.Expect(w.run("history", "d1")).To(Equal(result{Err: "devicetwin/d1: nothing has been written to the hub, as far as status.history tells\n"}))
	w.Expect(w.ok("history", "d1", "-o", "json")).To(MatchJSON(`{"items":[]}`))

	w.retag(obj, "kubectl-edit", `{"plant":"Redmond43","floor":1}`)
	status := wrote(obj.Generation)
	status.History[0].Changes = append(status.History[0].Changes, v1alpha1.LeafChange{Path: "tags.wifi.pwd", Before: raw(`"` + plantedPassword + `"`)})
	w.said(obj, status)
	for _, args := range [][]string{{"undo", "d1"}, {"history", "d1"}, {"history", "d1", "-v"}, {"history", "d1", "-oyaml"}} {
		r := w.run(args...)
		w.Expect(r.Out + r.Err).To(And(ContainSubstring("tags.wifi.pwd"), Not(ContainSubstring(plantedPassword))))
	}
	w.Expect(w.refused("undo", "d1")).To(ContainSubstring("does not hold the values of tags.wifi.pwd (hidden)"))

	w.said(obj, wrote(obj.Generation))
	version := obj.ResourceVersion
	w.as("reader", rbacv1.PolicyRule{APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"get"}})
	w.Expect(w.refused("undo", "d1")).To(ContainSubstring("cannot patch resource"))
	w.Expect(w.ok("history", "d1")).To(ContainSubstring("tags.plant"))
	w.get(obj)
	w.Expect(obj.ResourceVersion).To(Equal(version))
}
