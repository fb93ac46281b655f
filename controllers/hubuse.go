package controllers

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
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/readback"
)

// uses tell what is made of each hub: numbers that move all the time, and are written
// at most once in an interval.
type uses struct {
	client client.Reader
	report outcome.Reporter
	clock  clock.PassiveClock
	every  time.Duration
	// readBack tells how often the hubs are asked in effect.
	readBack *readback.Group

	mu   sync.Mutex
	told map[types.NamespacedName]told
	// odd are the unreadable twins that an event named last.
	odd map[types.NamespacedName]string
}

// told is when the numbers of a HubConnection were written, and for which host the
// count of an earlier process was taken over.
type told struct {
	at   time.Time
	host string
}

func newUses(reader client.Reader, report outcome.Reporter, every time.Duration, readBack *readback.Group) *uses {
	return &uses{client: reader, report: report, clock: report.Clock, every: every, readBack: readBack,
		told: map[types.NamespacedName]told{}, odd: map[types.NamespacedName]string{}}
}

func (u *uses) forget(key types.NamespacedName) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.told, key)
	delete(u.odd, key)
}

// describe brings the numbers of a status up to date, if it is time to. The first time
// it takes over what an earlier process told of the day's messages, and leaves the rest
// as it stands: a start writes nothing. Who has not proved a credential of the hub is told
// no numbers, and has none counted.
func (u *uses) describe(ctx context.Context, conn *v1alpha1.HubConnection, session hub.Session, out outcome.Outcome) error {
	key := client.ObjectKeyFromObject(conn)
	if !session.Proved() {
		if out.Class == outcome.Stalled {
			u.forget(key)
			conn.Status.HubUse = v1alpha1.HubUse{}
			u.report.SetIfTrue(conn, v1alpha1.ConditionQuotaPressure, false, outcome.Outcome{})
		}
		return nil // an outage leaves what stands from the time before it
	}
	turns, now := session.Dispatcher(), u.clock.Now()
	u.mu.Lock()
	last := u.told[key]
	if last.host != session.Host() {
		turns.Restore(conn.Status.QuotaDay, int(conn.Status.QuotaUsedPercent))
		last = told{at: now, host: session.Host()}
		u.told[key] = last
	}
	u.mu.Unlock()
	if now.Sub(last.at) < u.every {
		return nil
	}
	before := conn.Status.DeepCopy()
	counts, err := u.count(ctx, key)
	if err != nil {
		return err
	}
	conn.Status.Twins = counts
	backlogOf(&conn.Status.HubUse, turns.Backlog(), now)
	u.messages(conn, turns.Messages())
	intervalsOf(&conn.Status.HubUse, u.readBack.State(key))
	if !equality.Semantic.DeepEqual(before, &conn.Status) {
		u.mu.Lock()
		u.told[key] = told{at: now, host: last.host}
		u.mu.Unlock()
	}
	return nil
}

func backlogOf(use *v1alpha1.HubUse, backlog dispatch.Backlog, now time.Time) {
	use.Backlog, use.BacklogEndsAt = int32(min(max(backlog.Parked, 0), 1<<30)), nil
	if backlog.Parked > 0 {
		use.BacklogEndsAt = ptr.To(metav1.NewTime(now.Add(backlog.EndsIn).Truncate(time.Second)))
	}
}

// intervalsOf leaves what an earlier process told while the hub is not followed.
func intervalsOf(use *v1alpha1.HubUse, state readback.State) {
	if state.Interval > 0 {
		use.EffectiveInterval.Duration, use.EffectiveFullSweepInterval.Duration = state.Interval, state.FullSweep
		use.EffectiveIntervalReason = state.Stretched
	}
}

// pressures say what a HubConnection is told of each pressure. The texts do not move
// with the count: each of them is a write.
var pressures = map[dispatch.Pressure]outcome.Outcome{
	dispatch.MessagesLow: {Reason: v1alpha1.ReasonDailyMessagesLow,
		Message: "less than half of an even share of today's %d messages is left until 00:00 UTC. Changes are written all the same, and the hub is read back less often: see status.effectiveInterval. Lengthen spec.readBack, raise spec.budget.dailyMessagesPercent, or add units to the hub and to spec.tier"},
	dispatch.MessagesUsed: {Reason: v1alpha1.ReasonDailyMessagesUsed,
		Message: "today's %d messages are used up before 00:00 UTC. Changes are written all the same, at the cost of the hub's other users, and the hub is read back as seldom as may be: see status.effectiveInterval. Raise spec.budget.dailyMessagesPercent, or add units to the hub and to spec.tier"},
	dispatch.QuotaExceeded: {Reason: v1alpha1.ReasonQuotaExceeded,
		Message: "the hub has refused for its daily quota, of which %d messages are the operator's share. It is read back as seldom as may be: see status.effectiveInterval. The quota starts anew at 00:00 UTC, or with more units"},
}

func (u *uses) messages(conn *v1alpha1.HubConnection, m dispatch.Messages) {
	conn.Status.QuotaUsedPercent, conn.Status.QuotaDay = int32(min(max(m.UsedPercent, 0), 1<<30)), m.Day
	if m.UsedPercent == 0 {
		conn.Status.QuotaDay = "" // a day on which nothing happens is not told of
	}
	out, pressed := pressures[m.Pressure]
	if pressed {
		out.Message = fmt.Sprintf(out.Message, m.Limit)
	}
	u.report.SetIfTrue(conn, v1alpha1.ConditionQuotaPressure, pressed, out)
}

// count counts the DeviceTwins of a HubConnection; nil when it has none.
func (u *uses) count(ctx context.Context, key types.NamespacedName) (*v1alpha1.TwinCounts, error) {
	var twins v1alpha1.DeviceTwinList
	if err := u.client.List(ctx, &twins, fieldindex.ByHub(key), client.UnsafeDisableDeepCopy); err != nil {
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
