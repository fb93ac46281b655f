package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// The priorities of what has objects looked at, in the controllers' queues and at the
// hubs. Each source of events and each result names its own: left out, a result
// inherits that of the visit before for good, and an event counts as 0.
const (
	priorityEdit     = 100 // a person changed or deleted an object
	priorityCreate   = 90  // a person created one: a rollout must not hold up an edit
	priorityConflict = 80  // somebody else wrote in between
	priorityDrift    = 60  // the hub holds something else than declared
	priorityNews     = 0   // what an object refers to changed, or the manager has started
	priorityReadBack = -100
)

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

// mapped has the objects looked at that a map function finds for news of another one.
func mapped(find handler.MapFunc, priority int) handler.EventHandler {
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

// edits has objects looked at that a person touched, and tells how urgent that is.
func edits(urgent func(types.NamespacedName, int)) handler.EventHandler {
	add := func(obj client.Object, priority int, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		name := client.ObjectKeyFromObject(obj)
		if priority > priorityNews {
			urgent(name, priority)
		}
		enqueue(queue, priority, reconcile.Request{NamespacedName: name})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if e.IsInInitialList {
				add(e.Object, priorityNews, queue)
				return
			}
			add(e.Object, priorityCreate, queue)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(e.ObjectNew, priorityEdit, queue)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(queue, priorityEdit, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
		},
	}
}
