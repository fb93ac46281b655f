package main

import (
	"context"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

// setRestart is what the row set-restart measures in a round.
type setRestart struct {
	patches, gets, pages int
	killed               time.Time
	// next is when the first device was written after it.
	next, last time.Time
	atKill     calls
	// started is when the manager was started again, ready how long that took.
	started time.Time
	ready   time.Duration
}

func setRestartRow() scenario {
	m := &setRestart{}
	var rounds []setRestart
	return scenario{
		name: "set-restart", title: "the manager is killed in the middle of a set's rollout", rounds: true,
		steps: []step{
			{"start a cluster", startCluster},
			{"start the hub", func(ctx context.Context, r *run) error {
				return r.env.addHub(ctx, "hub", unthrottled, map[string]int{lineDevices: r.out.N})
			}},
			{"start the manager", startManager},
			{"roll out half of the set", func(ctx context.Context, r *run) error {
				_, err := r.rollout(ctx, lineDevices, r.out.N/2, nothingElse)
				return err
			}},
			{"kill the manager", m.kill},
			{"start the manager", startManager},
			{"wait until it goes on", m.goesOn},
			{"wait until the set is complete", func(ctx context.Context, r *run) error {
				err := m.complete(ctx, r)
				rounds = append(rounds, *m)
				return err
			}},
		},
		report: func(_ context.Context, r *run) error { reportSetRestart(r, rounds); return nil },
	}
}

func (m *setRestart) kill(ctx context.Context, r *run) error {
	if err := r.env.sup.Kill(ctx, r.env.manager.Process); err != nil {
		return err
	}
	m.killed = time.Now()
	// What was on its way when it died has arrived by now.
	if err := r.pass(ctx, "the hub answers what was sent", time.Second); err != nil {
		return err
	}
	var err error
	m.atKill, err = r.hub().calls(ctx)
	return err
}

func (m *setRestart) goesOn(ctx context.Context, r *run) error {
	m.started, m.ready = r.env.manager.started, r.env.manager.ready.Sub(r.env.manager.started)
	return r.await(ctx, "the first device is written", patience, pollEvery, func() (string, bool, error) {
		m.next = time.Now()
		now, err := r.hub().calls(ctx)
		return "not yet", now.patch > m.atKill.patch, err
	})
}

func (m *setRestart) complete(ctx context.Context, r *run) error {
	if err := r.await(ctx, "devices are written", convergeLimit(r.out.N), 50*time.Millisecond, func() (string, bool, error) {
		m.last = time.Now()
		now, err := r.hub().calls(ctx)
		m.patches, m.gets, m.pages = now.patch, now.get-m.atKill.get, now.query-m.atKill.query
		return "", now.patch >= r.out.N, err
	}); err != nil {
		return err
	}
	if err := r.awaitComplete(ctx, lineDevices, r.out.N); err != nil {
		return err
	}
	now, err := r.hub().calls(ctx)
	m.patches = now.patch
	return err
}

func reportSetRestart(r *run, rounds []setRestart) {
	r.out.add("devices written before it was killed", medianOf(rounds, func(m setRestart) float64 { return float64(m.atKill.patch) }), "")
	r.out.add("the manager's start to ready", medianOf(rounds, func(m setRestart) float64 { return m.ready.Seconds() }), "s")
	r.out.add("from its start to the next PATCH", medianOf(rounds, func(m setRestart) float64 { return m.next.Sub(m.started).Seconds() }), "s")
	r.out.add("from its start to the last PATCH", medianOf(rounds, func(m setRestart) float64 { return m.last.Sub(m.started).Seconds() }), "s")
	r.out.add("GET after it", medianOf(rounds, func(m setRestart) float64 { return float64(m.gets) }), "")
	r.out.add("query pages after it", medianOf(rounds, func(m setRestart) float64 { return float64(m.pages) }), "")
	again := worstOf(rounds, func(m setRestart) int { return m.patches - r.out.N })
	r.out.bound(bounds.None("devices with a second PATCH, in the worst round", again))
}
