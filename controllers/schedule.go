package controllers

import (
	"context"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/registration"
	"github.com/devicetwin-io/devicetwin-operator/internal/synccache"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
)

// schedule is when an object that is in step has to be reconciled although nothing moves:
// what it waits for comes with time.
func (r *deviceTwinReconciler) schedule(obj *v1alpha1.DeviceTwin, seen observation) synccache.Schedule {
	var again synccache.Schedule
	now, readBack := r.report.Clock.Now(), seen.hub.Spec.ReadBack
	ask := func(in time.Duration) { again.AskAt(now.Add(max(in, time.Second))) }
	if seen.Unsettled {
		ask(twinsync.InFlightTime)
	}
	if r.known(obj) == nil {
		ask(readBack.FullSweep()) // another object is notified when the twin moves
	}
	if r.contention.Of(obj.UID).Leaves != "" {
		ask(readBack.Interval.Duration)
	}
	if registration.KeepsSecret(obj) {
		again.Secret = now.Add(readBack.FullSweep())
	}
	// A device that reports no settings is never late.
	if pending := seen.acknowledged.PendingSince; !pending.IsZero() && seen.acknowledged.Spoken > 0 {
		if deadline := pending.Add(obj.Spec.AcknowledgeTimeout.Duration); deadline.After(now) {
			again.Reread = deadline.Add(time.Second)
		}
	}
	return again
}

// secretGone tells whether the Secret of an object that is in step has to be made again. It
// is checked now and then, at the API server: the hub is asked only when it is gone.
func (r *deviceTwinReconciler) secretGone(ctx context.Context, stored *outcome.Stored, found hubaccess.Hub) (bool, error) {
	if !registration.KeepsSecret(stored.Obj) || !r.synced.SecretDue(stored.Obj) {
		return false, nil
	}
	if gone, err := r.registrar(stored, found.Session).SecretGone(ctx); gone || err != nil {
		return true, err
	}
	r.synced.SecretExists(stored.Obj, found.Spec.ReadBack.FullSweep())
	return false, nil
}
