package controllers

import (
	"time"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// lookLateAfter is after how many intervals of a TwinQuery it says that the looks for it
// fail or do not go on: as many as a read-back may miss.
const lookLateAfter = 3

// goesOn notes that the look that has its turn at a HubConnection gets on.
func (l *looks) goesOn(asked finding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if through := l.hubs[asked.question.hub]; through != nil {
		through.moved = l.clock.Now()
	}
}

// late tells whether what is known of a question's members is not renewed, and why. A look
// that only takes long, as a gentle one does on a large fleet, is not late.
func (l *looks) late(asked finding, interval time.Duration) (why outcome.Outcome, late bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.known[asked.question]
	if one == nil {
		return outcome.Outcome{}, false
	}
	through, longest := l.hubs[asked.question.hub], lookLateAfter*interval
	switch {
	case one.failed != nil && l.clock.Since(one.failing) >= longest:
		return outcome.Outcome{Reason: v1alpha1.ReasonMembershipsFailing, Message: "for three intervals the hub did not tell which DeviceTwins " +
			"are members, and status.memberships of those whose membership changed may be old: " + one.failed.Error()}, true
	case one.running && through != nil && l.clock.Since(through.moved) >= max(longest, lookLateAfter*pause(asked.session)):
		return outcome.Outcome{Reason: v1alpha1.ReasonMembershipsBlocked, Message: "for three intervals the hub has not answered which DeviceTwins " +
			"are members, and status.memberships of those whose membership changed may be old. The question is given up after some minutes " +
			"and asked again; if this lasts, check the network between here and the hub"}, true
	}
	return outcome.Outcome{}, false
}
