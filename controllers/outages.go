package controllers

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// confirmAfter is how long after a refusal a second probe decides: what passes by
// itself, such as a hub that moves or a proxy that restarts, takes seconds.
const confirmAfter = 5 * time.Second

// standing is what a HubConnection had before it was reconciled.
type standing struct {
	// worked tells that the hub has accepted a credential of this HubConnection, as far
	// as this process knows or an earlier one has told.
	worked bool
}

// standing is what a HubConnection has, for a session that was opened for it now. After
// a start its status tells whether it worked: an outage must not have a restart rewrite
// a fleet.
func (r *hubConnectionReconciler) standing(conn *v1alpha1.HubConnection, session hub.Session) standing {
	last, known := r.connections.Known(client.ObjectKeyFromObject(conn))
	switch {
	case session == nil:
		return standing{}
	case known:
		return standing{worked: last.Session != nil && last.Session.Host() == session.Host()}
	}
	return standing{
		worked: hub.ClassicName(conn.Status.HostName) == session.Host() && !meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionStalled),
	}
}

// judge says what the outcome of a probe means for a HubConnection that had a standing.
// doubted tells that a second probe has to bear it out before anything is told of it.
func (r *hubConnectionReconciler) judge(conn *v1alpha1.HubConnection, session hub.Session, had standing, out outcome.Outcome) (_ outcome.Outcome, doubted bool) {
	switch {
	case out.Class == outcome.Transient && out.Effects().HostUnknown && !had.worked:
		out.Class = outcome.Stalled // most likely it is misspelt
	case refuses(out) && had.worked && (secondHand(out) || !r.probes.confirmed(client.ObjectKeyFromObject(conn), session, r.report.Clock.Now())):
		out.Class, out.RetryAfter = outcome.Transient, confirmAfter
		out.Message = outcome.Bounded(out.Message + ". It was accepted before, so that it is tried once more before its DeviceTwins and TwinQueries are told")
		return out, true
	}
	return out, false
}

// secondHand tells that nothing was met by the probe itself: the same trouble, told
// again, bears nothing out.
func secondHand(out outcome.Outcome) bool {
	refusal, ok := errors.AsType[*hub.Error](out.Err)
	return ok && refusal.SecondHand
}

// refuses tells whether a hub does not take the credential, or its host cannot be
// trusted with it: all else passes, and takes no session away.
func refuses(out outcome.Outcome) bool {
	return out.Class == outcome.Stalled && out.Effects().CredentialRefused
}

// keeps tells whether the fleet goes on with a session that was opened now.
func (had standing) keeps(session hub.Session, out outcome.Outcome) bool {
	if session == nil {
		return false // the credential is missing or malformed, or another host is named that may not be
	}
	return out.Class == outcome.Succeeded || had.worked && !refuses(out) && !out.Effects().EndsSession
}
