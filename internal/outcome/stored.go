package outcome

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	// Obj is what a reconcile works on, and Held what the API server holds of it: neither has a
	// history of writes, which no cache holds, so that a status is written without it unless
	// it grew.
	Obj, Held *v1alpha1.DeviceTwin

	// answered tells that the API server has answered with the whole object, which history and
	// managed are of.
	answered bool
	history  []v1alpha1.TwinWrite
	managed  []metav1.ManagedFieldsEntry
}

// NewStored returns an object as it was read.
func NewStored(c client.Client, server *APIServer, obj *v1alpha1.DeviceTwin) *Stored {
	obj.Status.History = nil
	return &Stored{client: c, server: server, Obj: obj, Held: obj.DeepCopy()}
}

// History is what the API server holds of status.history. It is asked only where it has
// answered nothing since the object was read: each write to the hub follows such an answer.
func (s *Stored) History(ctx context.Context) ([]v1alpha1.TwinWrite, error) {
	if !s.answered {
		if err := s.prove(ctx); err != nil {
			return nil, err
		}
	}
	return s.history, nil
}

// ManagedFields are those of the object by the last answer of the API server, none before it.
func (s *Stored) ManagedFields() []metav1.ManagedFieldsEntry { return s.managed }

func (s *Stored) note(answer *v1alpha1.DeviceTwin) {
	s.answered, s.history, s.managed = true, answer.Status.History, answer.ManagedFields
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
	s.note(s.Obj)
	s.Obj.Status.History = nil
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
	s.note(same)
	return nil
}
