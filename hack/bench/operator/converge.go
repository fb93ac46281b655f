package main

import (
	"context"
	"errors"
	"fmt"
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
)

// convergeLimit is how long so many may take to converge: as long as at five a second,
// and a minute.
func convergeLimit(n int) time.Duration { return time.Minute + time.Duration(n)*time.Second/5 }

// converged is a converge that was measured.
type converged struct {
	// startup is from the manager's start to its first call to the hub; took from
	// there to the last Ready.
	startup, took time.Duration
}

// converge starts the manager with all DeviceTwins there. The clock starts with the
// first call to the hub, as nothing else can be done before.
func (d *bed) converge(ctx context.Context, h *hub, n int) (converged, error) {
	started, _, err := d.startManager(ctx)
	if err != nil {
		return converged{}, err
	}
	first, err := d.firstCall(ctx, h)
	if err != nil {
		return converged{}, err
	}
	if err := d.awaitReady(ctx, n, convergeLimit(n)); err != nil {
		return converged{}, err
	}
	last := d.writes.lastStatus(func(string) bool { return true })
	return converged{startup: first.Sub(started), took: last.Sub(first)}, nil
}

// firstCall waits for the first call to a hub.
func (d *bed) firstCall(ctx context.Context, h *hub) (time.Time, error) {
	var at time.Time
	err := d.bench.await(ctx, "the first call to the hub", time.Minute, pollEvery, func() (string, bool, error) {
		at = time.Now()
		c, err := h.calls(ctx)
		return "not yet", c.all > 0, err
	})
	return at, err
}

// newFleet makes a bed with N DeviceTwins of the fleet that no manager has seen yet.
func (b *bench) newFleet(ctx context.Context, n int) (*bed, context.Context, *hub, error) {
	d, ctx, err := b.newBed(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	h, err := d.addHub(ctx, "hub", unthrottled, map[string]int{fleetSet: n, moreSet: spare})
	if err == nil {
		_, err = d.create(ctx, h, fleetSet, 1, n)
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, d.close())
	}
	return d, ctx, h, nil
}

// theFleet is the fleet that has converged, for the rows that follow a converge.
func (b *bench) theFleet(ctx context.Context) (*bed, context.Context, *hub, error) {
	if b.fleet == nil {
		d, inBed, h, err := b.newFleet(ctx, b.opts.n)
		if err != nil {
			return nil, nil, nil, err
		}
		if _, err := d.converge(inBed, h, b.opts.n); err != nil {
			return nil, nil, nil, errors.Join(err, d.close())
		}
		b.fleet = d
	}
	d := b.fleet
	if d.died.Err() != nil {
		return nil, nil, nil, context.Cause(d.died)
	}
	if d.manager == nil {
		if _, _, err := d.startManager(d.died); err != nil {
			return nil, nil, nil, err
		}
	}
	_, err := d.quiet(d.died, quietTime)
	return d, d.died, d.hubs[0], err
}

func measureConverge(ctx context.Context, b *bench, out *result) error {
	out.Rounds = b.opts.rounds
	n := b.opts.n
	atFloor := min(n, floorTwins)
	scale := float64(n) / float64(atFloor)
	var took, four, two, startup, ratios []float64
	for round := range b.opts.rounds {
		b.say("round %d of %d", round+1, b.opts.rounds)
		measured, payload, err := b.convergeOnce(ctx, n)
		if err != nil {
			return err
		}
		floors, err := b.floors(ctx, atFloor, payload)
		if err != nil {
			return err
		}
		took = append(took, measured.took.Seconds())
		startup = append(startup, measured.startup.Seconds())
		four = append(four, scale*floors.four.Seconds())
		two = append(two, scale*floors.two.Seconds())
		ratios = append(ratios, took[round]/four[round])
		b.say("round %d of %d: %.1f s, floor %.1f s (four calls), %.1f s (two)", round+1, b.opts.rounds,
			took[round], four[round], two[round])
	}
	rate := func(seconds []float64) float64 { return float64(n) / stats.Median(seconds) }
	out.add("until all are Ready, from the first call to the hub", stats.Median(took), "s")
	out.add("objects a second", rate(took), "/s")
	out.add("the manager's start before that", stats.Median(startup), "s")
	out.add("writes to the API server, for an object", float64(b.fleet.writes.total)/float64(n), "")
	out.add(fmt.Sprintf("floor: GET, record, PATCH, status; %d at a time", b.opts.inFlight()), stats.Median(four), "s")
	out.add("floor, objects a second", rate(four), "/s")
	out.add("two-call floor: PATCH, status", stats.Median(two), "s")
	out.add("times the four-call floor", stats.Median(ratios), "")
	if size, err := b.fleet.cluster.StoreSize(); err == nil {
		out.add("etcd's database", float64(size)/megabyte, "MB")
	}
	if atFloor < n {
		out.note("The floors were measured with %d objects and are scaled. No bound is set: the API server, which takes most of the "+
			"machine, is slower with each write the more objects it holds.", atFloor)
		return nil
	}
	out.bound(bounds.AtMost("time, beside the four-call floor", "%.2f times", stats.Median(ratios), mostTimesTheFloor))
	return nil
}

const megabyte = 1 << 20

// payload is what the manager wrote of an object: the floor writes the same.
type payload v1alpha1.DeviceTwinStatus

// convergeOnce measures on a fresh cluster, which becomes the fleet. Its manager
// stops, so as not to take the machine while a floor is measured; the next row starts
// it again.
func (b *bench) convergeOnce(ctx context.Context, n int) (converged, payload, error) {
	if err := b.close(); err != nil {
		return converged{}, payload{}, err
	}
	d, inBed, h, err := b.newFleet(ctx, n)
	if err != nil {
		return converged{}, payload{}, err
	}
	b.fleet = d
	measured, err := d.converge(inBed, h, n)
	if err != nil {
		return measured, payload{}, err
	}
	var twin v1alpha1.DeviceTwin
	if err := d.kube.Get(inBed, client.ObjectKey{Namespace: namespace, Name: deviceID(fleetSet, 1)}, &twin); err != nil {
		return measured, payload{}, err
	}
	if twin.Status.Record == "" {
		return measured, payload{}, fmt.Errorf("%s carries no record", twin.Name)
	}
	return measured, payload(twin.Status), d.stopManager()
}
