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

// setS1 is what the row set-s1 measures.
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
	return scenario{
		name: "set-s1", title: "a set of 2,000 devices at an S1 hub, 80 % of its rate",
		hub: s1.String(), twins: atMost(s1Twins),
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
				return err
			}},
		},
		report: m.report,
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

func (m *setS1) report(_ context.Context, r *run) error {
	updates, queries := allowed(r.out.N)
	took := m.rolled.took()
	r.out.add("from the set's creation to the last PATCH", took.Seconds(), "s")
	r.out.add("what the rate of updates allows", updates.Seconds(), "s")
	r.out.add("what the rate of queries allows", queries.Seconds(), "s")
	r.out.add("query pages and counts", float64(m.rolled.calls.query), "")
	r.out.add("GET", float64(m.rolled.calls.get), "")
	r.out.add("answers with 429", float64(m.rolled.calls.refused), "")
	r.out.add("an edit in the middle, until it is at the hub", m.edited.Seconds(), "s")
	r.out.add("from the last PATCH until the set is Complete", m.complete.Seconds(), "s")
	r.out.note("An S1 unit allows 20 queries a minute, and a page has a hundred devices: its queries hold a set, rather than its updates. The read-back interval is %s here.", setReadBack)
	r.out.bound(bounds.AtMost("creation to the last PATCH, beside what the rate allows", "%.2f times", float64(took)/float64(max(updates, queries)), mostTimesTheRate))
	r.out.bound(bounds.None("answers with 429", m.rolled.calls.refused))
	r.out.bound(bounds.AtMost("an edit of a DeviceTwin in the middle", "%.2f s", m.edited.Seconds(), longestEdit.Seconds()))
	return nil
}
