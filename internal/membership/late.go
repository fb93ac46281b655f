package membership

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// lateAfter is after how many intervals of a TwinQuery it says that the scans for it
// fail or do not go on: as many as a read-back may miss.
const lateAfter = 3

// progress notes that the scan that is under way at a HubConnection gets on.
func (m *Memberships) progress(conn types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := m.scanning[conn]; at != nil {
		at.moved = m.opts.Clock.Now()
	}
}

// Late tells whether the members of a large answer are not renewed, and why. A scan that only
// takes long, as a gentle one does on a large fleet, is not late.
func (m *Memberships) Late(found Evaluation, interval time.Duration) (why outcome.Outcome, late bool) {
	if !found.Large {
		return outcome.Outcome{}, false
	}
	of := found.key()
	m.mu.RLock()
	defer m.mu.RUnlock()
	q := m.records[of]
	if q == nil || q.scan == nil {
		return outcome.Outcome{}, false
	}
	one, at, longest := q.scan, m.scanning[q.hub], lateAfter*interval
	switch {
	case one.failed != nil && m.opts.Clock.Since(one.failing) >= longest:
		return outcome.Outcome{Reason: v1alpha1.ReasonMembershipsFailing, Message: "for three intervals the hub did not tell which DeviceTwins " +
			"are members, and status.memberships of those whose membership changed may be old: " + one.failed.Error()}, true
	case one.running && at != nil && m.opts.Clock.Since(at.moved) >= max(longest, lateAfter*pause(found.Hub.Session)):
		return outcome.Outcome{Reason: v1alpha1.ReasonMembershipsBlocked, Message: "for three intervals the hub has not answered which DeviceTwins " +
			"are members, and status.memberships of those whose membership changed may be old. The query is given up after some minutes " +
			"and asked again; if this lasts, check the network between here and the hub"}, true
	}
	return outcome.Outcome{}, false
}
