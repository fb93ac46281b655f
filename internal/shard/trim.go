package shard

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// trim removes from cached objects what the manager does not read and what would be most
// of the cache: managed fields, what kubectl apply last applied, the history of a
// DeviceTwin's writes, and the answers of TwinRequests, which may be large and are not read
// once they are written. Objects are changed by patches, which leave alone what is not in the
// cache.
func trim(obj any) (any, error) {
	obj, err := cache.TransformStripManagedFields()(obj)
	if err != nil {
		return nil, fmt.Errorf("trimming what is cached: %w", err)
	}
	if object, err := meta.Accessor(obj); err == nil { // a tombstone is no object
		delete(object.GetAnnotations(), corev1.LastAppliedConfigAnnotation)
	}
	switch obj := obj.(type) {
	case *v1alpha1.DeviceTwin:
		obj.Status.History = nil
	case *v1alpha1.TwinRequest:
		obj.Status.Query, obj.Status.Plan = nil, nil
	}
	return obj, nil
}
