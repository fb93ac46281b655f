package fieldindex_test

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// indexer adds the indexes to a client that knows some objects.
type indexer struct{ *fake.ClientBuilder }

func (i indexer) IndexField(_ context.Context, kind client.Object, field string, of client.IndexerFunc) error {
	i.WithIndex(kind, field, of)
	return nil
}

func twin(name, conn, device, module string) *v1alpha1.DeviceTwin {
	obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name, UID: types.UID(name)}}
	obj.Spec.HubRef.Name, obj.Spec.DeviceID, obj.Spec.ModuleID = conn, device, module
	return obj
}

func names(twins []v1alpha1.DeviceTwin) []string {
	var out []string
	for i := range twins {
		out = append(out, twins[i].Name)
	}
	return out
}

func TestDeviceTwinsAreFoundByWhatTheyAreAbout(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	scheme := runtime.NewScheme()
	g.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	elsewhere := twin("elsewhere", "hub", "d1", "")
	elsewhere.Spec.HubRef.Namespace = "platform"
	query := &v1alpha1.TwinQuery{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "all"}}
	query.Spec.HubRef.Name = "hub"
	set := &v1alpha1.DeviceTwinSet{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "presses"}}
	set.Spec.HubRef.Name = "hub"
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		twin("first", "hub", "d1", ""), twin("second", "other", "d1", ""), twin("module", "hub", "d1", "m1"), elsewhere, query, set)
	g.Expect(fieldindex.Add(t.Context(), indexer{builder})).To(Succeed())
	cache := builder.Build()
	here := types.NamespacedName{Namespace: "plant", Name: "hub"}

	found, err := fieldindex.TwinsOf(t.Context(), cache, hub.ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(names(found)).To(ConsistOf("first", "second", "elsewhere"))
	for from, want := range map[hub.Source]string{hub.Devices: "first", hub.Modules: "module"} {
		found, err = fieldindex.TwinsAt(t.Context(), cache, here, from)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(names(found)).To(ConsistOf(want))
	}
	var queries v1alpha1.TwinQueryList
	g.Expect(cache.List(t.Context(), &queries, fieldindex.ByHub(here))).To(Succeed())
	g.Expect(queries.Items).To(HaveLen(1))
	var sets v1alpha1.DeviceTwinSetList
	g.Expect(cache.List(t.Context(), &sets, fieldindex.ByHub(here))).To(Succeed())
	g.Expect(sets.Items).To(HaveLen(1))
	g.Expect(fieldindex.HubOf(elsewhere)).To(Equal(types.NamespacedName{Namespace: "platform", Name: "hub"}))
}

func TestTargetsAreNamedByTheClassicHost(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	obj := twin("first", "hub", "d1", "m1")
	g.Expect(fieldindex.TargetName(obj, "h.azure-devices.net")).To(Equal("h.azure-devices.net/d1/m1"))
	g.Expect(fieldindex.TargetOf(obj, "h.azure-devices.net").Owner).To(Equal("first"))
	for recorded, want := range map[string]string{
		"h.service.azure-devices.net/d1/m1": "h.azure-devices.net/d1/m1",
		"h.azure-devices.net/d1":            "h.azure-devices.net/d1",
		"localhost:1234/d1":                 "localhost:1234/d1",
		"":                                  "",
	} {
		g.Expect(fieldindex.SameTarget(recorded)).To(Equal(want))
	}
}
