package main

import (
	"context"
	"math"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

// setReadBack leaves the hub's queries to the set: at an S1 unit they are what it has least of.
const setReadBack = 5 * time.Minute

// s1Sets is an S1 unit that sets use.
func s1Sets() profile {
	p := s1
	p.readBack = setReadBack
	return p
}

// setS1 is what the row set-s1 measures in a round.
type setS1 struct {
	rolled roll
	// object is a DeviceTwin of another device of the hub, and edited how long an edit of it took to the hub.
	object *v1alpha1.DeviceTwin
	edited time.Duration
	// complete is how long after the last PATCH the set said so.
	complete time.Duration
}

func setS1Row() scenario {
	m := &setS1{}
	var rounds []setS1
	return scenario{
		name: "set-s1", title: "a set of 2,000 devices at an S1 hub, 80 % of its rate",
		hub: s1.String(), twins: atMost(s1Twins), rounds: true,
		steps: []step{
			{"start a cluster", startCluster},
			{"start the hub", func(ctx context.Context, r *run) error {
				return r.env.addHub(ctx, "hub", s1Sets(), map[string]int{lineDevices: r.out.N, fleetSet: 1})
			}},
			{"create a DeviceTwin", func(ctx context.Context, r *run) error {
				made, err := r.env.create(ctx, r.hub(), fleetSet, 1, 1)
				if err != nil {
					return err
				}
				m.object = made[0]
				return nil
			}},
			{"start the manager", startManager},
			{"wait until it is Ready", func(ctx context.Context, r *run) error { return r.env.awaitReady(ctx, 1, convergeLimit(1)) }},
			{"wait until nothing is written, and all rates are whole again", quiet(quietTime)},
			{"roll out the set, and edit the DeviceTwin in its middle", m.roll},
			{"wait until it is complete", func(ctx context.Context, r *run) error {
				began := time.Now()
				err := r.awaitComplete(ctx, lineDevices, r.out.N)
				m.complete = time.Since(began)
				rounds = append(rounds, *m)
				return err
			}},
		},
		report: func(_ context.Context, r *run) error { reportSetS1(r, rounds); return nil },
	}
}

func (m *setS1) roll(ctx context.Context, r *run) (err error) {
	edited := make(chan error, 1)
	begun := false
	m.rolled, err = r.rollout(ctx, lineDevices, r.out.N+1, func(patched int) error { // the edit's PATCH too
		if patched < r.out.N/2 || begun {
			return nil
		}
		begun = true
		go func() {
			var failed error
			m.edited, failed = r.untilUpdated(ctx, m.object.Name, convergeLimit(s1Twins), func() error { return r.env.edit(ctx, m.object, 1, "another owner") })
			edited <- failed
		}()
		return nil
	})
	if err != nil {
		return err
	}
	return <-edited
}

// allowed is how long so many devices take at the rates of a hub. Each is an update. Each hundred is a query of the
// hub's, which takes half a minute's worth of them at once; two more count the devices, and those of the last one
// are written when it was answered.
func allowed(n int) (updates, queries time.Duration) {
	const (
		pageRows  = 100
		counts    = 2
		perMinute = 20 * s1Percent / 100
		atOnce    = perMinute / 2
		perSecond = s1Updates * s1Percent / 100
	)
	pages := math.Ceil(float64(n) / pageRows)
	seconds := max(0, pages+counts-atOnce)*60/perMinute + pageRows/float64(perSecond)
	return time.Duration(float64(n) / perSecond * float64(time.Second)), time.Duration(seconds * float64(time.Second))
}

func reportSetS1(r *run, rounds []setS1) {
	updates, queries := allowed(r.out.N)
	took := medianOf(rounds, func(m setS1) float64 { return m.rolled.took().Seconds() })
	refused := worstOf(rounds, func(m setS1) int { return m.rolled.calls.refused })
	edited := worstOf(rounds, func(m setS1) float64 { return m.edited.Seconds() })
	r.out.add("from the set's creation to the last PATCH", took, "s")
	r.out.add("what the rate of updates allows", updates.Seconds(), "s")
	r.out.add("what the rate of queries allows", queries.Seconds(), "s")
	r.out.add("query pages and counts", medianOf(rounds, func(m setS1) float64 { return float64(m.rolled.calls.query) }), "")
	r.out.add("GET", medianOf(rounds, func(m setS1) float64 { return float64(m.rolled.calls.get) }), "")
	r.out.add("answers with 429, in the worst round", float64(refused), "")
	r.out.add("an edit in the middle, until it is at the hub", medianOf(rounds, func(m setS1) float64 { return m.edited.Seconds() }), "s")
	r.out.add("the same in the worst round", edited, "s")
	r.out.add("from the last PATCH until the set is Complete", medianOf(rounds, func(m setS1) float64 { return m.complete.Seconds() }), "s")
	r.out.note("An S1 unit allows 20 queries a minute, and a page has a hundred devices: its queries hold a set, rather than its updates. The read-back interval is %s here.", setReadBack)
	r.out.bound(bounds.AtMost("creation to the last PATCH, beside what the rate allows", "%.2f times", took/max(updates, queries).Seconds(), mostTimesTheRate))
	r.out.bound(bounds.None("answers with 429, in the worst round", refused))
	r.out.bound(bounds.AtMost("an edit of a DeviceTwin in the middle, in the worst round", "%.2f s", edited, longestEdit.Seconds()))
}
