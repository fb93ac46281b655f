package main

import (
	"context"
	"fmt"
	"slices"

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

// convergence is what the row converge measures: seconds, by round, and the last round's
// writes to the API server and size of its store.
type convergence struct {
	took, startup, four, two []float64

	status    payload
	writes    int
	storeSize int64
	inFlight  int
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
				{"start the hub", startFloorHub},
				{"do four calls for each object", m.floor(&m.four, fourSet, false)},
				{"do two calls for each object", m.floor(&m.two, twoSet, true)},
				{"end the round", m.endRound},
			},
		),
		report: m.report,
	}
}

func (m *convergence) converge(ctx context.Context, r *run) error {
	measured, err := r.env.converge(ctx, r.hub(), r.out.N)
	m.took = append(m.took, measured.took.Seconds())
	m.startup = append(m.startup, measured.startup.Seconds())
	return err
}

// keepStatus keeps what the manager wrote of an object: the floors write the same.
func (m *convergence) keepStatus(ctx context.Context, r *run) error {
	var twin v1alpha1.DeviceTwin
	if err := r.env.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: deviceID(fleetSet, 1)}, &twin); err != nil {
		return err
	}
	if twin.Status.Record == "" {
		return fmt.Errorf("%s carries no record", twin.Name)
	}
	m.status = payload(twin.Status)
	return nil
}

func (m *convergence) floor(seconds *[]float64, set string, short bool) action {
	return func(ctx context.Context, r *run) error {
		n := atFloor(r.out)
		took, err := r.env.floor(ctx, set, n, m.status, short)
		*seconds = append(*seconds, took.Seconds()*float64(r.out.N)/float64(n))
		return err
	}
}

// atFloor is how many objects a row's floors are measured with.
func atFloor(out *result) int { return min(out.N, floorTwins) }

func (m *convergence) endRound(_ context.Context, r *run) (err error) {
	m.inFlight, m.writes = r.opts.inFlight(), r.fleet.writes.total
	r.say("round %d of %d: %.1f s, floor %.1f s (four calls), %.1f s (two)", r.round+1, r.out.Rounds,
		m.took[r.round], m.four[r.round], m.two[r.round])
	m.storeSize, err = r.fleet.cluster.StoreSize()
	return err
}

func (m *convergence) report(out *result) {
	n := float64(out.N)
	ratio := stats.Median(ratios(m.took, m.four))
	out.add("until all are Ready, from the first call to the hub", stats.Median(m.took), "s")
	out.add("objects a second", n/stats.Median(m.took), "/s")
	out.add("the manager's start before that", stats.Median(m.startup), "s")
	out.add("writes to the API server, for an object", float64(m.writes)/n, "")
	out.add(fmt.Sprintf("floor: GET, record, PATCH, status; %d at a time", m.inFlight), stats.Median(m.four), "s")
	out.add("floor, objects a second", n/stats.Median(m.four), "/s")
	out.add("two-call floor: PATCH, status", stats.Median(m.two), "s")
	out.add("times the four-call floor", ratio, "")
	out.add("etcd's database", float64(m.storeSize)/megabyte, "MB")
	if atFloor(out) < out.N {
		out.note("The floors were measured with %d objects and are scaled. No bound is set: the API server, which takes most of the "+
			"machine, is slower with each write the more objects it holds.", atFloor(out))
		return
	}
	out.bound(bounds.AtMost("time, beside the four-call floor", "%.2f times", ratio, mostTimesTheFloor))
}

// ratios are those of measured values to others of the same rounds.
func ratios(measured, beside []float64) []float64 {
	out := make([]float64, len(measured))
	for i := range measured {
		out[i] = measured[i] / beside[i]
	}
	return out
}
