package hubaccess

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
)

// Namespaces knows of namespaces what decides on them: labels, and whether they are going.
// A manager of all namespaces watches them. One of some may only get each by its name, since
// no Role of a namespace allows to watch it: it reads them again now and then. It is safe for
// concurrent use.
type Namespaces struct {
	reader client.Reader
	polled []string // none where reader is a cache

	mu          sync.RWMutex
	known       map[string]labels.Set // of polled, as they were read last
	subscribers []func(ctx context.Context, namespace string)
}

// NewNamespaces returns those of a shard. reader is a cache, and uncached reads what a
// manager of some namespaces has no cache of.
func NewNamespaces(reader, uncached client.Reader, part shard.Shard) *Namespaces {
	n := &Namespaces{reader: reader, known: map[string]labels.Set{}}
	if !part.Everywhere() {
		n.reader, n.polled = uncached, part.Namespaces()
	}
	return n
}

// Subscribe has a function called for each namespace whose labels have changed, while Poll
// runs. It must not block.
func (n *Namespaces) Subscribe(changed func(ctx context.Context, namespace string)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subscribers = append(n.subscribers, changed)
}

// Poll reads the namespaces of a manager of some again and again, until ctx ends.
func (n *Namespaces) Poll(ctx context.Context, every time.Duration) {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		for _, name := range n.polled {
			if err := n.poll(ctx, name); err != nil && ctx.Err() == nil {
				log.FromContext(ctx).Error(err, "a namespace could not be read; changes of its labels are not noticed", "namespace", name)
			}
		}
	}, every)
}

func (n *Namespaces) poll(ctx context.Context, name string) error {
	found, err := n.get(ctx, name)
	n.mu.Lock()
	before, ok := n.known[name]
	if err != nil {
		delete(n.known, name) // it is read when it is needed, and the object told why it cannot be
	} else {
		n.known[name] = found.Labels
	}
	subscribers := n.subscribers
	n.mu.Unlock()
	if err != nil || !ok || labels.Equals(before, found.Labels) {
		return err
	}
	for _, changed := range subscribers {
		changed(ctx, name)
	}
	return nil
}

// Labels are those of a namespace.
func (n *Namespaces) Labels(ctx context.Context, name string) (labels.Set, error) {
	n.mu.RLock()
	known, ok := n.known[name]
	n.mu.RUnlock()
	if ok {
		return known, nil
	}
	found, err := n.get(ctx, name)
	if err != nil {
		return nil, err
	}
	return found.Labels, nil
}

// Stays tells whether a namespace is there, and not going.
func (n *Namespaces) Stays(ctx context.Context, name string) bool {
	found, err := n.get(ctx, name)
	return err == nil && found.DeletionTimestamp.IsZero()
}

func (n *Namespaces) get(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	found := NamespaceMetadata()
	if err := n.reader.Get(ctx, types.NamespacedName{Name: name}, found); err != nil {
		return nil, fmt.Errorf("reading namespace %q: %w", name, err)
	}
	return found, nil
}

// NamespaceMetadata is for reading and watching of namespaces what decides on them.
func NamespaceMetadata() *metav1.PartialObjectMetadata {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return namespace
}
