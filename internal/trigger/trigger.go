// Package trigger has objects reconciled: it adds them to a controller's queue, each with a
// priority, for what the user did and for what is learned elsewhere in the process. It never
// waits, so that it may be used during a reconcile, and knows nothing of what a reconcile does.
package trigger

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// The priorities of what triggers objects, in the controllers' queues and at the hubs.
// Each source of events and each result names its own: left out, a result inherits that of
// the reconcile before for good, and an event counts as 0.
const (
	Edit     = 100  // the user changed or deleted an object
	Create   = 90   // the user created one: a rollout must not hold up an edit
	Conflict = 80   // another writer changed the twin in between
	Drift    = 60   // the hub holds something else than declared
	News     = 0    // what an object refers to changed, or the manager has started
	ReadBack = -100 // nothing is known to have changed
)

// Queue triggers single objects of one controller. The zero value is ready to be used, and
// is a source of that controller.
type Queue struct {
	mu    sync.RWMutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// Source is for the controller's setup.
func (q *Queue) Source() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.queue = queue
		return nil
	})
}

// Enqueue has an object reconciled. Before the controller has started it does nothing: a
// start reconciles every object.
func (q *Queue) Enqueue(name types.NamespacedName, priority int) {
	q.mu.RLock()
	queue := q.queue
	q.mu.RUnlock()
	if queue != nil {
		enqueue(queue, priority, reconcile.Request{NamespacedName: name})
	}
}

// enqueue adds requests to a controller's queue.
func enqueue(queue workqueue.TypedRateLimitingInterface[reconcile.Request], priority int, requests ...reconcile.Request) {
	if by, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		by.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(priority)}, requests...)
		return
	}
	for _, request := range requests {
		queue.Add(request)
	}
}

// Mapped triggers the objects that a map function finds for a change of another one.
func Mapped(find handler.MapFunc, priority int) handler.EventHandler {
	add := func(ctx context.Context, obj client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		enqueue(queue, priority, find(ctx, obj)...)
	}
	return handler.Funcs{
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.ObjectNew, queue)
		},
		GenericFunc: func(ctx context.Context, e event.GenericEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.Object, queue)
		},
	}
}

// Edits triggers objects that the user changed, and calls urgent with their priority.
func Edits(urgent func(types.NamespacedName, int)) handler.EventHandler {
	add := func(obj client.Object, priority int, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		name := client.ObjectKeyFromObject(obj)
		if priority > News {
			urgent(name, priority)
		}
		enqueue(queue, priority, reconcile.Request{NamespacedName: name})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if e.IsInInitialList {
				add(e.Object, News, queue)
				return
			}
			add(e.Object, Create, queue)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(e.ObjectNew, Edit, queue)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(queue, Edit, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
		},
	}
}
