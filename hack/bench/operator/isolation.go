package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/emulator"
)

const (
	// dirtyTwins wait at the hub that hangs, otherTwins converge at the other.
	dirtyTwins = 1000
	otherTwins = 2000
	// leastOfItsRate bounds the rate beside a hub that hangs.
	leastOfItsRate = 0.95
	// The sets of the other hub: converging alone, beside the one that hangs, and alone
	// again, as the cluster grows.
	aloneSet  = "alone"
	besideSet = "beside"
	againSet  = "again"
)

// isolation is the rates of one hub by round: alone, while another one hangs, and alone
// again.
type isolation struct {
	alone, beside, again []float64

	// dirty is how many twins wait at the hub that hangs, the first one, by a fault there.
	dirty int
	fault string
}

func isolationRow() scenario {
	m := &isolation{}
	return scenario{
		name: "isolation", title: "one hub hangs, another converges",
		twins: atMost(otherTwins), rounds: true,
		steps: []step{
			{"start a cluster", startCluster},
			{"start two hubs", m.startHubs},
			{"create DeviceTwins at the one that will hang", func(ctx context.Context, r *run) error {
				_, err := r.env.create(ctx, r.hub(), fleetSet, 1, m.dirty)
				return err
			}},
			{"start the manager", startManager},
			{"wait until they are Ready", func(ctx context.Context, r *run) error {
				return r.env.awaitReady(ctx, m.dirty, convergeLimit(m.dirty))
			}},
			{"converge at the other one alone", m.converge(aloneSet, &m.alone)},
			{"have the first hub hang", m.hang},
			{"converge beside it", m.converge(besideSet, &m.beside)},
			{"release the first hub", m.release},
			{"converge alone again", m.converge(againSet, &m.again)},
		},
		report: m.report,
	}
}

func (m *isolation) startHubs(ctx context.Context, r *run) error {
	n := r.out.N
	m.dirty = min(r.opts.n, dirtyTwins)
	if err := r.env.addHub(ctx, "hanging", unthrottled, map[string]int{fleetSet: m.dirty}); err != nil {
		return err
	}
	return r.env.addHub(ctx, "other", unthrottled, map[string]int{aloneSet: n, besideSet: n, againSet: n})
}

// converge measures how many DeviceTwins of a set converge a second at the other hub.
// What does not do so in time counts by what did.
func (m *isolation) converge(set string, rates *[]float64) action {
	return func(ctx context.Context, r *run) error {
		done := func() (count int) {
			for name := range r.env.writes.status {
				if strings.HasPrefix(name, set+"-") {
					count++
				}
			}
			return count
		}
		n := r.out.N
		began := time.Now()
		if _, err := r.env.create(ctx, r.env.hubs[1], set, 1, n); err != nil {
			return err
		}
		err := r.await(ctx, "the other hub converges", convergeLimit(0), 50*time.Millisecond, func() (string, bool, error) {
			err := r.env.writes.refresh()
			return fmt.Sprintf("%d of %d", done(), n), done() >= n, err
		})
		ended := r.env.writes.lastStatus(set + "-")
		if errors.Is(err, errTooLong) {
			ended, err = time.Now(), nil
		}
		r.sample(rates, "rate", float64(done())/ended.Sub(began).Seconds(), "/s")
		return err
	}
}

// hang has the first hub hold all calls, and edits its DeviceTwins.
func (m *isolation) hang(ctx context.Context, r *run) (err error) {
	if m.fault, err = r.hub().AddFault(ctx, emulator.Fault{Operation: "*", Action: "hang"}); err != nil {
		return err
	}
	if err := r.editFleet(ctx, m.dirty, "another writer"); err != nil {
		return err
	}
	return r.await(ctx, "the hub holds calls", time.Minute, pollEvery, func() (string, bool, error) {
		state, err := r.hub().FaultState(ctx, m.fault)
		return fmt.Sprintf("%d calls held", state.Held), state.Held > 0, err
	})
}

func (m *isolation) release(ctx context.Context, r *run) error {
	if err := r.hub().RemoveFault(ctx, m.fault); err != nil {
		return err
	}
	return r.env.awaitReady(ctx, m.dirty+2*r.out.N, convergeLimit(m.dirty))
}

func (m *isolation) report(_ context.Context, r *run) error {
	around := make([]float64, len(m.alone))
	for i := range around {
		around[i] = (m.alone[i] + m.again[i]) / 2
	}
	r.out.add("twins that wait at the hub that hangs", float64(m.dirty), "")
	r.out.add("the other hub's rate alone", stats.Median(m.alone), "/s")
	r.out.add("its rate beside", stats.Median(m.beside), "/s")
	r.out.add("its rate alone again", stats.Median(m.again), "/s")
	r.out.note("Rates are from the creation of the first DeviceTwin to the last status. The cluster grows from one to the next, so " +
		"the rate beside is held against the mean of those before and after it.")
	r.out.bound(bounds.AtLeast("rate beside a hub that hangs, of that alone", "%.2f", stats.Median(ratios(m.beside, around)), leastOfItsRate))
	return nil
}
