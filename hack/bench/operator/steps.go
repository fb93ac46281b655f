package main

import "context"

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
		return r.env.addHub(ctx, "hub", p, map[string]int{fleetSet: r.out.N}, flags...)
	}
}

// createTwins declares every device of the fleet.
func createTwins(ctx context.Context, r *run) error {
	_, err := r.env.create(ctx, r.hub(), fleetSet, 1, r.out.N)
	return err
}

func awaitReady(ctx context.Context, r *run) error {
	return r.env.awaitReady(ctx, r.out.N, convergeLimit(r.out.N))
}

// newFleet starts the fleet. converge waits until it has converged.
func newFleet(converge action) []step {
	return []step{
		{"start a cluster", startCluster},
		{"start the hub", func(ctx context.Context, r *run) error {
			return r.env.addHub(ctx, "hub", unthrottled, map[string]int{fleetSet: r.out.N, moreSet: spare})
		}},
		{"create the DeviceTwins", createTwins},
		{"start the manager", startManager},
		{"wait until all are Ready", converge},
		{"keep the fleet for the next rows", func(_ context.Context, r *run) error { r.fleet = r.env; return nil }},
	}
}

// useFleet has the fleet and its manager run, and waits until nothing is written. Where no
// row before has left one, it starts one.
func useFleet(ctx context.Context, r *run) error {
	var steps []step
	if r.env = r.fleet; r.env == nil {
		steps = newFleet(awaitReady)
	} else if r.env.manager == nil {
		steps = []step{{"start the manager", startManager}}
	}
	return r.do(ctx, append(steps, step{"wait until nothing is written", quiet(quietTime)}))
}
