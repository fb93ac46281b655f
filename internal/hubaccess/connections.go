package hubaccess

import (
	"context"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
)

// Connection is what this process knows of one HubConnection.
type Connection struct {
	Generation int64
	// Session is nil while the HubConnection is not ready; then Why names the reason.
	Session hub.Session
	Why     string
}

// Connections are the hubs that this process has reconciled. The HubConnection
// reconciler publishes them; the others resolve, and are notified when one changes. It is
// safe for concurrent use.
type Connections struct {
	client     client.Reader
	others     *otherShards
	namespaces *Namespaces

	mu          sync.RWMutex
	known       map[types.NamespacedName]Connection
	subscribers []func(ctx context.Context, conn types.NamespacedName)
}

// New returns connections of which none is known. reader is a cache; uncached reads what
// is of other shards than part, and may be nil where there are none.
func New(reader, uncached client.Reader, part shard.Shard, clock clock.PassiveClock) *Connections {
	return &Connections{
		client: reader, others: newOtherShards(part, uncached, clock), namespaces: NewNamespaces(reader, uncached, part),
		known: map[types.NamespacedName]Connection{},
	}
}

// Namespaces are what the connections go by where they admit namespaces by their labels.
func (c *Connections) Namespaces() *Namespaces { return c.namespaces }

// Subscribe has a function called for each HubConnection that changed. It must not block.
func (c *Connections) Subscribe(changed func(ctx context.Context, conn types.NamespacedName)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscribers = append(c.subscribers, changed)
}

// Known is what this process knows of a HubConnection, and false for nothing yet.
func (c *Connections) Known(key types.NamespacedName) (Connection, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	known, ok := c.known[key]
	return known, ok
}

// Uses tells whether a HubConnection that is ready leads to a host.
func (c *Connections) Uses(host string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, known := range c.known {
		if known.Session != nil && known.Session.Host() == host {
			return true
		}
	}
	return false
}

// Publish stores what is known of a HubConnection, and notifies the subscribers if that is
// news.
func (c *Connections) Publish(ctx context.Context, key types.NamespacedName, now Connection) {
	c.mu.Lock()
	before, ok := c.known[key]
	c.known[key] = now
	c.mu.Unlock()
	if !ok || before != now {
		c.Notify(ctx, key)
	}
}

// Forget drops a HubConnection that is gone, and notifies the subscribers.
func (c *Connections) Forget(ctx context.Context, key types.NamespacedName) {
	c.mu.Lock()
	_, ok := c.known[key]
	delete(c.known, key)
	c.mu.Unlock()
	if ok {
		c.Notify(ctx, key)
	}
}

// Notify notifies the subscribers although nothing was published.
func (c *Connections) Notify(ctx context.Context, key types.NamespacedName) {
	c.mu.RLock()
	subscribers := c.subscribers
	c.mu.RUnlock()
	for _, changed := range subscribers {
		changed(ctx, key)
	}
}

// Hub is a hub that an object may use.
type Hub struct {
	// Key is the HubConnection that leads to it.
	Key     types.NamespacedName
	Scope   Scope
	Spec    v1alpha1.HubConnectionSpec
	Session hub.Session
}

// Resolve finds the hub that an object of a namespace refers to. Its errors say
// what the object has to wait for, or what is not allowed.
func (c *Connections) Resolve(ctx context.Context, namespace string, ref v1alpha1.HubReference) (Hub, error) {
	key := types.NamespacedName{Namespace: ref.NamespaceOr(namespace), Name: ref.Name}
	if part := c.others.shard; !part.Reaches(key.Namespace) {
		return Hub{}, outcome.Stall(v1alpha1.ReasonHubOutsideShard, fmt.Sprintf(
			"the manager of this object does not watch namespace %q, where its HubConnection is to be (--watch-namespaces=%s): "+
				"name a HubConnection of a namespace that it watches, or have it watch that one too", key.Namespace, strings.Join(part.Namespaces(), ",")))
	}
	found, err := c.Read(ctx, key)
	if err != nil && !apierrors.IsNotFound(err) {
		return Hub{}, fmt.Errorf("reading HubConnection %s: %w", key, err)
	}
	exists := err == nil && found.DeletionTimestamp.IsZero()
	if !exists && key.Namespace == namespace {
		return Hub{}, outcome.Wait(v1alpha1.ReasonHubNotFound,
			fmt.Sprintf("HubConnection %q does not exist in namespace %q: create it, or correct spec.hubRef in a new object", key.Name, namespace))
	}
	if exists {
		exists, err = c.admits(ctx, found, namespace)
		if err != nil {
			return Hub{}, err
		}
	}
	if !exists {
		return Hub{}, outcome.Stall(v1alpha1.ReasonHubNotAllowed, fmt.Sprintf(
			"HubConnection %s does not exist or does not admit namespace %q: its owner can admit it in spec.allowedNamespaces", key, namespace))
	}
	if !c.others.shard.Holds(found) {
		return Hub{}, outcome.Stall(v1alpha1.ReasonHubOutsideShard, fmt.Sprintf(
			"HubConnection %s is not of the shard of this object, whose manager keeps what has the labels %s: give both the labels of one shard",
			key, c.others.shard))
	}
	known, ok := c.Known(key)
	if !ok || known.Generation != found.Generation {
		return Hub{}, outcome.NotSeen() // its reconciler is about to publish it, which notifies the object's
	}
	if known.Session == nil {
		return Hub{}, outcome.Wait(v1alpha1.ReasonHubNotReady, fmt.Sprintf("HubConnection %s is not ready: %s", key, known.Why))
	}
	return Hub{Key: key, Scope: ScopeOf(found, namespace), Spec: found.Spec, Session: known.Session}, nil
}

// Read finds a HubConnection, one of another shard included: a namespace that may not
// use it is told the same as anywhere. What the manager does not watch it does not find.
func (c *Connections) Read(ctx context.Context, key types.NamespacedName) (*v1alpha1.HubConnection, error) {
	if !c.others.shard.Reaches(key.Namespace) {
		return nil, apierrors.NewNotFound(v1alpha1.SchemeGroupVersion.WithResource("hubconnections").GroupResource(), key.Name)
	}
	var found v1alpha1.HubConnection
	err := c.client.Get(ctx, key, &found)
	if apierrors.IsNotFound(err) {
		return c.others.get(ctx, key, err)
	}
	return &found, err
}

// Cached drops what was read of a HubConnection as one of another shard: it is in the
// cache, or has just left it.
func (c *Connections) Cached(key types.NamespacedName) { c.others.forget(key) }

// AdmitHost keeps a HubConnection from using a host that an older one of another shard uses:
// rates, guards and who keeps which twin are per host, and each manager knows only its own.
func (c *Connections) AdmitHost(ctx context.Context, conn *v1alpha1.HubConnection, host string) error {
	return c.others.admit(ctx, conn, host)
}

// admits tells whether a HubConnection lets a namespace use it.
func (c *Connections) admits(ctx context.Context, found *v1alpha1.HubConnection, namespace string) (bool, error) {
	if found.Namespace == namespace {
		return true, nil
	}
	switch found.Spec.AllowedNamespaces.From {
	case v1alpha1.NamespacesFromAll:
		return true, nil
	case v1alpha1.NamespacesFromSelector:
		return c.selects(ctx, found, namespace)
	case v1alpha1.NamespacesFromSame:
	}
	return false, nil
}

func (c *Connections) selects(ctx context.Context, conn *v1alpha1.HubConnection, namespace string) (bool, error) {
	selector, err := metav1.LabelSelectorAsSelector(conn.Spec.AllowedNamespaces.Selector)
	if err != nil {
		// The HubConnection says so itself; a broken selector selects nothing.
		return false, nil
	}
	found, err := c.namespaces.Labels(ctx, namespace)
	if apierrors.IsForbidden(err) {
		return false, outcome.Wait(v1alpha1.ReasonHubNotReady, fmt.Sprintf(
			"spec.allowedNamespaces of HubConnection %s goes by labels, and the manager may not get namespace %q: grant it that, by a Role there or a ClusterRole",
			client.ObjectKeyFromObject(conn), namespace))
	}
	return err == nil && selector.Matches(found), err
}
