package main

import (
	"context"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

// mostIdlePages bounds what a set asks of a hub where all is in step, in a minute and whatever its size.
const mostIdlePages = 12

func setIdleRow() scenario {
	seen := &observation{}
	return scenario{
		name: "set-idle", title: "a set of N devices in step, for three minutes",
		twins: setDevices,
		steps: []step{
			{"start a cluster", startCluster},
			{"start the hub", func(ctx context.Context, r *run) error {
				return r.env.addHub(ctx, "hub", unthrottled, map[string]int{lineDevices: r.out.N})
			}},
			{"start the manager", startManager},
			{"roll out the set", func(ctx context.Context, r *run) error {
				if _, err := r.rollout(ctx, lineDevices, r.out.N, nothingElse); err != nil {
					return err
				}
				return r.awaitComplete(ctx, lineDevices, r.out.N)
			}},
			{"wait until nothing is written", quiet(settleTime)},
			{"watch the manager", observe(seen, idleTime)},
		},
		report: func(_ context.Context, r *run) error {
			made := seen.calls
			r.out.add("watched", idleTime.Seconds(), "s")
			r.out.add("hub calls", float64(made.all), "")
			r.out.add("of them query pages", float64(made.query), "")
			r.out.add("messages billed", float64(made.billed), "")
			r.out.add("manager's CPU", seen.cpu.Seconds(), "s")
			r.out.note("The interval of the set is a minute, as by default.")
			r.out.bound(bounds.None("PATCH", made.patch))
			r.out.bound(bounds.None("writes to the API server", seen.writes))
			r.out.bound(bounds.AtMost("query pages a minute", "%.1f", float64(made.query)/idleTime.Minutes(), mostIdlePages))
			return nil
		},
	}
}
