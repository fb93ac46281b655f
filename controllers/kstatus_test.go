package controllers_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// objects are all objects of this API in the test's namespace.
func (w *world) objects() []conditioned {
	w.Helper()
	var out []conditioned
	for _, list := range []client.ObjectList{&v1alpha1.HubConnectionList{}, &v1alpha1.DeviceTwinList{}, &v1alpha1.TwinQueryList{}} {
		w.Expect(w.client.List(w.ctx, list, client.InNamespace(w.ns))).To(Succeed())
		w.Expect(meta.EachListItem(list, func(item runtime.Object) error {
			out = append(out, item.(conditioned))
			return nil
		})).To(Succeed())
	}
	return out
}

// checkConditions holds every object against what kstatus lets tools conclude.
func (w *world) checkConditions() {
	w.Helper()
	for _, obj := range w.objects() {
		conditions := *obj.GetConditions()
		find := func(kind string) *metav1.Condition { return meta.FindStatusCondition(conditions, kind) }
		ready, reconciling, stalled := find(v1alpha1.ConditionReady), find(v1alpha1.ConditionReconciling), find(v1alpha1.ConditionStalled)
		name := obj.GetName()
		w.Expect(ready).NotTo(BeNil(), "%s: Ready is always there", name)
		for _, c := range conditions {
			w.Expect(c.Reason).NotTo(BeEmpty(), "%s: %s", name, c.Type)
			w.Expect(c.Message).NotTo(BeEmpty(), "%s: %s", name, c.Type)
			w.Expect(c.ObservedGeneration).To(BeNumerically("<=", obj.GetGeneration()), "%s: %s", name, c.Type)
		}
		for _, abnormal := range []*metav1.Condition{reconciling, stalled} {
			w.Expect(abnormal == nil || abnormal.Status == metav1.ConditionTrue).To(BeTrue(), "%s: %+v is absent or true", name, abnormal)
		}
		w.Expect(reconciling == nil || stalled == nil).To(BeTrue(), "%s: never both Reconciling and Stalled", name)
		w.Expect(w.compute(obj)).To(Equal(expectedStatus(obj, ready, reconciling, stalled)), "%s: %+v", name, conditions)
	}
}

func expectedStatus(obj conditioned, ready, reconciling, stalled *metav1.Condition) status.Status {
	switch {
	case ready.ObservedGeneration != obj.GetGeneration(), reconciling != nil, ready.Status == metav1.ConditionUnknown:
		return status.InProgressStatus
	case stalled != nil:
		return status.FailedStatus
	}
	return status.CurrentStatus
}

func (w *world) compute(obj conditioned) status.Status {
	w.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	w.Expect(err).NotTo(HaveOccurred())
	result, err := status.Compute(&unstructured.Unstructured{Object: content})
	w.Expect(err).NotTo(HaveOccurred())
	return result.Status
}

var secretPart = regexp.MustCompile(`SharedAccessKey=([A-Za-z0-9+/=]+)`)

// checkNoCredentials searches everything that the manager wrote for keys.
func (w *world) checkNoCredentials() {
	w.Helper()
	var keys []string
	for _, policy := range []string{"service", "iothubowner"} {
		keys = append(keys, secretPart.FindStringSubmatch(w.credential(policy))[1])
	}
	var events eventsv1.EventList
	w.Expect(w.client.List(w.ctx, &events, client.InNamespace(w.ns))).To(Succeed())
	for _, written := range []any{w.objects(), events.Items} {
		text, err := json.Marshal(written)
		w.Expect(err).NotTo(HaveOccurred())
		leaked := slices.ContainsFunc(keys, func(key string) bool { return strings.Contains(string(text), key) })
		w.Expect(leaked || strings.Contains(string(text), "SharedAccessSignature")).To(BeFalse(), "a credential leaked into %s", text)
	}
}
