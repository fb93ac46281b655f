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
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

func (w *world) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.ns, Name: name}
}

// create applies a new DeviceTwin; annotations are what a copy brings with it.
func (w *world) create(d *device, spec *v1alpha1.DeviceTwinSpec, leaves reference.Leaves, annotations map[string]string) *declared {
	d.made++
	obj := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(fmt.Sprintf("%s-%d", d.id, d.made)), Spec: *spec.DeepCopy()}
	obj.Annotations = annotations
	obj.Spec.HubRef.Name, obj.Spec.DeviceID = "hub", d.id
	obj.Spec.Tags, obj.Spec.Desired = rawSection(leaves, "tags"), rawSection(leaves, "desired")
	w.Expect(w.client.Create(w.ctx, obj)).To(Succeed())
	made := &declared{name: obj.Name, number: d.made, uid: string(obj.UID), spec: obj.Spec, leaves: leaves}
	d.objects[obj.Name] = made
	d.reference.Create(made.uid, specOf(&made.spec, leaves))
	w.note("create %s: %s", made.name, describe(made))
	return made
}

// edit replaces what an object declares.
func (w *world) edit(d *device, o *declared, leaves reference.Leaves, change func(*v1alpha1.DeviceTwinSpec)) {
	change(&o.spec)
	o.spec.Tags, o.spec.Desired = rawSection(leaves, "tags"), rawSection(leaves, "desired")
	o.leaves = leaves
	patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec", "value": o.spec}})
	w.Expect(err).NotTo(HaveOccurred())
	obj := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(o.name)}
	w.Expect(w.client.Patch(w.ctx, obj, client.RawPatch(types.JSONPatchType, patch))).To(Succeed())
	d.reference.Edit(o.uid, specOf(&o.spec, leaves))
	w.note("edit %s: %s", o.name, describe(o))
}

// update changes an object as a person would, again if a manager wrote in between.
func (w *world) update(o *declared, change func(*v1alpha1.DeviceTwin)) {
	obj := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(o.name)}
	w.Expect(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := w.client.Get(w.ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
			return err
		}
		change(obj)
		return w.client.Update(w.ctx, obj)
	})).To(Succeed())
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

// awaitGone waits until nobody works any more for the objects that went without a
// finalizer: a visit that was under way may still write. Visits to one name come one
// after the other, so the visit to a suspended namesake is the sign.
func (w *world) awaitGone() {
	for _, name := range w.gone {
		namesake := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(name)}
		namesake.Spec.HubRef.Name, namesake.Spec.DeviceID, namesake.Spec.Suspend = "hub", "nobody", true
		w.Expect(w.client.Create(w.ctx, namesake)).To(Succeed())
		w.Eventually(func() int64 {
			w.Expect(w.client.Get(w.ctx, client.ObjectKeyFromObject(namesake), namesake)).To(Succeed())
			return namesake.Status.ObservedGeneration
		}, patience, poll).ShouldNot(BeZero())
		w.Expect(w.client.Delete(w.ctx, namesake)).To(Succeed())
	}
	w.Eventually(func() bool {
		listed := w.list()
		return slices.ContainsFunc(w.gone, func(name string) bool { return listed[name] != nil })
	}, patience, poll).Should(BeFalse())
	w.gone = nil
}

// requestDeletion tells whether a finalizer keeps the object. The API server's answer
// says so, which the usual clients drop; to look afterwards would be too late.
func (w *world) requestDeletion(o *declared) (kept bool) {
	account := suite.env.Config()
	transport, err := rest.HTTPClientFor(account)
	w.Expect(err).NotTo(HaveOccurred())
	req, err := http.NewRequestWithContext(w.ctx, http.MethodDelete,
		strings.TrimSuffix(account.Host, "/")+"/apis/"+v1alpha1.SchemeGroupVersion.String()+"/namespaces/"+w.ns+"/devicetwins/"+o.name, http.NoBody)
	w.Expect(err).NotTo(HaveOccurred())
	resp, err := transport.Do(req)
	w.Expect(err).NotTo(HaveOccurred())
	defer resp.Body.Close()
	var answer struct{ Kind string }
	w.Expect(json.NewDecoder(resp.Body).Decode(&answer)).To(Succeed())
	w.Expect(resp.StatusCode).To(Equal(http.StatusOK), "%+v", answer)
	return answer.Kind != "Status"
}

// annotation is the ownership record of an object.
func (w *world) annotation(o *declared) (string, bool) {
	obj := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(o.name)}
	err := w.client.Get(w.ctx, client.ObjectKeyFromObject(obj), obj)
	if apierrors.IsNotFound(err) {
		return "", false
	}
	w.Expect(err).NotTo(HaveOccurred())
	return obj.Status.Record, obj.Status.Record != ""
}

func (w *world) setAnnotation(o *declared, text string, present bool) {
	if !present {
		text = ""
	}
	obj := &v1alpha1.DeviceTwin{ObjectMeta: w.meta(o.name)}
	w.Expect(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := w.client.Get(w.ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
			return err
		}
		obj.Status.Record = text
		return w.client.Status().Update(w.ctx, obj)
	})).To(Succeed())
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
