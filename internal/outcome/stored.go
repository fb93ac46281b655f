package outcome

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// Stored is a DeviceTwin beside what the API server is known to hold of it. What a
// reconcile learns goes into the object's status and is written at its end; what has to be
// known before the hub is changed is written ahead.
type Stored struct {
	client client.Client
	server *APIServer
	// Obj is what a reconcile works on, and Held what the API server holds of it.
	Obj, Held *v1alpha1.DeviceTwin
}

// NewStored returns an object as it was read.
func NewStored(c client.Client, server *APIServer, obj *v1alpha1.DeviceTwin) *Stored {
	return &Stored{client: c, server: server, Obj: obj, Held: obj.DeepCopy()}
}

// Writable is an error while the API server takes no writes: what a reconcile would find
// could not be recorded.
func (s *Stored) Writable(ctx context.Context) error {
	if !s.server.Away() {
		return nil
	}
	return s.prove(ctx)
}

// WriteAhead stores what the status says by now. Without news it proves that the
// object is still the one that was read. Either fails when it is not: a manager that
// was paused must not act on a declaration, or a record, that another one has left
// behind since.
func (s *Stored) WriteAhead(ctx context.Context) error {
	if equality.Semantic.DeepEqual(s.Obj.Status, s.Held.Status) {
		return s.prove(ctx)
	}
	patch := client.MergeFromWithOptions(s.Held, client.MergeFromWithOptimisticLock{})
	if err := s.server.Answered(s.client.Status().Patch(ctx, s.Obj, patch)); err != nil {
		return fmt.Errorf("writing the status ahead of the hub: %w", err)
	}
	s.Held = s.Obj.DeepCopy()
	return nil
}

// prove makes a patch that changes nothing. The API server holds its resourceVersion
// against etcd, not against a cache, and writes nothing.
func (s *Stored) prove(ctx context.Context) error {
	same := &v1alpha1.DeviceTwin{}
	same.Namespace, same.Name = s.Obj.Namespace, s.Obj.Name
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"resourceVersion":%q}}`, s.Obj.ResourceVersion))
	if err := s.server.Answered(s.client.Status().Patch(ctx, same, patch)); err != nil {
		return fmt.Errorf("proving that the object has not changed: %w", err)
	}
	return nil
}
