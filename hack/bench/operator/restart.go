package main

import (
	"context"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

// getsPerChange is how many reads a twin that changed may cost.
const getsPerChange = 2

// restart is what was changed, and the calls and writes before the manager starts again.
type restart struct {
	changed []string
	before  calls
	writes  int
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
			{"count calls and writes", m.count},
			{"start the manager", startManager},
			{"wait until nothing is written", quiet(quietTime)},
		},
		report: m.report,
	}
}

// change changes a declared value of every hundredth twin, as another writer would.
func (m *restart) change(ctx context.Context, r *run) error {
	for i := 50; i <= r.out.N; i += 100 {
		id := deviceID(fleetSet, i)
		if _, _, err := r.hub().Send(ctx, http.MethodPatch, twinPath(id), []byte(`{"tags":{"owner":"another writer"}}`)); err != nil {
			return fmt.Errorf("change %s on the hub: %w", id, err)
		}
		m.changed = append(m.changed, id)
	}
	return nil
}

func (m *restart) count(ctx context.Context, r *run) (err error) {
	if err := r.env.writes.refresh(); err != nil {
		return err
	}
	m.writes = r.env.writes.total
	m.before, err = r.hub().calls(ctx)
	return err
}

func (m *restart) report(_ context.Context, r *run) error {
	started, ready, last := r.env.manager.started, r.env.manager.ready, r.env.lastWrite
	made := last.calls[0].since(m.before)
	changed := float64(len(m.changed))
	wrong, missing := compare(m.changed, r.env.writes.writtenSince(started))
	r.out.add("twins that changed meanwhile", changed, "")
	r.out.add("start to ready", ready.Sub(started).Seconds(), "s")
	r.out.add("start to the last write", last.at.Sub(started).Seconds(), "s")
	r.out.add("hub calls until then", float64(made.all), "")
	r.out.add("of them GET", float64(made.get), "")
	r.out.add("of them query pages", float64(made.query), "")
	r.out.add("of them PATCH", float64(made.patch), "")
	r.out.add("writes to the API server until then", float64(last.total-m.writes), "")
	r.out.note("The change is another writer's, of one declared value: it has to be found and put right. Reading back goes on all the time and counts.")
	r.out.bound(bounds.None("status writes for twins that did not change", wrong))
	r.out.bound(bounds.None("changes that were not found", missing))
	r.out.bound(bounds.AtMost("PATCH", "%.0f", float64(made.patch), changed))
	r.out.bound(bounds.AtMost("GET", "%.0f", float64(made.get), getsPerChange*changed))
	return nil
}

// compare counts those that were written and did not change, and the other way round.
func compare(changed, written []string) (wrong, missing int) {
	c, w := sets.New(changed...), sets.New(written...)
	return w.Difference(c).Len(), c.Difference(w).Len()
}
