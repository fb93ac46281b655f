package model_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

func (w *world) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.ns, Name: name}
}

// create applies a new DeviceTwin.
func (w *world) create(d *device, spec *v1alpha1.DeviceTwinSpec, leaves reference.Leaves) *declared {
	d.made++
	obj := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(fmt.Sprintf("%s-%d", d.id, d.made)), Spec: *spec.DeepCopy()}
	obj.Spec.HubRef.Name, obj.Spec.DeviceID = "hub", d.id
	obj.Spec.Tags, obj.Spec.Desired = rawSection(leaves, "tags"), rawSection(leaves, "desired")
	w.Expect(w.client.Create(w.context(), obj)).To(Succeed())
	made := &declared{name: obj.Name, number: d.made, uid: string(obj.UID), spec: obj.Spec, leaves: leaves}
	d.objects[obj.Name] = made
	d.reference.Create(made.uid, specOf(&made.spec, leaves))
	w.note("create %s: %s", made.name, describe(made))
	return made
}

// edit replaces what an object declares.
func (w *world) edit(d *device, o *declared, leaves reference.Leaves, change func(*v1alpha1.DeviceTwinSpec)) {
	o.declare(leaves, change)
	patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec", "value": o.spec}})
	w.Expect(err).NotTo(HaveOccurred())
	obj := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(o.name)}
	w.Expect(w.client.Patch(w.context(), obj, client.RawPatch(types.JSONPatchType, patch))).To(Succeed())
	d.reference.Edit(o.uid, specOf(&o.spec, leaves))
	w.note("edit %s: %s", o.name, describe(o))
}

func (o *declared) declare(leaves reference.Leaves, change func(*v1alpha1.DeviceTwinSpec)) {
	change(&o.spec)
	o.spec.Tags, o.spec.Desired = rawSection(leaves, "tags"), rawSection(leaves, "desired")
	o.leaves = leaves
}

// replace puts what is in Git in the place of an object, as kubectl replace does: what the
// managers and the API server added to its metadata is not there any more.
func (w *world) replace(d *device, o *declared, leaves reference.Leaves) {
	edited := !leaves.Equal(o.leaves)
	if edited {
		o.declare(leaves, unchanged)
	}
	w.Eventually(func() error {
		var held v1alpha1.DeviceTwin
		w.Expect(w.client.Get(w.context(), client.ObjectKey{Namespace: w.ns, Name: o.name}, &held)).To(Succeed())
		fresh := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(o.name), Spec: o.spec}
		fresh.ResourceVersion = held.ResourceVersion
		return w.client.Update(w.context(), fresh)
	}, patience, poll).Should(Succeed()) // a manager may write in between
	if edited {
		d.reference.Edit(o.uid, specOf(&o.spec, leaves))
	}
	w.note("replace %s (edited: %t): %s", o.name, edited, describe(o))
}

// prune takes a part of its metadata from an object.
func (w *world) prune(o *declared, part string) {
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{%q:null}}`, part))
	w.Expect(w.client.Patch(w.context(), &v1alpha1.DeviceTwin{ObjectMeta: w.meta(o.name)}, patch)).To(Succeed())
	w.note("the %s of %s are pruned", part, o.name)
}

// delete deletes an object, which its finalizer may keep for now.
func (w *world) delete(d *device, o *declared) {
	o.leaving = w.requestDeletion(o)
	d.reference.Delete(o.uid, o.leaving)
	w.note("delete %s (kept by its finalizer: %t)", o.name, o.leaving)
	if !o.leaving {
		delete(d.objects, o.name)
		w.gone = append(w.gone, o.name)
	}
}

// awaitGone waits until no reconcile is under way any more for the objects that went
// without a finalizer: it may still write. Reconciles of one name run one after the
// other, so that of a suspended namesake shows that they have ended.
func (w *world) awaitGone() {
	for _, name := range w.gone {
		namesake := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(name)}
		namesake.Spec.HubRef.Name, namesake.Spec.DeviceID, namesake.Spec.Suspend = "hub", "unregistered", true
		w.Expect(w.client.Create(w.context(), namesake)).To(Succeed())
		w.Eventually(func() int64 {
			w.Expect(w.client.Get(w.context(), client.ObjectKeyFromObject(namesake), namesake)).To(Succeed())
			return namesake.Status.ObservedGeneration
		}, patience, poll).Should(BeNumerically(">", 0))
		w.Expect(w.client.Delete(w.context(), namesake)).To(Succeed())
	}
	w.Eventually(func() bool {
		listed := w.list()
		return slices.ContainsFunc(w.gone, func(name string) bool { return listed[name] != nil })
	}, patience, poll).Should(BeFalse())
	w.gone = nil
}

// requestDeletion reports whether a finalizer keeps the object. The API server's answer
// says so, which the usual clients drop; a read afterwards would be too late.
func (w *world) requestDeletion(o *declared) (kept bool) {
	account := suite.env.Config()
	transport, err := rest.HTTPClientFor(account)
	w.Expect(err).NotTo(HaveOccurred())
	req, err := http.NewRequestWithContext(w.context(), http.MethodDelete,
		strings.TrimSuffix(account.Host, "/")+"/apis/"+v1alpha1.SchemeGroupVersion.String()+"/namespaces/"+w.ns+"/devicetwins/"+o.name, nil)
	w.Expect(err).NotTo(HaveOccurred())
	resp, err := transport.Do(req)
	w.Expect(err).NotTo(HaveOccurred())
	defer resp.Body.Close()
	var answer struct{ Kind string }
	w.Expect(json.NewDecoder(resp.Body).Decode(&answer)).To(Succeed())
	w.Expect(resp.StatusCode).To(Equal(http.StatusOK), "%+v", answer)
	return answer.Kind != "Status"
}

// record is the ownership record of an object; "" when it has none.
func (w *world) record(o *declared) string {
	obj := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(o.name)}
	err := w.client.Get(w.context(), client.ObjectKeyFromObject(obj), obj)
	if apierrors.IsNotFound(err) {
		return ""
	}
	w.Expect(err).NotTo(HaveOccurred())
	return obj.Status.Record
}

// setRecord puts another record in the place of an object's own; "" removes it.
func (w *world) setRecord(o *declared, text string) {
	w.patchStatus(o, map[string]any{"record": text})
}

// patchStatus is what an administrator may do to a status; nil wipes it.
func (w *world) patchStatus(o *declared, status map[string]any) {
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/status", "value": map[string]any{}}})
	kind := types.JSONPatchType
	if status != nil {
		patch, err = json.Marshal(map[string]any{"status": status})
		kind = types.MergePatchType
	}
	w.Expect(err).NotTo(HaveOccurred())
	obj := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(o.name)}
	w.Expect(w.client.Status().Patch(w.context(), obj, client.RawPatch(kind, patch))).To(Succeed())
}

func describe(o *declared) string {
	text := o.leaves.String()
	if o.spec.Policy != v1alpha1.PolicyEnforce {
		text += " " + string(o.spec.Policy)
	}
	for _, p := range o.spec.Policies {
		text += fmt.Sprintf(" %s:%s", p.Path, p.Policy)
	}
	if o.spec.DeletionPolicy != v1alpha1.DeletionRetain {
		text += " deletionPolicy=" + string(o.spec.DeletionPolicy)
	}
	if o.spec.Suspend {
		text += " suspended"
	}
	return text
}
