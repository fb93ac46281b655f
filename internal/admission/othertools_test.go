package admission_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// TestAReplaceLosesNothing with the webhooks asked: the tag that leaves the manifest leaves
// the hub, the annotations and the finalizer that are pruned are made up for, and at the end
// the hub is cleaned up.
func TestAReplaceLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hub, err := hubemulator.Start(t.Context(), hubemulator.Options{Devices: []string{"d1"}})
	w.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { w.Expect(hub.Close()).To(Succeed()) })
	w.startManager(true)
	w.connect(hub)
	obj := w.twin(w.on, "t1", `{"former":true,"plant":"Redmond43"}`, "")
	obj.Spec.DeletionPolicy = v1alpha1.DeletionClear
	w.create(obj)
	w.awaitSynced(obj)
	w.replace(obj) // unchanged
	obj.Spec.Tags = raw(`{"plant":"Redmond43"}`)
	w.replace(obj)
	w.awaitSynced(obj)
	w.Expect(tagsOn(w, hub)).To(Equal(`{"plant":"Redmond43"}`))
	pruned := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":null,"finalizers":null}}`))
	w.Expect(w.client.Patch(w.Context(), obj, pruned)).To(Succeed())
	w.Eventually(func() []string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		return obj.Finalizers
	}, patience, "20ms").Should(ConsistOf(v1alpha1.CleanupFinalizer))
	w.Expect(w.client.Delete(w.Context(), obj)).To(Succeed())
	w.Eventually(func() bool {
		return apierrors.IsNotFound(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), &v1alpha1.DeviceTwin{}))
	}, patience, "20ms").Should(BeTrue())
	w.Expect(tagsOn(w, hub)).To(Equal(`{}`))
}

// connect declares a hub that answers.
func (w *world) connect(hub *hubemulator.Server) {
	w.Helper()
	text, err := hub.ServiceConnectionString("service")
	w.Expect(err).NotTo(HaveOccurred())
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.on, Name: "hub"}, StringData: map[string]string{"connectionString": text}})
	conn := w.connection(w.on, "hub")
	conn.Spec.Auth.ConnectionStringSecretRef = &v1alpha1.SecretKeyReference{Name: "hub"}
	conn.Spec.CABundle = hub.CACertificatePEM()
	conn.Spec.ReadBack.Interval.Duration = time.Second
	conn.Spec.Tier = v1alpha1.Tier{SKU: v1alpha1.SKUS3, Units: 10}
	w.create(conn)
}

// replace is `kubectl replace -f` of what is in Git of an object.
func (w *world) replace(obj *v1alpha1.DeviceTwin) {
	w.Helper()
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "DeviceTwin",
		"metadata": map[string]any{"namespace": obj.Namespace, "name": obj.Name}, "spec": obj.Spec,
	})
	w.Expect(err).NotTo(HaveOccurred())
	cmd := exec.CommandContext(w.Context(), suite.env.Kubectl(), "--kubeconfig", suite.env.KubeconfigFile(w.T), "replace", "-f", "-")
	cmd.Stdin = bytes.NewReader(manifest)
	out, err := cmd.CombinedOutput()
	w.Expect(err).NotTo(HaveOccurred(), string(out))
}

// awaitSynced waits until an object is in step.
func (w *world) awaitSynced(obj *v1alpha1.DeviceTwin) {
	w.Helper()
	var ready metav1.Condition
	w.Eventually(func() metav1.ConditionStatus {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		ready = ptr.Deref(kstatus.Current(obj, v1alpha1.ConditionReady), metav1.Condition{})
		return ready.Status
	}, patience, "20ms").Should(Equal(metav1.ConditionTrue), func() string { return ready.Message })
}

func tagsOn(w *world, hub *hubemulator.Server) string {
	w.Helper()
	text, err := hub.TwinJSON("d1")
	w.Expect(err).NotTo(HaveOccurred())
	twin := struct{ Tags map[string]any }{Tags: map[string]any{}}
	w.Expect(json.Unmarshal(text, &twin)).To(Succeed())
	tags, err := json.Marshal(twin.Tags)
	w.Expect(err).NotTo(HaveOccurred())
	return string(tags)
}
