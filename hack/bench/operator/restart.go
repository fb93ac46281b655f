package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

// getsPerChange is how many reads a twin that changed may cost.
const getsPerChange = 2

func measureRestart(ctx context.Context, b *bench, out *result) error {
	d, ctx, h, err := b.theFleet(ctx)
	if err != nil {
		return err
	}
	if err := d.stopManager(); err != nil {
		return err
	}
	changed, err := d.changeOneInAHundred(ctx, h)
	if err != nil {
		return err
	}
	if err := d.writes.refresh(); err != nil {
		return err
	}
	before, err := h.calls(ctx)
	if err != nil {
		return err
	}
	total := d.writes.total
	started, ready, err := d.startManager(ctx)
	if err != nil {
		return err
	}
	last, err := d.quiet(ctx, quietTime)
	if err != nil {
		return err
	}
	made := last.calls[0].since(before)
	wrong, missing := compare(changed, d.writes.writtenSince(started))
	out.add("twins that changed meanwhile", float64(len(changed)), "")
	out.add("start to ready", ready.Sub(started).Seconds(), "s")
	out.add("start to the last write", last.at.Sub(started).Seconds(), "s")
	out.add("hub calls until then", float64(made.all), "")
	out.add("of them GET", float64(made.get), "")
	out.add("of them query pages", float64(made.query), "")
	out.add("of them PATCH", float64(made.patch), "")
	out.add("writes to the API server until then", float64(last.total-total), "")
	out.note("The change is another writer's, of one declared value: it has to be found and put right. Reading back goes on all the time and counts.")
	out.bound(bounds.None("status writes for twins that did not change", wrong))
	out.bound(bounds.None("changes that were not found", missing))
	out.bound(bounds.AtMost("PATCH", "%.0f", float64(made.patch), float64(len(changed))))
	out.bound(bounds.AtMost("GET", "%.0f", float64(made.get), float64(getsPerChange*len(changed))))
	return nil
}

// changeOneInAHundred changes a declared value of every hundredth twin of the fleet.
func (d *bed) changeOneInAHundred(ctx context.Context, h *hub) ([]string, error) {
	var changed []string
	for i := 50; i <= d.bench.opts.n; i += 100 {
		id := deviceID(fleetSet, i)
		if err := h.change(ctx, id, map[string]any{"tags": map[string]any{"owner": "another writer"}}); err != nil {
			return nil, fmt.Errorf("change %s on the hub: %w", id, err)
		}
		changed = append(changed, id)
	}
	return changed, nil
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
