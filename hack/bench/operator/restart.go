package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

// getsPerChange is how many reads a twin that changed may cost.
const getsPerChange = 2

// restart is what is seen of a start of the manager.
type restart struct {
	changed        []string
	started, ready time.Time
	// before and total are the calls and writes before it, last is the last write after.
	before calls
	total  int
	last   activity
	// wrong and missing count twins, see compare.
	wrong, missing int
}

func restartRow() scenario {
	m := &restart{}
	return scenario{
		name: "restart", title: "the manager restarts, 1 % of the twins changed meanwhile",
		usesFleet: true,
		steps: []step{
			{"use the fleet", useFleet},
			{"stop the manager", stopManager},
			{"change one twin in a hundred at the hub", m.change},
			{"start the manager", m.start},
			{"wait until nothing is written", m.settle},
		},
		report: m.report,
	}
}

// change changes a declared value of every hundredth twin.
func (m *restart) change(ctx context.Context, r *run) error {
	for i := 50; i <= r.out.N; i += 100 {
		id := deviceID(fleetSet, i)
		if err := r.hub().change(ctx, id, map[string]any{"tags": map[string]any{"owner": "another writer"}}); err != nil {
			return fmt.Errorf("change %s on the hub: %w", id, err)
		}
		m.changed = append(m.changed, id)
	}
	return nil
}

func (m *restart) start(ctx context.Context, r *run) (err error) {
	if err := r.env.writes.refresh(); err != nil {
		return err
	}
	m.total = r.env.writes.total
	if m.before, err = r.hub().calls(ctx); err != nil {
		return err
	}
	m.started, m.ready, err = r.env.startManager(ctx)
	return err
}

func (m *restart) settle(ctx context.Context, r *run) (err error) {
	m.last, err = r.env.quiet(ctx, quietTime)
	m.wrong, m.missing = compare(m.changed, r.env.writes.writtenSince(m.started))
	return err
}

func (m *restart) report(out *result) {
	made := m.last.calls[0].since(m.before)
	changed := float64(len(m.changed))
	out.add("twins that changed meanwhile", changed, "")
	out.add("start to ready", m.ready.Sub(m.started).Seconds(), "s")
	out.add("start to the last write", m.last.at.Sub(m.started).Seconds(), "s")
	out.add("hub calls until then", float64(made.all), "")
	out.add("of them GET", float64(made.get), "")
	out.add("of them query pages", float64(made.query), "")
	out.add("of them PATCH", float64(made.patch), "")
	out.add("writes to the API server until then", float64(m.last.total-m.total), "")
	out.note("The change is another writer's, of one declared value: it has to be found and put right. Reading back goes on all the time and counts.")
	out.bound(bounds.None("status writes for twins that did not change", m.wrong))
	out.bound(bounds.None("changes that were not found", m.missing))
	out.bound(bounds.AtMost("PATCH", "%.0f", float64(made.patch), changed))
	out.bound(bounds.AtMost("GET", "%.0f", float64(made.get), getsPerChange*changed))
}

// compare counts those that were written and did not change, and the other way round.
func compare(changed, written []string) (wrong, missing int) {
	for _, name := range written {
		if !slices.Contains(changed, name) {
			wrong++
		}
	}
	for _, name := range changed {
		if !slices.Contains(written, name) {
			missing++
		}
	}
	return wrong, missing
}
