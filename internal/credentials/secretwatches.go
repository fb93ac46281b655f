package credentials

import (
	"context"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/devicetwin-io/devicetwin-operator/internal/perkey"
)

// SecretWatches follow exactly the Secrets that HubConnections name, one watch
// for each, so that a changed credential is picked up at once and no other Secret
// of the cluster ever enters the manager's memory.
type SecretWatches struct {
	client kubernetes.Interface
	// changed is told of HubConnections whose Secret changed.
	changed func(types.NamespacedName)
	// due are the Secrets whose watch is to begin.
	due workqueue.TypedInterface[types.NamespacedName]

	mu       sync.Mutex
	watches  map[types.NamespacedName]*secretWatch         // by Secret
	followed map[types.NamespacedName]types.NamespacedName // HubConnection to Secret
}

type secretWatch struct {
	stop      context.CancelFunc // nil until it runs
	followers map[types.NamespacedName]struct{}
	// latest is the resourceVersion that every follower was told of or has read;
	// empty while there is no such Secret.
	latest string
}

// NewSecretWatches returns watches of none. changed must not block.
func NewSecretWatches(client kubernetes.Interface, changed func(types.NamespacedName)) *SecretWatches {
	return &SecretWatches{
		client:   client,
		changed:  changed,
		due:      workqueue.NewTyped[types.NamespacedName](),
		watches:  map[types.NamespacedName]*secretWatch{},
		followed: map[types.NamespacedName]types.NamespacedName{},
	}
}

// Start implements manager.Runnable: it watches until ctx ends, and returns when the watches
// have ended.
func (w *SecretWatches) Start(ctx context.Context) error {
	perkey.Run(ctx, w.due, w.watch)
	return nil
}

// Follow makes a HubConnection be reconciled again whenever a Secret changes from
// what was read: from a resourceVersion, empty if there was none.
func (w *SecretWatches) Follow(conn, secret types.NamespacedName, read string) {
	if w.add(conn, secret, read) {
		w.changed(conn)
	}
}

// add tells whether the Secret has changed since it was read.
func (w *SecretWatches) add(conn, secret types.NamespacedName, read string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.followed[conn] == secret {
		return false
	}
	w.drop(conn)
	w.followed[conn] = secret
	if found, ok := w.watches[secret]; ok {
		found.followers[conn] = struct{}{}
		return found.latest != read
	}
	w.watches[secret] = &secretWatch{followers: map[types.NamespacedName]struct{}{conn: {}}, latest: read}
	w.due.Add(secret)
	return false
}

// Unfollow ends the watch of a HubConnection's Secret if no other one needs it.
func (w *SecretWatches) Unfollow(conn types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(conn)
}

func (w *SecretWatches) drop(conn types.NamespacedName) {
	secret, ok := w.followed[conn]
	if !ok {
		return
	}
	delete(w.followed, conn)
	found := w.watches[secret]
	delete(found.followers, conn)
	if len(found.followers) > 0 {
		return
	}
	delete(w.watches, secret)
	if found.stop != nil {
		found.stop()
	}
}

// watch follows a Secret until ctx ends or no HubConnection needs it.
func (w *SecretWatches) watch(ctx context.Context, secret types.NamespacedName) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w.mu.Lock()
	found := w.watches[secret]
	if found != nil {
		found.stop = stop
	}
	w.mu.Unlock()
	if found != nil {
		w.run(ctx, secret)
	}
}

func (w *SecretWatches) run(ctx context.Context, secret types.NamespacedName) {
	one := fields.OneTermEqualSelector(metav1.ObjectNameField, secret.Name).String()
	secrets := w.client.CoreV1().Secrets(secret.Namespace)
	store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
				opts.FieldSelector = one
				return secrets.List(ctx, opts)
			},
			WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
				opts.FieldSelector = one
				return secrets.Watch(ctx, opts)
			},
		},
		ObjectType: &corev1.Secret{},
		// Only that something changed matters: keep no credential in memory.
		Transform: func(obj any) (any, error) {
			if secret, ok := obj.(*corev1.Secret); ok {
				return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
					Namespace: secret.Namespace, Name: secret.Name, ResourceVersion: secret.ResourceVersion,
				}}, nil
			}
			return obj, nil
		},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { w.seen(secret, versionOf(obj)) },
			UpdateFunc: func(_, obj any) { w.seen(secret, versionOf(obj)) },
			DeleteFunc: func(any) { w.seen(secret, "") },
		},
	})
	var first sync.WaitGroup
	first.Go(func() {
		// A Secret that went after it was read and before the watch began is no event.
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) && len(store.ListKeys()) == 0 {
			w.reread(secret)
		}
	})
	informer.RunWithContext(ctx)
	first.Wait()
}

// reread has the followers of a Secret read it again.
func (w *SecretWatches) reread(secret types.NamespacedName) {
	w.mu.Lock()
	var conns []types.NamespacedName
	if found, ok := w.watches[secret]; ok && found.latest != "" {
		conns = slices.Collect(maps.Keys(found.followers))
	}
	w.mu.Unlock()
	for _, conn := range conns {
		w.changed(conn)
	}
}

func versionOf(obj any) string {
	if secret, ok := obj.(*corev1.Secret); ok {
		return secret.ResourceVersion
	}
	return ""
}

func (w *SecretWatches) seen(secret types.NamespacedName, version string) {
	for _, conn := range w.note(secret, version) {
		w.changed(conn)
	}
}

// note returns the HubConnections to which a version of a Secret is news.
func (w *SecretWatches) note(secret types.NamespacedName, version string) []types.NamespacedName {
	w.mu.Lock()
	defer w.mu.Unlock()
	found, ok := w.watches[secret]
	if !ok || found.latest == version {
		return nil
	}
	found.latest = version
	return slices.Collect(maps.Keys(found.followers))
}
