package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// stored is a DeviceTwin beside what the API server is known to hold of it. What a
// visit learns goes into the object's status and is written at its end; what has to be
// known before the hub is changed is written ahead.
type stored struct {
	client client.Client
	server *outcome.APIServer
	obj    *v1alpha1.DeviceTwin
	held   *v1alpha1.DeviceTwin
}

func newStored(c client.Client, server *outcome.APIServer, obj *v1alpha1.DeviceTwin) *stored {
	return &stored{client: c, server: server, obj: obj, held: obj.DeepCopy()}
}

// writable is an error while the API server takes no writes: what a visit would find
// could not be recorded.
func (s *stored) writable(ctx context.Context) error {
	if !s.server.Away() {
		return nil
	}
	return s.prove(ctx)
}

// writeAhead stores what the status says by now. Without news it proves that the
// object is still the one that was read. Either fails when it is not: a manager that
// was paused must not act on a declaration, or a record, that another one has left
// behind since.
func (s *stored) writeAhead(ctx context.Context) error {
	if equality.Semantic.DeepEqual(s.obj.Status, s.held.Status) {
		return s.prove(ctx)
	}
	patch := client.MergeFromWithOptions(s.held, client.MergeFromWithOptimisticLock{})
	if err := s.server.Answered(s.client.Status().Patch(ctx, s.obj, patch)); err != nil {
		return fmt.Errorf("writing the status ahead of the hub: %w", err)
	}
	s.held = s.obj.DeepCopy()
	return nil
}

// prove makes a patch that changes nothing. The API server holds its resourceVersion
// against etcd, not against a cache, and writes nothing.
func (s *stored) prove(ctx context.Context) error {
	same := &v1alpha1.DeviceTwin{}
	same.Namespace, same.Name = s.obj.Namespace, s.obj.Name
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"resourceVersion":%q}}`, s.obj.ResourceVersion))
	if err := s.server.Answered(s.client.Status().Patch(ctx, same, patch)); err != nil {
		return fmt.Errorf("proving that the object has not changed: %w", err)
	}
	return nil
}
