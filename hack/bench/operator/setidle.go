package main

import (
	"context"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

// mostIdlePages bounds what a set asks of a hub where all is in step, in a minute and whatever its size.
const mostIdlePages = 12

func setIdleRow() scenario {
	seen := &observation{}
	var rounds []observation
	return scenario{
		name: "set-idle", title: "a set of N devices in step, for three minutes",
		twins: setDevices, rounds: true,
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
			{"watch the manager", func(ctx context.Context, r *run) error {
				err := observe(seen, idleTime)(ctx, r)
				rounds = append(rounds, *seen)
				return err
			}},
		},
		report: func(_ context.Context, r *run) error { reportSetIdle(r, rounds); return nil },
	}
}

func reportSetIdle(r *run, rounds []observation) {
	r.out.add("watched", idleTime.Seconds(), "s")
	r.out.add("hub calls", medianOf(rounds, func(o observation) float64 { return float64(o.calls.all) }), "")
	r.out.add("of them query pages", medianOf(rounds, func(o observation) float64 { return float64(o.calls.query) }), "")
	r.out.add("messages billed", medianOf(rounds, func(o observation) float64 { return float64(o.calls.billed) }), "")
	r.out.add("manager's CPU", medianOf(rounds, func(o observation) float64 { return o.cpu.Seconds() }), "s")
	r.out.note("The interval of the set is a minute, as by default. The bounds are those of the worst round.")
	r.out.bound(bounds.None("PATCH", worstOf(rounds, func(o observation) int { return o.calls.patch })))
	r.out.bound(bounds.None("writes to the API server", worstOf(rounds, func(o observation) int { return o.writes })))
	pages := worstOf(rounds, func(o observation) int { return o.calls.query })
	r.out.bound(bounds.AtMost("query pages a minute", "%.1f", float64(pages)/idleTime.Minutes(), mostIdlePages))
}
