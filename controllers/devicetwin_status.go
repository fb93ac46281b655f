package controllers

import (
	"cmp"
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/claim"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinstatus"
)

// describe is the status as a value of what was seen.
func (r *deviceTwinReconciler) describe(ctx context.Context, obj *v1alpha1.DeviceTwin, seen observation) {
	out, ofTwin := seen.outcome, seen.outcome
	switch {
	case out.Class == outcome.Succeeded:
		out = inStep(seen.Plan)
		ofTwin = out
	case out.Effects().SecretForbidden && !out.Differs:
		ofTwin = inStep(seen.Plan) // what is missing is in the cluster
	}
	r.describeRecord(obj, seen)
	obj.Status.ObservedGeneration = obj.Generation
	obj.Status.LastHandledReconcileAt = outcome.Handled(obj)
	if out.Class == outcome.Stalled && out.Effects().NoClaim || seen.hub.Session != nil && !claim.Wanted(obj) {
		obj.Status.Target = ""
	} else {
		// A reconcile that claimed the twin may have ended before its status was written.
		obj.Status.Target = cmp.Or(r.claims.Kept(obj), obj.Status.Target)
	}
	r.report.SetConditions(obj, out)
	r.report.SetCondition(obj, v1alpha1.ConditionSynced, synced(ofTwin), ofTwin)
	if seen.twin != nil {
		now := r.report.Clock.Now().Truncate(time.Second)
		twinstatus.Mirror(&obj.Status, seen.declared.Mirror, obj.Spec.Mirror, seen.twin, now)
		obj.Status.Plan = twinstatus.PlannedChange(seen.Pending)
		r.drifted(obj, seen)
		r.contended(obj)
		r.acknowledged(obj, seen)
	}
	if seen.hub.Session == nil {
		return // the hub was not asked: the memberships stand
	}
	if seen.twin != nil {
		if err := r.memberships.Observe(obj.Namespace, seen.hub.Key, seen.twin); err != nil {
			log.FromContext(ctx).Error(err, "the twin cannot be held against the queries")
		}
	}
	r.describeMemberships(ctx, obj, seen.hub)
}

// recordLostMessage says what follows from a record that is gone.
const recordLostMessage = "the record of what was written before is gone (status.record): leaves that left the declaration meanwhile may be on the hub still, and are not deleted. " +
	"Compare the twin with the declaration. This is told until the next edit, or request for a reconcile"

// recordLost tells whether an object had a record of what it wrote, and has none that
// can be read.
func (r *deviceTwinReconciler) recordLost(obj *v1alpha1.DeviceTwin) bool {
	_, err := twin.DecodeRecord(obj.Status.Record)
	return err != nil || r.synced.LostRecord(obj)
}

// reportRecordLost records the event, once: the condition shows it from then on, also while
// there is no record to be written anew.
func (r *deviceTwinReconciler) reportRecordLost(before, obj *v1alpha1.DeviceTwin) {
	r.synced.LossReported(obj)
	if !meta.IsStatusConditionTrue(before.Status.Conditions, v1alpha1.ConditionRecordLost) {
		r.report.Event(obj, corev1.EventTypeWarning, v1alpha1.ReasonRecordLost, recordLostMessage)
	}
}

// describeRecord says that the record is gone, until the user has done something.
func (r *deviceTwinReconciler) describeRecord(obj *v1alpha1.DeviceTwin, seen observation) {
	told := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionRecordLost)
	standing := told != nil && told.ObservedGeneration == obj.Generation && obj.Status.LastHandledReconcileAt == outcome.Handled(obj)
	r.report.SetIfTrue(obj, v1alpha1.ConditionRecordLost, seen.recordLost || standing, outcome.Outcome{
		Reason: v1alpha1.ReasonRecordLost, Message: recordLostMessage,
	})
}

func (r *deviceTwinReconciler) describeMemberships(ctx context.Context, obj *v1alpha1.DeviceTwin, found hubaccess.Hub) {
	names, err := r.memberships.Of(ctx, obj, found.Key)
	if err != nil {
		log.FromContext(ctx).Error(err, "memberships are left as they are")
		return
	}
	obj.Status.Memberships, obj.Status.Queries = names, inOneLine(names)
}

// maxQueries is where status.queries is cut; the schema leaves room for ",…" behind it.
const maxQueries = 1024

// inOneLine joins names for a column, whole, as far as there is room.
func inOneLine(names []string) string {
	line := strings.Join(names, ",")
	if len(line) <= maxQueries {
		return line
	}
	return line[:strings.LastIndexByte(line[:maxQueries+1], ',')] + ",…"
}

// inStep is the outcome for a twin that was brought into step.
func inStep(plan twin.Plan) outcome.Outcome {
	out := outcome.Of(nil)
	out.Message = "the hub holds what is declared"
	if left := leftToOthers(plan); left != "" {
		out.Message += ", but for what policy leaves alone"
	}
	return out
}

func synced(out outcome.Outcome) metav1.ConditionStatus {
	switch {
	case out.Class == outcome.Succeeded:
		return metav1.ConditionTrue
	case out.Differs:
		return metav1.ConditionFalse
	}
	return metav1.ConditionUnknown
}

// leftToOthers lists the declared leaves that hold other values and are left so.
func leftToOthers(plan twin.Plan) string {
	var parts []string
	for _, kind := range []struct {
		why  string
		what twin.Differences
	}{{"only observed", plan.Observed}, {"yielded", plan.Yielded}, {"restored later", plan.Postponed}} {
		if len(kind.what) > 0 {
			parts = append(parts, kind.why+": "+kind.what.String())
		}
	}
	return strings.Join(parts, "; ")
}

// drifted says which values of others are left on the hub.
func (r *deviceTwinReconciler) drifted(obj *v1alpha1.DeviceTwin, seen observation) {
	out := outcome.Outcome{Message: leftToOthers(seen.Plan), Reason: v1alpha1.ReasonContended}
	switch {
	case len(seen.Plan.Postponed) > 0:
	case len(seen.Plan.Yielded) > 0:
		out.Reason = v1alpha1.ReasonYielded
	default:
		out.Reason = v1alpha1.ReasonObserved
	}
	r.report.SetIfTrue(obj, v1alpha1.ConditionDrifted, out.Message != "", out)
}

// contended says which leaves are fought over.
func (r *deviceTwinReconciler) contended(obj *v1alpha1.DeviceTwin) {
	fought := r.contention.Of(obj.UID)
	r.report.SetIfTrue(obj, v1alpha1.ConditionContended, fought.Leaves != "", outcome.Outcome{
		Reason: v1alpha1.ReasonContended, Message: "another writer keeps changing " + fought.Leaves + ". " + fought.Advice(),
	})
}

// acknowledged says whether the device has taken over what is declared.
func (r *deviceTwinReconciler) acknowledged(obj *v1alpha1.DeviceTwin, seen observation) {
	said := seen.acknowledged
	if said.Declared == 0 {
		meta.RemoveStatusCondition(obj.GetConditions(), v1alpha1.ConditionAcknowledged)
		return
	}
	late := !said.PendingSince.IsZero() && r.report.Clock.Since(said.PendingSince) > obj.Spec.AcknowledgeTimeout.Duration
	status, out := metav1.ConditionFalse, outcome.Outcome{}
	switch {
	case len(said.Pending) == 0:
		status, out.Reason = metav1.ConditionTrue, v1alpha1.ReasonAcknowledged
		out.Message = "the device has taken over every declared desired property"
	case len(said.Rejected) > 0:
		out.Reason, out.Message = v1alpha1.ReasonRejectedByDevice, "the device refused "+replies(said.Rejected)
	case said.Spoken == 0: // many devices report no settings at all
		status, out.Reason = metav1.ConditionUnknown, v1alpha1.ReasonNeverReported
		out.Message = "the device has not reported any declared desired property yet"
	case late:
		out.Reason = v1alpha1.ReasonNotAcknowledged
		out.Message = "the device has not acknowledged within " + obj.Spec.AcknowledgeTimeout.Duration.String() + ": " + said.Pending.String() + atWork(said)
	default:
		out.Reason, out.Message = v1alpha1.ReasonAwaitingDevice, "not acknowledged yet: "+said.Pending.String()+atWork(said)
	}
	r.report.SetCondition(obj, v1alpha1.ConditionAcknowledged, status, out)
}

// atWork says in the device's own words what it has begun.
func atWork(said twin.Acknowledgement) string {
	if len(said.Accepted) == 0 {
		return ""
	}
	return "; the device is at work on " + replies(said.Accepted)
}

func replies(said []twin.Reply) string {
	texts := make([]string, len(said))
	for i, r := range said {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}
