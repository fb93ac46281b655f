package controllers

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// send tells a controller of an object, and waits until it has taken the news; it
// reports false when ctx ended before.
func send(ctx context.Context, to chan<- event.GenericEvent, obj client.Object) bool {
	select {
	case to <- event.GenericEvent{Object: obj}:
		return true
	case <-ctx.Done():
		return false
	}
}

// doorbell wakes a controller for single objects, each with a priority. It is a
// source of that controller.
type doorbell struct {
	mu    sync.RWMutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// source is for the controller's setup.
func (d *doorbell) source() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.queue = queue
		return nil
	})
}

// ring wakes the controller, unless it has not started.
func (d *doorbell) ring(name types.NamespacedName, priority int) {
	d.mu.RLock()
	queue := d.queue
	d.mu.RUnlock()
	if queue == nil {
		return // it is about to look at every object anyway
	}
	enqueue(queue, priority, reconcile.Request{NamespacedName: name})
}

// connectionNamed is a HubConnection by its name alone, as news of it need it.
func connectionNamed(key types.NamespacedName) *v1alpha1.HubConnection {
	return &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
}
