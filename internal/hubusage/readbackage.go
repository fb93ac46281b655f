package hubusage

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/readback"
)

// latenesses are how a HubConnection reports each cause of a late read-back. The texts do not move with time.
var latenesses = map[readback.Cause]outcome.Outcome{
	readback.Failing: {Reason: v1alpha1.ReasonReadBackFailing,
		Message: "the hub was not read back for three intervals: "},
	readback.Blocked: {Reason: v1alpha1.ReasonReadBackBlocked,
		Message: "the hub was not read back for three intervals: a query to it has had no answer. It is given up after some minutes and asked again; if this lasts, check the network between here and the hub"},
	readback.Slow: {Reason: v1alpha1.ReasonReadBackSlow,
		Message: "the hub was not read back for three intervals: looking at it takes longer than it did. Lengthen spec.readBack, raise spec.budget.ratePercent, or add units to the hub and to spec.tier"},
}

// ReadBack reports of a HubConnection whose read-back is late since when it is, and why; and names twins that cannot be
// read. On a hub that is read back in time it writes nothing.
func (r *Reporter) ReadBack(conn *v1alpha1.HubConnection) {
	key := client.ObjectKeyFromObject(conn)
	state := r.readBack.State(key)
	conn.Status.ReadBackAsOf = nil
	var out outcome.Outcome
	if late := state.Late; late != nil {
		conn.Status.ReadBackAsOf = ptr.To(metav1.NewTime(late.Since.Truncate(time.Second)))
		out = latenesses[late.Cause]
		out.Message += late.Error
	}
	r.report.SetIfTrue(conn, v1alpha1.ConditionReadBackLate, state.Late != nil, out)
	if r.unreadable(key, state.Unreadable) {
		r.report.Event(conn, corev1.EventTypeWarning, v1alpha1.EventUnreadableTwins,
			"the hub's index shows twins in a way that cannot be used; they are left out, and all others are read: "+state.Unreadable)
	}
}

// unreadable notes the twins of a hub that cannot be read, and tells whether an event has to
// name them: some are there, and others than last time.
func (r *Reporter) unreadable(key types.NamespacedName, twins string) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.reports[key]
	if last.unreadable == twins {
		return false
	}
	last.unreadable = twins
	r.reports[key] = last
	return twins != ""
}
