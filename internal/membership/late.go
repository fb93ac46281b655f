package membership

import (
	"time"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// lateAfter is after how many intervals of a TwinQuery it says that the scans for it
// fail or do not go on: as many as a read-back may miss.
const lateAfter = 3

// progress notes that the scan that has its turn at a HubConnection gets on.
func (s *scanner) progress(asked Evaluation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if through := s.hubs[asked.question.hub]; through != nil {
		through.moved = s.clock.Now()
	}
}

// late tells whether what is known of a question's members is not renewed, and why. A scan
// that only takes long, as a gentle one does on a large fleet, is not late.
func (s *scanner) late(asked Evaluation, interval time.Duration) (why outcome.Outcome, late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.known[asked.question]
	if one == nil {
		return outcome.Outcome{}, false
	}
	through, longest := s.hubs[asked.question.hub], lateAfter*interval
	switch {
	case one.failed != nil && s.clock.Since(one.failing) >= longest:
		return outcome.Outcome{Reason: v1alpha1.ReasonMembershipsFailing, Message: "for three intervals the hub did not tell which DeviceTwins " +
			"are members, and status.memberships of those whose membership changed may be old: " + one.failed.Error()}, true
	case one.running && through != nil && s.clock.Since(through.moved) >= max(longest, lateAfter*pause(asked.Hub.Session)):
		return outcome.Outcome{Reason: v1alpha1.ReasonMembershipsBlocked, Message: "for three intervals the hub has not answered which DeviceTwins " +
			"are members, and status.memberships of those whose membership changed may be old. The question is given up after some minutes " +
			"and asked again; if this lasts, check the network between here and the hub"}, true
	}
	return outcome.Outcome{}, false
}
