package hubaccess_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/sessions"
)

// cluster has the namespace line, labelled as the HubConnection plant/hub admits it, and
// one that may not be read.
func cluster(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	NewWithT(t).Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	NewWithT(t).Expect(corev1.AddToScheme(scheme)).To(Succeed())
	conn := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Generation: 1}}
	conn.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
		From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"tenant": "line"}},
	}
	refusing := interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
		if name.Name == "refused" {
			return apierrors.NewForbidden(corev1.Resource("namespaces"), name.Name, nil)
		}
		return c.Get(ctx, name, obj, opts...)
	}}
	return fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(refusing).WithObjects(conn,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "line", Labels: map[string]string{"tenant": "line"}}}).Build()
}

func watching(t *testing.T, namespaces string) shard.Shard {
	t.Helper()
	part, err := shard.Shard{}.In(namespaces)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return part
}

// TestAManagerOfSomeNamespaces reads them without a cache, and nothing of others.
func TestAManagerOfSomeNamespaces(t *testing.T) {
	t.Parallel()
	live := cluster(t)
	for name, tt := range map[string]struct {
		watched, from string
		reason        string // "" when the hub may be used
	}{
		"admitted":                   {"line,plant", "line", ""},
		"whose labels are not told":  {"plant,refused", "refused", v1alpha1.ReasonHubNotReady},
		"without the hub's":          {"line", "line", v1alpha1.ReasonHubOutsideShard},
		"without one that is absent": {"other", "other", v1alpha1.ReasonHubOutsideShard},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			cached := interceptor.NewClient(live.(client.WithWatch), interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
					g.Expect(name.Namespace).To(Equal("plant"), "the cache has HubConnections alone")
					return c.Get(ctx, name, obj, opts...)
				},
			})
			hubs := hubaccess.New(cached, live, watching(t, tt.watched), clock.RealClock{})
			hubs.Publish(t.Context(), key, hubaccess.Connection{Generation: 1, Session: sessions.To("hub.azure-devices.net", nil)})
			_, err := hubs.Resolve(t.Context(), tt.from, v1alpha1.HubReference{Namespace: key.Namespace, Name: key.Name})
			if tt.reason == "" {
				g.Expect(err).NotTo(HaveOccurred())
				return
			}
			g.Expect(outcome.Of(err).Reason).To(Equal(tt.reason))
			if tt.reason == v1alpha1.ReasonHubOutsideShard {
				_, err := hubs.Read(t.Context(), key)
				g.Expect(err).To(MatchError(apierrors.IsNotFound, "is not found"))
			}
		})
	}
}

// TestPolledNamespaces: subscribers hear of labels that changed, and of nothing else.
func TestPolledNamespaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		live := cluster(t)
		namespaces := hubaccess.NewNamespaces(nil, live, watching(t, "line,refused"))
		var heard []string
		namespaces.Subscribe(func(_ context.Context, name string) { heard = append(heard, name) })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); namespaces.Poll(ctx, time.Minute) }()
		defer func() { cancel(); <-ended }()
		change := func(do func(*corev1.Namespace)) {
			var line corev1.Namespace
			g.Expect(live.Get(ctx, client.ObjectKey{Name: "line"}, &line)).To(Succeed())
			do(&line)
			g.Expect(live.Update(ctx, &line)).To(Succeed())
			synctest.Wait()
			<-time.After(2 * time.Minute)
			synctest.Wait()
		}
		change(func(n *corev1.Namespace) { n.Annotations = map[string]string{"a": "1"} })
		g.Expect(heard).To(BeEmpty(), "what is there at first is looked at anyway")
		change(func(n *corev1.Namespace) { n.Labels["tenant"] = "other" })
		g.Expect(heard).To(Equal([]string{"line"}))
		found, err := namespaces.Labels(ctx, "line")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(found).To(HaveKeyWithValue("tenant", "other"))
		change(func(n *corev1.Namespace) { n.Annotations = nil })
		g.Expect(heard).To(HaveLen(1))
		_, err = namespaces.Labels(ctx, "refused")
		g.Expect(err).To(MatchError(apierrors.IsForbidden, "is forbidden"))
		g.Expect(namespaces.Stays(ctx, "line")).To(BeTrue())
		g.Expect(namespaces.Stays(ctx, "refused")).To(BeFalse())
	})
}
