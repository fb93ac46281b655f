package main

import (
	"context"
	"time"
)

// Steps that several scenarios share.

// startCluster starts a cluster, in place of the run's one before.
func startCluster(ctx context.Context, r *run) (err error) {
	if err := r.leave(); err != nil {
		return err
	}
	r.env, err = r.newEnvironment(ctx)
	return err
}

// startHub starts a hub with the devices of the fleet.
func startHub(p profile, flags ...string) action {
	return func(ctx context.Context, r *run) error {
		_, err := r.env.addHub(ctx, "hub", p, map[string]int{fleetSet: r.out.N}, flags...)
		return err
	}
}

// createTwins declares every device of the fleet.
func createTwins(ctx context.Context, r *run) error {
	_, err := r.env.create(ctx, r.hub(), fleetSet, 1, r.out.N)
	return err
}

func startManager(ctx context.Context, r *run) error {
	_, _, err := r.env.startManager(ctx)
	return err
}

func stopManager(_ context.Context, r *run) error { return r.env.stopManager() }

func awaitReady(ctx context.Context, r *run) error {
	return r.env.awaitReady(ctx, r.out.N, convergeLimit(r.out.N))
}

// converge starts the manager and waits until all DeviceTwins are Ready.
func converge(ctx context.Context, r *run) error {
	_, err := r.env.converge(ctx, r.hub(), r.out.N)
	return err
}

// quiet waits until nothing was written for so long.
func quiet(length time.Duration) action {
	return func(ctx context.Context, r *run) error {
		_, err := r.env.quiet(ctx, length)
		return err
	}
}

// newFleet starts the fleet, which has converged when the steps are done.
func newFleet(converge action) []step {
	return []step{
		{"start a cluster", startCluster},
		{"start the hub", func(ctx context.Context, r *run) error {
			_, err := r.env.addHub(ctx, "hub", unthrottled, map[string]int{fleetSet: r.out.N, moreSet: spare})
			return err
		}},
		{"create the DeviceTwins", createTwins},
		{"converge", converge},
		{"keep the fleet for the next rows", func(_ context.Context, r *run) error { r.fleet = r.env; return nil }},
	}
}

// useFleet has the fleet and its manager run, and waits until nothing is written. Where no
// row before has left one, it starts one.
func useFleet(ctx context.Context, r *run) error {
	if r.fleet == nil {
		if err := r.do(ctx, newFleet(converge)); err != nil {
			return err
		}
	}
	r.env = r.fleet
	steps := []step{{"wait until nothing is written", quiet(quietTime)}}
	if r.env.manager == nil {
		steps = append([]step{{"start the manager", startManager}}, steps...)
	}
	return r.do(ctx, steps)
}
