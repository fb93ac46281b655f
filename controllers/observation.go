package controllers

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/claim"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// observation is what a reconcile saw of a twin and did about it. Without a twin, the hub
// was not asked or did not answer.
type observation struct {
	twin *hub.Twin
	twinsync.Result
	declared validation.Declaration
	// said is what the device acknowledges of the declaration; nothing without a twin.
	said twin.Acknowledgement
	// hint is the twin as the hub's index showed it, when that was enough; known
	// tells that the twin had been seen before by this process.
	hint  *hub.Twin
	known bool
	// idle tells that there was nothing to do and nothing new.
	idle bool
	// recordLost tells that the record of what was written is gone.
	recordLost bool
}

// visit does all that reads or writes the hub. An object that is in step needs
// neither, unless its twin moved: then what the index showed is enough, as long as
// nothing has to be written.
func (r *deviceTwinReconciler) visit(ctx context.Context, stored *outcome.Stored, direct bool) (hubaccess.Hub, observation, error) {
	obj := stored.Obj
	if obj.Spec.Suspend {
		return hubaccess.Hub{}, observation{}, r.suspend(ctx, obj)
	}
	declared, err := declaredBy(obj)
	if err != nil {
		return hubaccess.Hub{}, observation{}, err
	}
	found, err := r.claimed(ctx, obj)
	if err != nil {
		return found, observation{}, err
	}
	if claim.Writes(obj) {
		if errs := validation.WithOwner(&declared, found.Spec.OwnerTag); len(errs) > 0 {
			return found, observation{}, invalidTwin(validation.Text(errs))
		}
	}
	sync := twinsync.Sync{
		Writer: r.writer(stored, found), Declared: declared.Document, Policies: declared.Policies,
		Contention: r.contention, Registrar: r.registrar(stored, found.Session),
	}
	seen := observation{declared: declared, recordLost: r.recordLost(obj)}
	inStep := !direct && r.settled.holds(obj, found)
	if inStep {
		hinted, done, err := r.hinted(ctx, &sync, found, seen)
		if done || err != nil {
			return found, hinted, err
		}
	}
	if sync.Permit, err = r.permits.AcquireFor(obj, found.Session, inStep); err != nil {
		return found, seen, err
	}
	defer sync.Permit.Release()
	before := obj.DeepCopy()
	seen.twin, err = sync.Run(ctx)
	seen.Result = sync.Result
	if seen.twin != nil && sync.Result.Plan.Patch.Empty() {
		r.guards.Settled(found.Key, obj.UID)
	}
	r.tell(before, obj, sync.Result)
	return found, seen, err
}

// suspend leaves the twin of an object alone.
func (r *deviceTwinReconciler) suspend(ctx context.Context, obj *v1alpha1.DeviceTwin) error {
	if err := r.keepWritten(ctx, obj); err != nil {
		return err
	}
	r.readBack.Untrack(client.ObjectKeyFromObject(obj))
	return outcome.AsError(outcome.Outcome{
		Class: outcome.Suspended, Reason: v1alpha1.ReasonSuspended,
		Message: "spec.suspend is true: the twin is neither read nor written",
	})
}

// hinted makes do with what the hub's index told of the twin of an object that is in
// step; done is false when the hub itself has to be asked.
func (r *deviceTwinReconciler) hinted(ctx context.Context, sync *twinsync.Sync, found hubaccess.Hub, seen observation) (_ observation, done bool, err error) {
	if gone, err := r.secretGone(ctx, sync.Stored, found); gone || err != nil {
		return seen, false, err
	}
	known := r.known(sync.Stored.Obj)
	evidence := known.Evidence()
	switch {
	case evidence.Doubt:
		return seen, false, nil
	case evidence.Twin != nil:
		seen.hint, seen.twin, seen.known = evidence.Twin, evidence.Twin, evidence.Known
		done = sync.Holds(ctx, evidence.Twin)
		seen.Result = sync.Result
		return seen, done, nil
	case !evidence.Known:
		known.Want()
	case r.settled.stale(sync.Stored.Obj):
		known.Reread()
	}
	seen.idle = true
	return seen, true, nil
}
