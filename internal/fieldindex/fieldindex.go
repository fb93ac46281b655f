// Package fieldindex names what a DeviceTwin is about, the hub and the twin there, and
// finds DeviceTwins and TwinQueries by it in the manager's cache. It asks no hub, changes
// no object and keeps nothing.
package fieldindex

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
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

// Add adds the indexes to a cache, before it is started.
func Add(ctx context.Context, indexer client.FieldIndexer) error {
	for _, kind := range []client.Object{&v1alpha1.DeviceTwin{}, &v1alpha1.TwinQuery{}, &v1alpha1.TwinRequest{}, &v1alpha1.DeviceTwinSet{}} {
		if err := indexer.IndexField(ctx, kind, hubIndex, func(obj client.Object) []string {
			return []string{HubOf(obj).String()}
		}); err != nil {
			return fmt.Errorf("indexing %T by hub: %w", kind, err)
		}
	}
	if err := indexer.IndexField(ctx, &v1alpha1.DeviceTwin{}, idIndex, func(obj client.Object) []string {
		if twin, ok := obj.(*v1alpha1.DeviceTwin); ok {
			return []string{idBucket(IDOf(twin))}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("indexing DeviceTwins by id: %w", err)
	}
	return nil
}

// IDOf is the device or module that a DeviceTwin is about.
func IDOf(obj *v1alpha1.DeviceTwin) hub.ID {
	return hub.ID{Device: obj.Spec.DeviceID, Module: obj.Spec.ModuleID}
}

// TargetOf is the twin that a DeviceTwin is about, at a hub that is known by a host name,
// as its ownership record names it.
func TargetOf(obj *v1alpha1.DeviceTwin, host string) twin.Target {
	return twin.Target{Host: host, DeviceID: obj.Spec.DeviceID, ModuleID: obj.Spec.ModuleID, Owner: string(obj.UID)}
}

// TargetName is the same twin as status.target names it.
func TargetName(obj *v1alpha1.DeviceTwin, host string) string {
	return host + "/" + IDOf(obj).String()
}

// SameTarget is the name of the same twin at the hub's classic name: an earlier version
// wrote the one of the hub's names that the credential gave.
func SameTarget(target string) string {
	host, id, found := strings.Cut(target, "/")
	if !found {
		return target
	}
	return hub.ClassicName(host) + "/" + id
}

// HubOf is the HubConnection that a DeviceTwin, a DeviceTwinSet, a TwinQuery or a TwinRequest refers to.
func HubOf(obj client.Object) types.NamespacedName {
	var ref v1alpha1.HubReference
	switch obj := obj.(type) {
	case *v1alpha1.DeviceTwin:
		ref = obj.Spec.HubRef
	case *v1alpha1.TwinQuery:
		ref = obj.Spec.HubRef
	case *v1alpha1.DeviceTwinSet:
		ref = obj.Spec.HubRef
	case *v1alpha1.TwinRequest:
		switch {
		case obj.Spec.Query != nil:
			ref = obj.Spec.Query.HubRef
		case obj.Spec.Plan != nil:
			ref = obj.Spec.Plan.Spec.HubRef
		}
	}
	return types.NamespacedName{Namespace: ref.NamespaceOr(obj.GetNamespace()), Name: ref.Name}
}

// ByID selects the DeviceTwins that may be about a device or module, and a few others.
func ByID(id hub.ID) client.MatchingFields { return client.MatchingFields{idIndex: idBucket(id)} }

// ByHub selects the objects of one of these kinds that refer to a HubConnection.
func ByHub(conn types.NamespacedName) client.MatchingFields {
	return client.MatchingFields{hubIndex: conn.String()}
}

// TwinsAt lists the DeviceTwins that refer to a HubConnection and are of devices, or of
// modules. They are the cache's own, not to be changed.
func TwinsAt(
	ctx context.Context, reader client.Reader, conn types.NamespacedName, from hub.Source, opts ...client.ListOption,
) ([]v1alpha1.DeviceTwin, error) {
	var twins v1alpha1.DeviceTwinList
	opts = append(opts, ByHub(conn), client.UnsafeDisableDeepCopy)
	if err := reader.List(ctx, &twins, opts...); err != nil {
		return nil, fmt.Errorf("listing DeviceTwins: %w", err)
	}
	return slices.DeleteFunc(twins.Items, func(obj v1alpha1.DeviceTwin) bool {
		return (obj.Spec.ModuleID != "") != (from == hub.Modules)
	}), nil
}

// TwinsOf lists the DeviceTwins of one device or module id, on whatever hub. They are the
// cache's own, not to be changed.
func TwinsOf(ctx context.Context, reader client.Reader, id hub.ID) ([]v1alpha1.DeviceTwin, error) {
	var twins v1alpha1.DeviceTwinList
	if err := reader.List(ctx, &twins, ByID(id), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the DeviceTwins of %s: %w", id, err)
	}
	return slices.DeleteFunc(twins.Items, func(obj v1alpha1.DeviceTwin) bool { return IDOf(&obj) != id }), nil
}

// Trigger calls trigger for the DeviceTwins of a device, or of a module as device/module, that
// are concerned. Those that cannot be listed wait for their interval.
func Trigger(
	ctx context.Context, reader client.Reader, name string, trigger func(types.NamespacedName), concerned func(*v1alpha1.DeviceTwin) bool,
) {
	var id hub.ID
	id.Device, id.Module, _ = strings.Cut(name, "/")
	twins, err := TwinsOf(ctx, reader, id)
	if err != nil {
		log.FromContext(ctx).Error(err, "DeviceTwins to reconcile again could not be listed; they wait for their interval")
		return
	}
	for i := range twins {
		if concerned(&twins[i]) {
			trigger(client.ObjectKeyFromObject(&twins[i]))
		}
	}
}

// EachTwin shows the DeviceTwins of the cache, until visit returns false. They are the cache's own,
// not to be changed.
func EachTwin(ctx context.Context, reader client.Reader, visit func(*v1alpha1.DeviceTwin) bool) error {
	var twins v1alpha1.DeviceTwinList
	if err := reader.List(ctx, &twins, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing DeviceTwins: %w", err)
	}
	for i := range twins.Items {
		if !visit(&twins.Items[i]) {
			return nil
		}
	}
	return nil
}
