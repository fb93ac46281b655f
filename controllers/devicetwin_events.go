package controllers

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
)

// eventsOf records events about what was done to values of other writers, and counts it.
func (r *deviceTwinReconciler) eventsOf(before, obj *v1alpha1.DeviceTwin, found hubaccess.Hub, done twinsync.Result) {
	if restored := restored(before, done.Changed); len(restored) > 0 {
		host := found.Session.Host()
		r.counts(host, func() { r.metrics.driftCorrected(host) })
		r.report.Event(obj, "Normal", v1alpha1.EventDriftCorrected, "restored on the hub: "+restored.String())
	}
	if done.Recreated {
		r.report.Event(obj, "Normal", v1alpha1.EventDeviceRecreated,
			fieldindex.IDOf(obj).String()+" was deleted and registered anew by another client; its twin is brought into step again")
	}
	if len(done.LeftBehind) > 0 {
		r.report.Event(obj, "Normal", v1alpha1.EventLeftBehind,
			"no longer declared, but the hub holds another writer's value: "+done.LeftBehind.String())
	}
}

// restored are the leaves that were written because another writer had changed them:
// all of them where the hub was last seen to hold just this declaration, and those
// that the record knows where it held all but what is in conflict.
func restored(before *v1alpha1.DeviceTwin, changed twin.Differences) twin.Differences {
	synced := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionSynced)
	switch {
	case synced == nil || synced.ObservedGeneration != before.Generation:
		return nil
	case synced.Status == metav1.ConditionTrue:
		return changed
	case synced.Reason == v1alpha1.ReasonConflict:
		return changed.Drifted()
	}
	return nil
}
