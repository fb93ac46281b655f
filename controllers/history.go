package controllers

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinstatus"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
)

// untoldWrites remember writes to the hub until a status tells of them: as a rule for the rest
// of one reconcile, and longer where the object moved on meanwhile or the API server is away.
type untoldWrites struct {
	mu sync.Mutex
	of map[types.NamespacedName]untold
}

// untold are the writes for one object, oldest first.
type untold struct {
	uid    types.UID
	writes []v1alpha1.TwinWrite
}

func newUntoldWrites() *untoldWrites { return &untoldWrites{of: map[types.NamespacedName]untold{}} }

func (u *untoldWrites) note(obj *v1alpha1.DeviceTwin, write v1alpha1.TwinWrite) {
	u.mu.Lock()
	defer u.mu.Unlock()
	name := client.ObjectKeyFromObject(obj)
	earlier := u.of[name]
	if earlier.uid != obj.UID {
		earlier = untold{uid: obj.UID} // a namesake's are of no use
	}
	earlier.writes = append(earlier.writes, write)
	earlier.writes = earlier.writes[max(0, len(earlier.writes)-twinstatus.MaxHistory):]
	u.of[name] = earlier
}

func (u *untoldWrites) about(obj *v1alpha1.DeviceTwin) []v1alpha1.TwinWrite {
	u.mu.Lock()
	defer u.mu.Unlock()
	if known := u.of[client.ObjectKeyFromObject(obj)]; known.uid == obj.UID {
		return known.writes
	}
	return nil
}

func (u *untoldWrites) told(obj *v1alpha1.DeviceTwin) {
	u.Forget(client.ObjectKeyFromObject(obj), obj.UID)
}

// Forget drops an object that is gone.
func (u *untoldWrites) Forget(name types.NamespacedName, _ types.UID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.of, name)
}

// tell puts the writes into the status that it does not tell of yet.
func (r *deviceTwinReconciler) tell(ctx context.Context, stored *outcome.Stored) error {
	writes := r.untold.about(stored.Obj)
	if len(writes) == 0 {
		return nil
	}
	before, err := stored.History(ctx)
	if err != nil {
		return err
	}
	stored.Held.Status.History = before
	stored.Obj.Status.History = twinstatus.History(before, writes)
	return nil
}

// entry is how the status tells of a change that the hub accepted.
func (r *deviceTwinReconciler) entry(stored *outcome.Stored, cause string, change twinsync.Change) v1alpha1.TwinWrite {
	entry := twinstatus.Entry(twinstatus.Written{
		At: r.report.Clock.Now(), Generation: stored.Obj.Generation, Cause: toldCause(cause),
		Before: change.Before, After: change.After.ETag, RequestID: change.After.RequestID,
		Held: change.Held, Patch: change.Patch,
	})
	entry.Manager = twinstatus.LastEditor(stored.ManagedFields())
	return entry
}

// toldCause is the cause of a write as a status tells it.
func toldCause(cause string) v1alpha1.WriteCause {
	switch cause {
	case causeDrift:
		return v1alpha1.WriteCauseDrift
	case causeRegistration:
		return v1alpha1.WriteCauseRegistration
	}
	return v1alpha1.WriteCauseEdit
}
