package controllers

import (
	"context"
	"fmt"
	"slices"

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
	// idIndex finds the DeviceTwins of one device or module id, on whatever hub.
	idIndex = "id"
	// deviceIndex finds the DeviceTwins of one device or module.
	deviceIndex = "device"
)

func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, kind := range []client.Object{&v1alpha1.DeviceTwin{}, &v1alpha1.TwinQuery{}} {
		if err := indexer.IndexField(ctx, kind, hubIndex, func(obj client.Object) []string {
			return []string{hubOf(obj).String()}
		}); err != nil {
			return fmt.Errorf("indexing %T by hub: %w", kind, err)
		}
	}
	if err := indexer.IndexField(ctx, &v1alpha1.DeviceTwin{}, deviceIndex, func(obj client.Object) []string {
		return []string{deviceKey(obj)}
	}); err != nil {
		return fmt.Errorf("indexing DeviceTwins by device: %w", err)
	}
	if err := indexer.IndexField(ctx, &v1alpha1.DeviceTwin{}, idIndex, func(obj client.Object) []string {
		if twin, ok := obj.(*v1alpha1.DeviceTwin); ok {
			return []string{idOf(twin).String()}
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

func deviceKey(obj client.Object) string {
	twin, ok := obj.(*v1alpha1.DeviceTwin)
	if !ok {
		return ""
	}
	return hubOf(twin).String() + "/" + idOf(twin).String()
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

// twinsOfDevice maps what memberships tells of a device to its DeviceTwins.
func twinsOfDevice(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		return requests(ctx, reader, &v1alpha1.DeviceTwinList{},
			client.InNamespace(obj.GetNamespace()), client.MatchingFields{deviceIndex: deviceKey(obj)})
	}
}

// twinsOfID maps what claims tells of a device to all its DeviceTwins but the one that
// let go of it, which may be in the cache still.
func twinsOfID(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		twin, ok := obj.(*v1alpha1.DeviceTwin)
		if !ok {
			return nil
		}
		all := requests(ctx, reader, &v1alpha1.DeviceTwinList{}, client.MatchingFields{idIndex: idOf(twin).String()})
		return slices.DeleteFunc(all, func(one reconcile.Request) bool { return one.NamespacedName == client.ObjectKeyFromObject(twin) })
	}
}

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
	if err := reader.List(ctx, list, opts...); err != nil {
		log.FromContext(ctx).Error(err, "objects to look at again could not be listed; they wait for their interval")
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
		log.FromContext(ctx).Error(err, "objects to look at again could not be listed; they wait for their interval")
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
