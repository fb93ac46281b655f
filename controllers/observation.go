package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
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
	// began is when: what the user edited later was not seen.
	began time.Time
	hub   hubaccess.Hub
	twin  *hub.Twin
	twinsync.Result
	outcome  outcome.Outcome
	declared validation.Declaration
	// acknowledged is what the device acknowledges of the declaration; nothing without a twin.
	acknowledged twin.Acknowledgement
	// indexed tells that the twin is as the hub's index showed it, known that this process
	// had seen it before.
	indexed, known bool
	// idle tells that there was nothing to do and nothing new.
	idle bool
	// recordLost tells that the record of what was written is gone.
	recordLost bool
}

// keepsNothing tells that a reconcile ended before there was anything to write into the status.
func (o *observation) keepsNothing() bool {
	return o.outcome.Class == outcome.Unseen || o.outcome.Class == outcome.Parked
}

// contradicted tells that the hub's index shows something else than the status that an earlier
// process wrote: right after a start nothing tells which of the two is older.
func (o *observation) contradicted(stored *outcome.Stored) bool {
	return o.indexed && !o.known && !o.keepsNothing() && !equality.Semantic.DeepEqual(stored.Held, stored.Obj)
}

// observe brings an object and its twin into step, and describes in the object's status what
// came of it. Nothing of that is written yet. began is before the object was read; direct tells that what the hub's index says of the
// twin is not enough.
func (r *deviceTwinReconciler) observe(ctx context.Context, obj *v1alpha1.DeviceTwin, began time.Time, direct bool) (*outcome.Stored, observation) {
	stored := outcome.NewStored(r.client, r.report.Server, obj)
	seen := observation{began: began}
	err := stored.Writable(ctx)
	if err == nil {
		err = r.sync(ctx, stored, direct, &seen)
	}
	seen.outcome = outcome.Of(err)
	if seen.twin != nil {
		seen.acknowledged = twin.Acknowledge(seen.declared.Desired, seen.twin.DesiredStamps(), seen.twin.Reported)
	}
	switch {
	case seen.keepsNothing():
	case seen.idle:
		r.describeMemberships(ctx, obj, seen.hub)
	default:
		r.describe(ctx, obj, seen)
	}
	return stored, seen
}

// sync does all that reads or writes the hub. An object that is in step needs neither, unless
// its twin moved: then what the index showed is enough, as long as nothing has to be written.
func (r *deviceTwinReconciler) sync(ctx context.Context, stored *outcome.Stored, direct bool, seen *observation) (err error) {
	obj := stored.Obj
	if obj.Spec.Suspend {
		return r.suspend(ctx, obj)
	}
	if seen.declared, err = declaredBy(obj); err != nil {
		return err
	}
	if seen.hub, err = r.claimed(ctx, obj); err != nil {
		return err
	}
	if claim.Writes(obj) {
		if errs := validation.WithOwner(&seen.declared, seen.hub.Spec.OwnerTag); len(errs) > 0 {
			return invalidTwin(validation.Text(errs))
		}
	}
	var sync twinsync.Sync
	cause := causeOf(obj)
	sync = twinsync.Sync{
		Writer: r.writer(stored, seen.hub, func(ctx context.Context, change twinsync.Change) {
			if sync.Result.Registered {
				cause = causeRegistration
			}
			r.wrote(ctx, stored, seen, cause, change)
		}), Declared: seen.declared.Document, Policies: seen.declared.Policies,
		Contention: r.contention, Registrar: r.registrar(stored, seen.hub.Session),
	}
	seen.recordLost = r.recordLost(obj)
	inStep := !direct && r.synced.UpToDate(obj, seen.hub)
	if inStep {
		if done, err := r.fromIndex(ctx, &sync, seen); done || err != nil {
			return err
		}
	}
	if sync.Permit, err = r.permits.AcquireFor(obj, seen.hub.Session, inStep); err != nil {
		return err
	}
	defer sync.Permit.Release()
	before := obj.DeepCopy()
	seen.twin, err = sync.Run(ctx)
	seen.Result = sync.Result
	if seen.twin != nil && sync.Result.Plan.Patch.Empty() {
		r.guards.Settled(seen.hub.Key, obj.UID)
	}
	r.eventsOf(before, obj, seen.hub, sync.Result)
	return err
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

// fromIndex makes do with what the hub's index showed of the twin of an object that is in
// step; done is false when the hub itself has to be asked.
func (r *deviceTwinReconciler) fromIndex(ctx context.Context, sync *twinsync.Sync, seen *observation) (done bool, err error) {
	obj := sync.Stored.Obj
	if gone, err := r.secretGone(ctx, sync.Stored, seen.hub); gone || err != nil {
		return false, err
	}
	known := r.known(obj)
	evidence := known.Evidence()
	switch {
	case evidence.Doubt:
		return false, nil
	case evidence.Twin != nil:
		if !sync.Holds(ctx, evidence.Twin) {
			return false, nil
		}
		seen.twin, seen.indexed, seen.known, seen.Result = evidence.Twin, true, evidence.Known, sync.Result
		return true, nil
	case !evidence.Known:
		known.Want()
	case r.synced.RereadDue(obj):
		known.Reread()
	}
	seen.idle = true
	return true, nil
}
