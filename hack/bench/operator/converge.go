package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

const (
	// mostTimesTheFloor bounds converge.
	mostTimesTheFloor = 1.3
	// floorTwins is how many objects a floor is measured with at most.
	floorTwins = 10000
	// spare is how many devices there are for DeviceTwins that come later.
	spare = 64

	megabyte = 1 << 20
)

// convergence is what the row converge measures, in seconds by round.
type convergence struct {
	took, startup, four, two []float64
	// status is what the manager wrote of an object: the floors write the same.
	status v1alpha1.DeviceTwinStatus
}

func convergeRow() scenario {
	m := &convergence{}
	return scenario{
		name: "converge", title: "N DeviceTwins at once until all are Ready, beside a bare loop",
		usesFleet: true, rounds: true,
		steps: slices.Concat(
			[]step{{"stop the fleet of the round before", func(_ context.Context, r *run) error { return r.closeFleet() }}},
			newFleet(m.converge),
			[]step{
				{"keep a status for the floors", m.keepStatus},
				// It would take the machine while a floor is measured; the next row starts it again.
				{"stop the manager", stopManager},
				{"start a cluster for the floors", startCluster},
				{"start the hub", func(ctx context.Context, r *run) error {
					return r.env.addHub(ctx, "hub", unthrottled, map[string]int{fourSet: atFloor(r.out), twoSet: atFloor(r.out)})
				}},
				{"do four calls for each object", m.floor(&m.four, fourSet, m.fourCalls)},
				{"do two calls for each object", m.floor(&m.two, twoSet, m.twoCalls)},
			},
		),
		report: m.report,
	}
}

// converge waits until all are Ready. The clock starts with the first call to the hub, as
// nothing else can be done before.
func (m *convergence) converge(ctx context.Context, r *run) error {
	var first time.Time
	err := r.await(ctx, "the first call to the hub", patience, pollEvery, func() (string, bool, error) {
		first = time.Now()
		c, err := r.hub().calls(ctx)
		return "not yet", c.all > 0, err
	})
	if err != nil {
		return err
	}
	if err := awaitReady(ctx, r); err != nil {
		return err
	}
	r.sample(&m.startup, "the manager's start", first.Sub(r.env.manager.started).Seconds(), "s")
	r.sample(&m.took, "until all are Ready", r.env.writes.lastStatus("").Sub(first).Seconds(), "s")
	return nil
}

func (m *convergence) keepStatus(ctx context.Context, r *run) error {
	var twin v1alpha1.DeviceTwin
	if err := r.env.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: deviceID(fleetSet, 1)}, &twin); err != nil {
		return err
	}
	if twin.Status.Record == "" {
		return fmt.Errorf("%s carries no record", twin.Name)
	}
	m.status = twin.Status
	return nil
}

// atFloor is how many objects a row's floors are measured with.
func atFloor(out *result) int { return min(out.N, floorTwins) }

func (m *convergence) report(_ context.Context, r *run) error {
	n := float64(r.out.N)
	size, err := r.fleet.cluster.StoreSize()
	if err != nil {
		return err
	}
	ratio := stats.Median(ratios(m.took, m.four))
	r.out.add("until all are Ready, from the first call to the hub", stats.Median(m.took), "s")
	r.out.add("objects a second", n/stats.Median(m.took), "/s")
	r.out.add("the manager's start before that", stats.Median(m.startup), "s")
	r.out.add("writes to the API server, for an object", float64(r.fleet.writes.total)/n, "")
	r.out.add(fmt.Sprintf("floor: GET, record, PATCH, status; %d at a time", r.opts.inFlight()), stats.Median(m.four), "s")
	r.out.add("floor, objects a second", n/stats.Median(m.four), "/s")
	r.out.add("two-call floor: PATCH, status", stats.Median(m.two), "s")
	r.out.add("times the four-call floor", ratio, "")
	r.out.add("etcd's database", float64(size)/megabyte, "MB")
	if atFloor(r.out) < r.out.N {
		r.out.note("The floors were measured with %d objects and are scaled. No bound is set: the API server, which takes most of the "+
			"machine, is slower with each write the more objects it holds.", atFloor(r.out))
		return nil
	}
	r.out.bound(bounds.AtMost("time, beside the four-call floor", "%.2f times", ratio, mostTimesTheFloor))
	return nil
}

// ratios are those of measured values to others of the same rounds.
func ratios(measured, beside []float64) []float64 {
	out := make([]float64, len(measured))
	for i := range measured {
		out[i] = measured[i] / beside[i]
	}
	return out
}
