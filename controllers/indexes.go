package controllers

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

const (
	// hubIndex finds the objects that refer to a HubConnection.
	hubIndex = "hub"
	// idIndex finds the DeviceTwins whose id falls into the same of idBuckets. The cache
	// keeps two sets for each value of an index, some 600 bytes: a value for each id would
	// be a tenth of what an object takes. At 100,000 of them 25 share a bucket.
	idIndex   = "id"
	idBuckets = 1 << 12
)

func idBucket(id hub.ID) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(id.String())) // a hash takes whatever it is given
	return strconv.FormatUint(uint64(sum.Sum32()%idBuckets), 16)
}

func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, kind := range []client.Object{&v1alpha1.DeviceTwin{}, &v1alpha1.TwinQuery{}} {
		if err := indexer.IndexField(ctx, kind, hubIndex, func(obj client.Object) []string {
			return []string{hubOf(obj).String()}
		}); err != nil {
			return fmt.Errorf("indexing %T by hub: %w", kind, err)
		}
	}
	if err := indexer.IndexField(ctx, &v1alpha1.DeviceTwin{}, idIndex, func(obj client.Object) []string {
		if twin, ok := obj.(*v1alpha1.DeviceTwin); ok {
			return []string{idBucket(idOf(twin))}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("indexing DeviceTwins by id: %w", err)
	}
	return nil
}

// hubOf is the HubConnection that a DeviceTwin or TwinQuery refers to.
func hubOf(obj client.Object) types.NamespacedName {
	var ref v1alpha1.HubReference
	switch obj := obj.(type) {
	case *v1alpha1.DeviceTwin:
		ref = obj.Spec.HubRef
	case *v1alpha1.TwinQuery:
		ref = obj.Spec.HubRef
	}
	return types.NamespacedName{Namespace: ref.NamespaceOr(obj.GetNamespace()), Name: ref.Name}
}

// twinsAt lists the DeviceTwins that a question may select: those of its hub and
// source. They are the cache's own, not to be changed.
func twinsAt(ctx context.Context, reader client.Reader, q question, opts ...client.ListOption) ([]v1alpha1.DeviceTwin, error) {
	var twins v1alpha1.DeviceTwinList
	opts = append(opts, client.MatchingFields{hubIndex: q.hub.String()}, client.UnsafeDisableDeepCopy)
	if err := reader.List(ctx, &twins, opts...); err != nil {
		return nil, fmt.Errorf("listing DeviceTwins: %w", err)
	}
	return slices.DeleteFunc(twins.Items, func(obj v1alpha1.DeviceTwin) bool {
		return (obj.Spec.ModuleID != "") != (q.from == hub.Modules)
	}), nil
}

// dependents maps a HubConnection to the objects of a kind that refer to it.
func dependents(reader client.Reader, kind client.ObjectList) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		return requests(ctx, reader, kind, client.MatchingFields{hubIndex: client.ObjectKeyFromObject(obj).String()})
	}
}

// twinsOf lists the DeviceTwins of one device or module id, on whatever hub. They are the
// cache's own, not to be changed.
func twinsOf(ctx context.Context, reader client.Reader, id hub.ID) ([]v1alpha1.DeviceTwin, error) {
	var twins v1alpha1.DeviceTwinList
	if err := reader.List(ctx, &twins, client.MatchingFields{idIndex: idBucket(id)}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the DeviceTwins of %s: %w", id, err)
	}
	return slices.DeleteFunc(twins.Items, func(obj v1alpha1.DeviceTwin) bool { return idOf(&obj) != id }), nil
}

// twinsOfDevice maps what memberships tells of a device to its DeviceTwins.
func twinsOfDevice(reader client.Reader) handler.MapFunc {
	return mapTwins(reader, func(news, twin *v1alpha1.DeviceTwin) bool {
		return twin.Namespace == news.Namespace && hubOf(twin) == hubOf(news)
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
		twins, err := twinsOf(ctx, reader, idOf(news))
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
