package controllers

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// confirmAfter is how long after a refusal a second probe decides: what passes by
// itself, such as a hub that moves or a proxy that restarts, takes seconds.
const confirmAfter = 5 * time.Second

// standing is what a HubConnection had before it was looked at.
type standing struct {
	// worked tells that the hub has accepted a credential of this HubConnection, as far
	// as this process knows or an earlier one has told.
	worked bool
}

// standing is what a HubConnection has, for a session that was opened for it now. After
// a start its status tells whether it worked: an outage must not have a restart rewrite
// a fleet.
func (r *hubConnectionReconciler) standing(conn *v1alpha1.HubConnection, session hub.Session) standing {
	last, known := r.connections.get(client.ObjectKeyFromObject(conn))
	switch {
	case session == nil:
		return standing{}
	case known:
		return standing{worked: last.session != nil && last.session.Host() == session.Host()}
	}
	return standing{
		worked: hub.ClassicName(conn.Status.HostName) == session.Host() && !meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionStalled),
	}
}

// judge says what the outcome of a probe means for a HubConnection that had a standing.
// doubted tells that a second probe has to bear it out before anything is told of it.
func (r *hubConnectionReconciler) judge(conn *v1alpha1.HubConnection, session hub.Session, had standing, out outcome) (_ outcome, doubted bool) {
	switch {
	case out.class == transient && out.reason == v1alpha1.ReasonUnknownHost && !had.worked:
		out.class = stalled // most likely it is misspelt
	case refuses(out) && had.worked && (secondHand(out) || !r.probes.confirmed(client.ObjectKeyFromObject(conn), session, r.report.clock.Now())):
		out.class, out.retryAfter = transient, confirmAfter
		out.message = bounded(out.message + ". It was accepted before, so that it is tried once more before its DeviceTwins and TwinQueries are told")
		return out, true
	}
	return out, false
}

// secondHand tells that nothing was met by the probe itself: the same trouble, told
// again, bears nothing out.
func secondHand(out outcome) bool {
	refusal, ok := errors.AsType[*hub.Error](out.err)
	return ok && refusal.SecondHand
}

// refuses tells whether a hub does not take the credential, or its host cannot be
// trusted with it: all else passes, and takes no session away.
func refuses(out outcome) bool {
	switch out.reason {
	case v1alpha1.ReasonUnauthorized, v1alpha1.ReasonForbidden, v1alpha1.ReasonUntrustedCertificate:
		return out.class == stalled
	}
	return false
}

// keeps tells whether the fleet goes on with a session that was opened now.
func (had standing) keeps(session hub.Session, out outcome) bool {
	if session == nil {
		return false // the credential is missing or malformed, or another host is named that may not be
	}
	return out.class == succeeded || had.worked && !refuses(out) && out.reason != v1alpha1.ReasonHostInTwoShards
}
