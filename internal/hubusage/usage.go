package hubusage

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/readback"
)

// Session is what a report asks of a hub's session.
type Session interface {
	Host() string
	Proved() bool
	Dispatcher() *dispatch.Share
}

// Reporter writes how each hub is used and read back into the statuses of HubConnections: numbers that
// move all the time, and are written at most once in an interval. It is safe for concurrent use.
type Reporter struct {
	client client.Reader
	report outcome.Reporter
	clock  clock.PassiveClock
	every  time.Duration
	// readBack knows how often the hubs are read back in effect, and when they last were.
	readBack *readback.Group

	mu      sync.Mutex
	reports map[types.NamespacedName]report
}

// report is what was reported of a HubConnection last.
type report struct {
	// at is when its numbers were written, host for which hub the count of an earlier
	// process was taken over.
	at   time.Time
	host string
	// unreadable are the twins that an event named.
	unreadable string
}

// New returns a reporter that writes the numbers of a status at most once in every. reader is
// a cache with the indexes of internal/fieldindex.
func New(reader client.Reader, to outcome.Reporter, every time.Duration, readBack *readback.Group) *Reporter {
	return &Reporter{
		client: reader, report: to, clock: to.Clock, every: every, readBack: readBack,
		reports: map[types.NamespacedName]report{},
	}
}

// Interval is how often the numbers of a status are written at most.
func (r *Reporter) Interval() time.Duration { return r.every }

// Forget drops a HubConnection that is gone.
func (r *Reporter) Forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.reports, key)
}

// Describe brings the numbers of a status up to date, if it is time to. The first time
// it takes over what an earlier process reported of the day's messages, and leaves the rest
// unchanged: a start writes nothing. A HubConnection that has not proved a credential of the hub
// gets no numbers, and nothing is counted for it.
func (r *Reporter) Describe(ctx context.Context, conn *v1alpha1.HubConnection, session Session, out outcome.Outcome) error {
	key := client.ObjectKeyFromObject(conn)
	if !session.Proved() {
		if out.Class == outcome.Stalled {
			r.Forget(key)
			conn.Status.HubUse = v1alpha1.HubUse{}
			r.report.SetIfTrue(conn, v1alpha1.ConditionQuotaPressure, false, outcome.Outcome{})
		}
		return nil // an outage leaves what stands from the time before it
	}
	dispatcher, now := session.Dispatcher(), r.clock.Now()
	r.mu.Lock()
	last := r.reports[key]
	if last.host != session.Host() {
		dispatcher.Restore(conn.Status.QuotaDay, int(conn.Status.QuotaUsedPercent))
		last.at, last.host = now, session.Host()
		r.reports[key] = last
	}
	r.mu.Unlock()
	if now.Sub(last.at) < r.every {
		return nil
	}
	before := conn.Status.DeepCopy()
	counts, err := r.count(ctx, key)
	if err != nil {
		return err
	}
	conn.Status.Twins = counts
	backlogOf(&conn.Status.HubUse, dispatcher.Backlog(), now)
	r.messages(conn, dispatcher.Messages())
	intervalsOf(&conn.Status.HubUse, r.readBack.State(key))
	if !equality.Semantic.DeepEqual(before, &conn.Status) {
		last.at = now
		r.mu.Lock()
		r.reports[key] = last
		r.mu.Unlock()
	}
	return nil
}

func backlogOf(use *v1alpha1.HubUse, backlog dispatch.Backlog, now time.Time) {
	use.Backlog, use.BacklogEndsAt = int32(min(max(backlog.Parked, 0), 1<<30)), nil
	if backlog.Parked > 0 {
		use.BacklogEndsAt = ptr.To(metav1.NewTime(now.Add(backlog.EndsIn).Truncate(time.Second)))
	}
}

// intervalsOf leaves what an earlier process reported while the hub is not read back.
func intervalsOf(use *v1alpha1.HubUse, state readback.State) {
	if state.Interval > 0 {
		use.EffectiveInterval.Duration, use.EffectiveFullSweepInterval.Duration = state.Interval, state.FullSweep
		use.EffectiveIntervalReason = state.Stretched
	}
}

// pressures are how a HubConnection reports each pressure. The texts do not move with the
// count: each change is a write.
var pressures = map[dispatch.Pressure]outcome.Outcome{
	dispatch.MessagesLow: {Reason: v1alpha1.ReasonDailyMessagesLow,
		Message: "less than half of an even share of today's %d messages is left until 00:00 UTC. Changes are written all the same, and the hub is read back less often: see status.effectiveInterval. Lengthen spec.readBack, raise spec.budget.dailyMessagesPercent, or add units to the hub and to spec.tier"},
	dispatch.MessagesUsed: {Reason: v1alpha1.ReasonDailyMessagesUsed,
		Message: "today's %d messages are used up before 00:00 UTC. Changes are written all the same, at the cost of the hub's other users, and the hub is read back as seldom as may be: see status.effectiveInterval. Raise spec.budget.dailyMessagesPercent, or add units to the hub and to spec.tier"},
	dispatch.QuotaExceeded: {Reason: v1alpha1.ReasonQuotaExceeded,
		Message: "the hub has refused for its daily quota, of which %d messages are the operator's share. It is read back as seldom as may be: see status.effectiveInterval. The quota starts anew at 00:00 UTC, or with more units"},
}

func (r *Reporter) messages(conn *v1alpha1.HubConnection, m dispatch.Messages) {
	conn.Status.QuotaUsedPercent, conn.Status.QuotaDay = int32(min(max(m.UsedPercent, 0), 1<<30)), m.Day
	if m.UsedPercent == 0 {
		conn.Status.QuotaDay = "" // a day on which nothing happens is not reported
	}
	out, pressed := pressures[m.Pressure]
	if pressed {
		out.Message = fmt.Sprintf(out.Message, m.Limit)
	}
	r.report.SetIfTrue(conn, v1alpha1.ConditionQuotaPressure, pressed, out)
}

// count counts the DeviceTwins of a HubConnection; nil when it has none.
func (r *Reporter) count(ctx context.Context, key types.NamespacedName) (*v1alpha1.TwinCounts, error) {
	var twins v1alpha1.DeviceTwinList
	if err := r.client.List(ctx, &twins, fieldindex.ByHub(key), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("counting DeviceTwins: %w", err)
	}
	if len(twins.Items) == 0 {
		return nil, nil
	}
	counts := &v1alpha1.TwinCounts{Total: int32(min(len(twins.Items), 1<<30))}
	for i := range twins.Items {
		conditions := twins.Items[i].Status.Conditions
		for condition, n := range map[string]*int32{
			v1alpha1.ConditionReady: &counts.Ready, v1alpha1.ConditionDrifted: &counts.Drifted, v1alpha1.ConditionContended: &counts.Contended,
		} {
			if meta.IsStatusConditionTrue(conditions, condition) {
				*n++
			}
		}
	}
	return counts, nil
}
