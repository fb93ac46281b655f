package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
)

// dependents maps a HubConnection to the objects of a kind that refer to it.
func dependents(reader client.Reader, kind client.ObjectList) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		return requests(ctx, reader, kind, fieldindex.ByHub(client.ObjectKeyFromObject(obj)))
	}
}

// twinsOfDevice maps what memberships tells of a device to its DeviceTwins.
func twinsOfDevice(reader client.Reader) handler.MapFunc {
	return mapTwins(reader, func(news, twin *v1alpha1.DeviceTwin) bool {
		return twin.Namespace == news.Namespace && fieldindex.HubOf(twin) == fieldindex.HubOf(news)
	})
}

// twinsOfID maps what claims tells of a device to all its DeviceTwins but the one that
// let go of it, which may be in the cache still.
func twinsOfID(reader client.Reader) handler.MapFunc {
	return mapTwins(reader, func(news, twin *v1alpha1.DeviceTwin) bool {
		return client.ObjectKeyFromObject(twin) != client.ObjectKeyFromObject(news)
	})
}

// mapTwins maps news of a device to those DeviceTwins of its id that they concern.
func mapTwins(reader client.Reader, concerns func(news, twin *v1alpha1.DeviceTwin) bool) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		news, ok := obj.(*v1alpha1.DeviceTwin)
		if !ok {
			return nil
		}
		twins, err := fieldindex.TwinsOf(ctx, reader, fieldindex.IDOf(news))
		if err != nil {
			log.FromContext(ctx).Error(err, unlisted)
			return nil
		}
		var out []reconcile.Request
		for i := range twins {
			if concerns(news, &twins[i]) {
				out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&twins[i])})
			}
		}
		return out
	}
}

// unlisted is logged where a map function fails, which has nobody to return an error to.
const unlisted = "objects to look at again could not be listed; they wait for their interval"

// guestsOf maps a namespace to its objects: whether they may use the hub of
// another namespace can depend on the namespace's labels.
func guestsOf(reader client.Reader, kind client.ObjectList) handler.MapFunc {
	return func(ctx context.Context, namespace client.Object) []reconcile.Request {
		return requests(ctx, reader, kind, client.InNamespace(namespace.GetName()))
	}
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

func namespaceMetadata() *metav1.PartialObjectMetadata {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return namespace
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
