package controllers

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// connection is what this process knows of one HubConnection.
type connection struct {
	generation int64
	// session is nil while the HubConnection is not ready; then why says so.
	session hub.Session
	why     string
}

// connections are the hubs this process has looked at. The HubConnection
// reconciler fills it, the others read it, and are woken when it changes.
type connections struct {
	client    client.Reader
	outsiders *outsiders

	mu          sync.RWMutex
	known       map[types.NamespacedName]connection
	subscribers []func(ctx context.Context, conn types.NamespacedName)
}

func newConnections(reader client.Reader, outside *outsiders) *connections {
	return &connections{client: reader, outsiders: outside, known: map[types.NamespacedName]connection{}}
}

// subscribe has a function told of each HubConnection that changed. It must not wait.
func (c *connections) subscribe(told func(ctx context.Context, conn types.NamespacedName)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscribers = append(c.subscribers, told)
}

func (c *connections) get(key types.NamespacedName) (connection, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	known, ok := c.known[key]
	return known, ok
}

// set stores what is known of a hub, and wakes the objects that depend on it if that is
// news.
func (c *connections) set(ctx context.Context, key types.NamespacedName, now connection) {
	c.mu.Lock()
	before, ok := c.known[key]
	c.known[key] = now
	c.mu.Unlock()
	if !ok || before != now {
		c.tell(ctx, key)
	}
}

func (c *connections) forget(ctx context.Context, key types.NamespacedName) {
	c.mu.Lock()
	_, ok := c.known[key]
	delete(c.known, key)
	c.mu.Unlock()
	if ok {
		c.tell(ctx, key)
	}
}

func (c *connections) tell(ctx context.Context, key types.NamespacedName) {
	c.mu.RLock()
	subscribers := c.subscribers
	c.mu.RUnlock()
	for _, told := range subscribers {
		told(ctx, key)
	}
}

// resolved is a hub that an object may use.
type resolved struct {
	key     types.NamespacedName
	scope   scope
	spec    v1alpha1.HubConnectionSpec
	session hub.Session
}

// resolve finds the hub that an object of a namespace refers to. Its errors say
// what the object has to wait for, or what is not allowed.
func (c *connections) resolve(ctx context.Context, namespace string, ref v1alpha1.HubReference) (resolved, error) {
	key := types.NamespacedName{Namespace: ref.NamespaceOr(namespace), Name: ref.Name}
	found, err := c.read(ctx, key)
	if err != nil && !apierrors.IsNotFound(err) {
		return resolved{}, fmt.Errorf("reading HubConnection %s: %w", key, err)
	}
	exists := err == nil && found.DeletionTimestamp.IsZero()
	if !exists && key.Namespace == namespace {
		return resolved{}, stopWaiting(v1alpha1.ReasonHubNotFound,
			fmt.Sprintf("HubConnection %q does not exist in namespace %q: create it, or correct spec.hubRef in a new object", key.Name, namespace))
	}
	if exists {
		exists, err = c.admits(ctx, found, namespace)
		if err != nil {
			return resolved{}, err
		}
	}
	if !exists {
		return resolved{}, stopStalled(v1alpha1.ReasonHubNotAllowed, fmt.Sprintf(
			"HubConnection %s does not exist or does not admit namespace %q: its owner can admit it in spec.allowedNamespaces", key, namespace))
	}
	if !c.outsiders.shard.Holds(found) {
		return resolved{}, stopStalled(v1alpha1.ReasonHubOutsideShard, fmt.Sprintf(
			"HubConnection %s is not of the shard of this object, whose manager keeps what has the labels %s: give both the labels of one shard",
			key, c.outsiders.shard))
	}
	known, ok := c.get(key)
	if !ok || known.generation != found.Generation {
		return resolved{}, errUnseen // its reconciler is about to look, and will wake us
	}
	if known.session == nil {
		return resolved{}, stopWaiting(v1alpha1.ReasonHubNotReady, fmt.Sprintf("HubConnection %s is not ready: %s", key, known.why))
	}
	return resolved{key: key, scope: scopeOf(found, namespace), spec: found.Spec, session: known.session}, nil
}

// read finds a HubConnection, one of another shard included: whose namespace may not
// use it is told the same as everywhere.
func (c *connections) read(ctx context.Context, key types.NamespacedName) (*v1alpha1.HubConnection, error) {
	var found v1alpha1.HubConnection
	err := c.client.Get(ctx, key, &found)
	if apierrors.IsNotFound(err) {
		return c.outsiders.get(ctx, key, err)
	}
	return &found, err
}

// admits tells whether a HubConnection lets a namespace use it.
func (c *connections) admits(ctx context.Context, found *v1alpha1.HubConnection, namespace string) (bool, error) {
	if found.Namespace == namespace {
		return true, nil
	}
	switch found.Spec.AllowedNamespaces.From {
	case v1alpha1.NamespacesFromAll:
		return true, nil
	case v1alpha1.NamespacesFromSelector:
		return c.selects(ctx, found.Spec.AllowedNamespaces.Selector, namespace)
	}
	return false, nil
}

func (c *connections) selects(ctx context.Context, by *metav1.LabelSelector, namespace string) (bool, error) {
	selector, err := metav1.LabelSelectorAsSelector(by)
	if err != nil {
		// The HubConnection says so itself; a broken selector selects nothing.
		return false, nil
	}
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := c.client.Get(ctx, types.NamespacedName{Name: namespace}, found); err != nil {
		return false, fmt.Errorf("reading namespace %q: %w", namespace, err)
	}
	return selector.Matches(labels.Set(found.Labels)), nil
}
