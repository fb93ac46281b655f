package hubaccess_test

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/sessions"
)

var key = types.NamespacedName{Namespace: "plant", Name: "hub"}

// connections are those of a manager of a part of all objects, over a HubConnection.
func connections(t *testing.T, part shard.Shard, conn *v1alpha1.HubConnection) *hubaccess.Connections {
	t.Helper()
	scheme := runtime.NewScheme()
	NewWithT(t).Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	NewWithT(t).Expect(corev1.AddToScheme(scheme)).To(Succeed())
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "line", Labels: map[string]string{"tenant": "line"}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}})
	if conn != nil {
		builder = builder.WithObjects(conn)
	}
	reader := builder.Build()
	return hubaccess.New(reader, reader, part, clock.RealClock{})
}

// TestWhichHubAnObjectMayUse: what does not exist and what is not allowed are told alike to
// other namespaces.
func TestWhichHubAnObjectMayUse(t *testing.T) {
	t.Parallel()
	part, err := shard.Parse("shard=a")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	ready := &hubaccess.Connection{Generation: 1, Session: sessions.To("hub.azure-devices.net", nil)}
	selected := func(c *v1alpha1.HubConnection) {
		c.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
			From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"tenant": "line"}},
		}
	}
	for name, tt := range map[string]struct {
		from   string
		change func(*v1alpha1.HubConnection)
		known  *hubaccess.Connection
		part   shard.Shard
		reason string // "" when the hub may be used
		class  outcome.Class
	}{
		"its own namespace's":        {from: "plant", known: ready},
		"of every namespace":         {from: "line", known: ready, change: func(c *v1alpha1.HubConnection) { c.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll }},
		"of a namespace it selects":  {from: "line", known: ready, change: selected},
		"of one it does not select":  {from: "other", known: ready, change: selected, reason: v1alpha1.ReasonHubNotAllowed, class: outcome.Stalled},
		"of no other namespace":      {from: "line", known: ready, reason: v1alpha1.ReasonHubNotAllowed, class: outcome.Stalled},
		"with a broken selector":     {from: "line", known: ready, reason: v1alpha1.ReasonHubNotAllowed, class: outcome.Stalled, change: brokenSelector},
		"that is going":              {from: "plant", known: ready, reason: v1alpha1.ReasonHubNotFound, class: outcome.Waiting, change: going},
		"that is going, from beside": {from: "line", known: ready, reason: v1alpha1.ReasonHubNotAllowed, class: outcome.Stalled, change: going},
		"of another shard":           {from: "plant", known: ready, part: part, reason: v1alpha1.ReasonHubOutsideShard, class: outcome.Stalled},
		"never reconciled":           {from: "plant", class: outcome.Unseen},
		"reconciled before an edit":  {from: "plant", known: &hubaccess.Connection{Session: sessions.To("hub.azure-devices.net", nil)}, class: outcome.Unseen},
		"not ready":                  {from: "plant", known: &hubaccess.Connection{Generation: 1, Why: "R"}, reason: v1alpha1.ReasonHubNotReady, class: outcome.Waiting},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			conn := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Generation: 1}}
			if tt.change != nil {
				tt.change(conn)
			}
			hubs := connections(t, tt.part, conn)
			if tt.known != nil {
				hubs.Publish(t.Context(), key, *tt.known)
			}
			found, err := hubs.Resolve(t.Context(), tt.from, v1alpha1.HubReference{Namespace: key.Namespace, Name: key.Name})
			out := outcome.Of(err)
			g.Expect(out.Class).To(Equal(tt.class))
			if tt.class == outcome.Succeeded {
				g.Expect(found.Key).To(Equal(key))
				g.Expect(found.Session.Host()).To(Equal("hub.azure-devices.net"))
				return
			}
			g.Expect(out.Reason).To(Equal(tt.reason))
		})
	}
}

func brokenSelector(c *v1alpha1.HubConnection) {
	c.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
		From:     v1alpha1.NamespacesFromSelector,
		Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tenant", Operator: "Perhaps"}}},
	}
}

func going(c *v1alpha1.HubConnection) {
	c.DeletionTimestamp, c.Finalizers = &metav1.Time{Time: clock.RealClock{}.Now()}, []string{"example.com/hold"}
}

func TestAHubThatDoesNotExist(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	hubs := connections(t, shard.Shard{}, nil)
	_, err := hubs.Resolve(t.Context(), "plant", v1alpha1.HubReference{Name: "hub"})
	g.Expect(outcome.Of(err).Reason).To(Equal(v1alpha1.ReasonHubNotFound))
	_, err = hubs.Resolve(t.Context(), "line", v1alpha1.HubReference{Namespace: "plant", Name: "hub"})
	g.Expect(outcome.Of(err).Reason).To(Equal(v1alpha1.ReasonHubNotAllowed), "nothing tells another namespace that it does not exist")
}

// TestSubscribersHearOfNews alone: a hub that is published unchanged triggers no fleet.
func TestSubscribersHearOfNews(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	hubs := connections(t, shard.Shard{}, nil)
	heard := 0
	hubs.Subscribe(func(_ context.Context, changed types.NamespacedName) {
		g.Expect(changed).To(Equal(key))
		heard++
	})
	for _, step := range []struct {
		act  func()
		want int
	}{
		{func() { hubs.Forget(t.Context(), key) }, 0},
		{func() { hubs.Publish(t.Context(), key, hubaccess.Connection{Why: "R"}) }, 1},
		{func() { hubs.Publish(t.Context(), key, hubaccess.Connection{Why: "R"}) }, 1},
		{func() {
			hubs.Publish(t.Context(), key, hubaccess.Connection{Session: sessions.To("hub.azure-devices.net", nil)})
		}, 2},
		{func() { hubs.Notify(t.Context(), key) }, 3},
		{func() { hubs.Forget(t.Context(), key) }, 4},
	} {
		step.act()
		g.Expect(heard).To(Equal(step.want))
	}
	_, known := hubs.Known(key)
	g.Expect(known).To(BeFalse())
}

// TestScopes: a namespace that the scopes list uses its devices alone; one that they do not
// list uses none, but for the HubConnection's own.
func TestScopes(t *testing.T) {
	t.Parallel()
	conn := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	open := conn.DeepCopy()
	conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: "line", DeviceIDPrefix: "line7-"}, {Namespace: "line", DeviceIDPrefix: "line8-"}}
	for name, tt := range map[string]struct {
		conn                 *v1alpha1.HubConnection
		namespace, device    string
		covers, names, empty bool
	}{
		"no scopes":             {conn: open, namespace: "line", device: "d", covers: true},
		"in scope":              {conn: conn, namespace: "line", device: "line8-1", covers: true, names: true},
		"out of scope":          {conn: conn, namespace: "line", device: "line9-1"},
		"not listed":            {conn: conn, namespace: "other", device: "line7-1", empty: true},
		"the hub's own, at all": {conn: conn, namespace: "plant", device: "line7-1", covers: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			scope := hubaccess.ScopeOf(tt.conn, tt.namespace)
			g.Expect(scope.Covers(tt.device)).To(Equal(tt.covers))
			g.Expect(scope.Admit(tt.device) == nil).To(Equal(tt.covers))
			g.Expect(scope.Names(tt.device)).To(Equal(tt.names))
			condition, err := query.ParseCondition("tags.plant = 'x' OR true")
			g.Expect(err).NotTo(HaveOccurred())
			narrowed, err := scope.Narrow(condition)
			g.Expect(err != nil).To(Equal(tt.empty))
			if tt.names || tt.device == "line9-1" {
				g.Expect(narrowed.String()).To(ContainSubstring("STARTSWITH(deviceId, 'line8-')"))
			}
		})
	}
}
