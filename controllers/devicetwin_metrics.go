package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
)

// edited notes what the user did to an object.
func (r *deviceTwinReconciler) edited(name types.NamespacedName, priority int) {
	r.edits.note(name)
	r.permits.Mark(name, priority)
}

// served ends the wait of an object's edit that needs no change of the hub, or has to be
// corrected first.
func (r *deviceTwinReconciler) served(name types.NamespacedName, seen observation) {
	switch seen.outcome.Class {
	case outcome.Succeeded, outcome.Suspended, outcome.Stalled:
		r.edits.take(name, seen.began)
	case outcome.Waiting, outcome.Transient, outcome.Unseen, outcome.Parked:
	}
}

// wrote counts a change of the twin of an object that the hub accepted, and notes it for the status.
func (r *deviceTwinReconciler) wrote(ctx context.Context, stored *outcome.Stored, seen *observation, cause string, change twinsync.Change) {
	host, obj := seen.hub.Session.Host(), stored.Obj
	r.patched(ctx, host, cause, change)
	r.untold.note(obj, r.entry(stored, cause, change))
	if cause == causeDrift {
		return
	}
	if waited, ok := r.edits.take(client.ObjectKeyFromObject(obj), seen.began); ok {
		r.counts(host, func() { r.metrics.editArrived(host, waited) })
	}
}

// patched counts a PATCH that the hub accepted and logs it: each change of the hub leaves a line, of names and without
// values.
func (r *deviceTwinReconciler) patched(ctx context.Context, host, cause string, change twinsync.Change) {
	r.counts(host, func() { r.metrics.patched(host, cause) })
	log.FromContext(ctx).Info("changed the twin", "device", change.After.ID, "cause", cause, "leaves", change.Leaves(),
		"etagBefore", change.Before, "etag", change.After.ETag, "requestID", change.After.RequestID)
}

// causeOf is why the twin of an object is changed, by what its status said before: the hub
// held this declaration once, or holds all of it that others leave to it.
func causeOf(before *v1alpha1.DeviceTwin) string {
	synced := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionSynced)
	if synced == nil || synced.ObservedGeneration != before.Generation {
		return causeEdit
	}
	if synced.Status == metav1.ConditionTrue || synced.Reason == v1alpha1.ReasonConflict || (outcome.Outcome{Reason: synced.Reason}).Effects().Contended {
		return causeDrift
	}
	return causeEdit
}

// reported notes how long a report took until the status that shows it was written. What an
// object shows of its twin at first, or by an edited spec.mirror, is no report.
func (r *deviceTwinReconciler) reported(before, now *v1alpha1.DeviceTwin, seen observation) {
	if seen.twin == nil || before.Status.ETag == "" || before.Status.ObservedGeneration != now.Generation {
		return
	}
	if before.Status.Connectivity == now.Status.Connectivity && equality.Semantic.DeepEqual(before.Status.Reported, now.Status.Reported) {
		return
	}
	if at := seen.twin.ReportedAt(); !at.IsZero() {
		host := seen.hub.Session.Host()
		r.counts(host, func() { r.metrics.reportShown(host, r.report.Clock.Since(at)) })
	}
}

// counts counts something for a host, unless its last HubConnection went meanwhile.
func (r *deviceTwinReconciler) counts(host string, count func()) {
	count()
	if !r.connections.Uses(host) {
		r.metrics.forget(host)
	}
}

// dropSeries drops the series of a host that no HubConnection leads to any more.
func (r *hubConnectionReconciler) dropSeries(before hubaccess.Connection) {
	if before.Session != nil && !r.connections.Uses(before.Session.Host()) {
		r.metrics.forget(before.Session.Host())
	}
}
