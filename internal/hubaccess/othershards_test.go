package hubaccess

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
)

// TestWhoKeepsAHost that HubConnections of two shards lead to.
func TestWhoKeepsAHost(t *testing.T) {
	t.Parallel()
	part, err := shard.Parse("shard=a")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	const host = "hub.azure-devices.net"
	born := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	refused := metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonUnauthorized}
	for name, tt := range map[string]struct {
		change func(other *v1alpha1.HubConnection)
		whole  bool   // there are no shards
		told   string // "" when the HubConnection may go on
	}{
		"an older one":                       {func(*v1alpha1.HubConnection) {}, false, `HubConnection "other" leads to hub.azure-devices.net as well`},
		"one of another namespace":           {func(o *v1alpha1.HubConnection) { o.Namespace = "tenant" }, false, "a HubConnection of another namespace leads to"},
		"a host in other letters":            {func(o *v1alpha1.HubConnection) { o.Status.HostName = "HUB.azure-devices.net" }, false, `"other"`},
		"as old, by a smaller UID":           {func(o *v1alpha1.HubConnection) { o.CreationTimestamp = metav1.NewTime(born) }, false, `"other"`},
		"as old, by a larger UID":            {func(o *v1alpha1.HubConnection) { o.CreationTimestamp, o.UID = metav1.NewTime(born), "z" }, false, ""},
		"a younger one":                      {func(o *v1alpha1.HubConnection) { o.CreationTimestamp = metav1.NewTime(born.Add(time.Second)) }, false, ""},
		"of the same shard":                  {func(o *v1alpha1.HubConnection) { o.Labels = map[string]string{"shard": "a"} }, false, ""},
		"of another host":                    {func(o *v1alpha1.HubConnection) { o.Status.HostName = "other.azure-devices.net" }, false, ""},
		"that was never reconciled":          {func(o *v1alpha1.HubConnection) { o.Status.HostName = "" }, false, ""},
		"whose credential is refused":        {func(o *v1alpha1.HubConnection) { o.Status.Conditions = []metav1.Condition{refused} }, false, ""},
		"itself, of which the list is older": {func(o *v1alpha1.HubConnection) { o.UID = "own" }, false, ""},
		"without shards":                     {func(*v1alpha1.HubConnection) {}, true, ""},
		"that is going": {func(o *v1alpha1.HubConnection) {
			o.DeletionTimestamp, o.Finalizers = &metav1.Time{Time: born}, []string{"example.com/hold"}
		}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			own := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{
				Namespace: "plant", Name: "own", UID: "own", CreationTimestamp: metav1.NewTime(born), Labels: map[string]string{"shard": "a"},
			}}
			other := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{
				Namespace: "plant", Name: "other", UID: types.UID("a"), CreationTimestamp: metav1.NewTime(born.Add(-time.Second)),
			}}
			other.Status.HostName = host
			tt.change(other)
			scheme := runtime.NewScheme()
			g.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
			reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(other).Build()
			keeps := part
			if tt.whole {
				keeps = shard.Shard{}
			}
			err := New(reader, reader, keeps, clock.RealClock{}).AdmitHost(t.Context(), own, host)
			if tt.told == "" {
				g.Expect(err).NotTo(HaveOccurred())
				return
			}
			out := outcome.Of(err)
			g.Expect(out.Class).To(Equal(outcome.Stalled))
			g.Expect(out.Reason).To(Equal(v1alpha1.ReasonHostInTwoShards))
			g.Expect(out.Message).To(And(ContainSubstring(tt.told), ContainSubstring("shard=a")))
		})
	}
}

// TestOthersOfTheNamespaces: a manager of some namespaces lists those of other shards there,
// and has no right to list any elsewhere.
func TestOthersOfTheNamespaces(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	selected, err := shard.Parse("shard=a")
	g.Expect(err).NotTo(HaveOccurred())
	part, err := selected.In("line,plant")
	g.Expect(err).NotTo(HaveOccurred())
	scheme := runtime.NewScheme()
	g.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	builder := fake.NewClientBuilder().WithScheme(scheme)
	for namespace, host := range map[string]string{"plant": "near.azure-devices.net", "tenant": "far.azure-devices.net"} {
		other := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "other", UID: types.UID(namespace)}}
		other.Status.HostName = host
		builder = builder.WithObjects(other)
	}
	var listed []string
	reader := builder.WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			var options client.ListOptions
			listed = append(listed, options.ApplyOptions(opts).Namespace)
			return c.List(ctx, list, opts...)
		},
	}).Build()
	own := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{
		Namespace: "line", Name: "own", UID: "own", CreationTimestamp: metav1.NewTime(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)),
	}}
	hubs := New(reader, reader, part, clock.RealClock{})
	g.Expect(outcome.Of(hubs.AdmitHost(t.Context(), own, "near.azure-devices.net")).Reason).To(Equal(v1alpha1.ReasonHostInTwoShards))
	g.Expect(hubs.AdmitHost(t.Context(), own, "far.azure-devices.net")).To(Succeed(), "it is not seen")
	g.Expect(listed).To(Equal([]string{"line", "plant"}), "once for all")
}
