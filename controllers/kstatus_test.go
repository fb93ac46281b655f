package controllers_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// objects are all objects of this API in the test's namespace.
func (w *world) objects() []kstatus.Object {
	w.Helper()
	var out []kstatus.Object
	for _, list := range []client.ObjectList{&v1alpha1.HubConnectionList{}, &v1alpha1.DeviceTwinList{}, &v1alpha1.TwinQueryList{}, &v1alpha1.TwinRequestList{}, &v1alpha1.DeviceTwinSetList{}} {
		w.Expect(w.client.List(w.Context(), list, client.InNamespace(w.ns))).To(Succeed())
		w.Expect(meta.EachListItem(list, func(item runtime.Object) error {
			out = append(out, item.(kstatus.Object))
			return nil
		})).To(Succeed())
	}
	return out
}

// checkConditions holds every object against what kstatus lets tools conclude.
func (w *world) checkConditions() {
	w.Helper()
	for _, obj := range w.objects() {
		w.Expect(kstatus.Check(obj)).To(Succeed())
	}
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
	w.Expect(w.client.List(w.Context(), &events, client.InNamespace(w.ns))).To(Succeed())
	for _, written := range []any{w.objects(), events.Items} {
		text, err := json.Marshal(written)
		w.Expect(err).NotTo(HaveOccurred())
		leaked := slices.ContainsFunc(keys, func(key string) bool { return strings.Contains(string(text), key) })
		w.Expect(leaked || strings.Contains(string(text), "SharedAccessSignature")).To(BeFalse(), "a credential leaked into %s", text)
	}
}
