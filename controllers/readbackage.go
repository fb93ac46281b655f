package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/readback"
)

// latenesses say what a HubConnection is told of each cause of a late read-back. The texts do not move with time.
var latenesses = map[readback.Cause]outcome.Outcome{
	readback.Failing: {Reason: v1alpha1.ReasonReadBackFailing,
		Message: "the hub was not read back for three intervals: "},
	readback.Blocked: {Reason: v1alpha1.ReasonReadBackBlocked,
		Message: "the hub was not read back for three intervals: a question to it has had no answer. It is given up after some minutes and asked again; if this lasts, check the network between here and the hub"},
	readback.Slow: {Reason: v1alpha1.ReasonReadBackSlow,
		Message: "the hub was not read back for three intervals: looking at it takes longer than it did. Lengthen spec.readBack, raise spec.budget.ratePercent, or add units to the hub and to spec.tier"},
}

// age says of a HubConnection whose read-back is late since when it is, and why; and names twins that cannot be read. On
// a hub that is read back in time it writes nothing.
func (u *uses) age(conn *v1alpha1.HubConnection) {
	key := client.ObjectKeyFromObject(conn)
	state := u.readBack.State(key)
	conn.Status.ReadBackAsOf = nil
	var out outcome.Outcome
	if late := state.Late; late != nil {
		conn.Status.ReadBackAsOf = ptr.To(metav1.NewTime(late.Since.Truncate(time.Second)))
		out = latenesses[late.Cause]
		out.Message += late.Error
	}
	u.report.SetIfTrue(conn, v1alpha1.ConditionReadBackLate, state.Late != nil, out)
	u.mu.Lock()
	news := state.Unreadable != "" && state.Unreadable != u.odd[key]
	u.odd[key] = state.Unreadable
	u.mu.Unlock()
	if news {
		u.report.Event(conn, corev1.EventTypeWarning, v1alpha1.EventUnreadableTwins,
			"the hub's index shows twins in a way that cannot be used; they are left out, and all others are read: "+state.Unreadable)
	}
}
