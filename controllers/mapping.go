package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
)

// dependents has the objects of a kind reconciled that refer to a HubConnection.
func dependents(reader client.Reader, kind client.ObjectList, queue *trigger.Queue) func(context.Context, types.NamespacedName) {
	return func(ctx context.Context, conn types.NamespacedName) {
		for _, request := range requests(ctx, reader, kind, fieldindex.ByHub(conn)) {
			queue.Enqueue(request.NamespacedName, trigger.News)
		}
	}
}

// unlisted is logged where objects to reconcile cannot be listed, and there is no caller to tell.
const unlisted = "objects to reconcile could not be listed; they wait for their interval"

// guestsOf maps a namespace to its objects: whether they may use the hub of
// another namespace can depend on the namespace's labels.
func guestsOf(reader client.Reader, kind client.ObjectList) handler.MapFunc {
	return func(ctx context.Context, namespace client.Object) []reconcile.Request {
		return requests(ctx, reader, kind, client.InNamespace(namespace.GetName()))
	}
}

// followNamespaces has the guests of a namespace reconciled when its labels change. Only a
// manager of all namespaces may watch them; one of some polls, and is told by a queue.
func followNamespaces(build *builder.Builder, part shard.Shard, namespaces *hubaccess.Namespaces, guests handler.MapFunc, queue *trigger.Queue) {
	if part.Everywhere() {
		build.WatchesMetadata(hubaccess.NamespaceMetadata(), trigger.Mapped(guests, trigger.News), builder.WithPredicates(labelsChanged()))
		return
	}
	namespaces.Subscribe(func(ctx context.Context, name string) {
		namespace := hubaccess.NamespaceMetadata()
		namespace.Name = name
		for _, guest := range guests(ctx, namespace) {
			queue.Enqueue(guest.NamespacedName, trigger.News)
		}
	})
}

// pollNamespaces is for managers that may not watch them.
func pollNamespaces(namespaces *hubaccess.Namespaces, opts Options) manager.Runnable {
	return manager.RunnableFunc(func(ctx context.Context) error {
		if !opts.Shard.Everywhere() {
			namespaces.Poll(ctx, opts.RetryInterval)
		}
		return nil
	})
}

func requests(ctx context.Context, reader client.Reader, kind client.ObjectList, opts ...client.ListOption) []reconcile.Request {
	list, ok := kind.DeepCopyObject().(client.ObjectList)
	if !ok {
		return nil
	}
	if err := reader.List(ctx, list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		log.FromContext(ctx).Error(err, unlisted)
		return nil
	}
	var out []reconcile.Request
	err := meta.EachListItem(list, func(item runtime.Object) error {
		if obj, ok := item.(client.Object); ok {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj)})
		}
		return nil
	})
	if err != nil {
		log.FromContext(ctx).Error(err, unlisted)
	}
	return out
}

// labelsChanged lets only a change of labels pass: what exists at start is looked
// at anyway.
func labelsChanged() predicate.Funcs {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return !labels.Equals(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels())
		},
	}
}
