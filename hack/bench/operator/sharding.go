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
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/emulator"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

const (
	// shardLabel tells the shards apart.
	shardLabel = "iothub.devicetwin.io/shard"
	// mostTimesAlone bounds the time of two managers beside that of one. They are all
	// on this machine, and so gain nothing from one another; that they hold the same
	// work up no more than this is what can be seen of sharding here.
	mostTimesAlone = 1.25
	// mostOfTheHeap bounds what a shard's manager holds in memory beside what one alone
	// does, in a fleet that is large enough for the rest not to matter.
	mostOfTheHeap = 0.75
)

// shardNames are the shards, and the sets and hubs in each.
func shardNames() []string { return []string{"north", "south"} }

// sharded is what came of a fleet on two hubs.
type sharded struct {
	// selectors are of the managers: an empty one selects all.
	selectors []string
	managers  []*manager
	released  time.Time

	// took is in seconds and heap is of the largest manager, both by round.
	took, heap []float64
	// cpu is of all managers together, writes are to the API server, both in the last round.
	cpu    float64
	writes int
	// patches are at both hubs, of all rounds.
	patches int
}

func shardingRow() scenario {
	alone, divided := &sharded{selectors: []string{""}}, &sharded{}
	for _, name := range shardNames() {
		divided.selectors = append(divided.selectors, shardLabel+"="+name)
	}
	return scenario{
		name: "sharding", title: "two managers with a shard each, beside one alone",
		hub: "two hubs: " + unthrottled.String(), rounds: true,
		twins:  func(o options) int { return o.n / len(shardNames()) * len(shardNames()) },
		steps:  slices.Concat(alone.steps("one manager"), divided.steps("two managers")),
		report: func(_ context.Context, r *run) error { reportShards(r.out, alone, divided); return nil },
	}
}

// steps let the fleet converge on a fresh cluster.
func (s *sharded) steps(who string) []step {
	return []step{
		{"start a cluster for " + who, startCluster},
		{"declare the shards", addShards},
		{"start " + who, s.start},
		{"wait until all are Ready", awaitReady},
		{"ask for CPU, heap, calls and writes", s.collect},
	}
}

// addShards adds hubs, each with its part of the DeviceTwins, with the label of a shard.
func addShards(ctx context.Context, r *run) error {
	each := r.out.N / len(shardNames())
	for _, name := range shardNames() {
		if err := r.env.addHub(ctx, name, unthrottled, map[string]int{name: each}); err != nil {
			return err
		}
		h := r.env.hubs[len(r.env.hubs)-1]
		h.labels = map[string]string{shardLabel: name}
		conn := &v1alpha1.HubConnection{}
		conn.Namespace, conn.Name = namespace, h.name
		labelled := conn.DeepCopy()
		labelled.Labels = h.labels
		if err := r.env.kube.Patch(ctx, labelled, client.MergeFrom(conn)); err != nil {
			return err
		}
		if _, err := r.env.create(ctx, h, name, 1, each); err != nil {
			return err
		}
	}
	return nil
}

// start starts the managers, and has the hubs release them together: each holds its
// first call until all managers are there.
func (s *sharded) start(ctx context.Context, r *run) (err error) {
	gates := map[*hub]string{}
	for _, h := range r.env.hubs {
		if gates[h], err = h.AddFault(ctx, emulator.Fault{Operation: "*", Action: "hold"}); err != nil {
			return err
		}
	}
	s.managers = nil
	for i, selector := range s.selectors {
		m, err := r.env.launch(ctx, fmt.Sprintf("manager-%d", i+1), "--watch-label-selector", selector)
		if err != nil {
			return err
		}
		s.managers = append(s.managers, m)
	}
	for h, gate := range gates {
		if err := r.await(ctx, "the hubs are called", time.Minute, pollEvery, func() (string, bool, error) {
			state, err := h.FaultState(ctx, gate)
			return "not yet", state.Held > 0, err
		}); err != nil {
			return err
		}
	}
	s.released = time.Now()
	for h, gate := range gates {
		if err := h.RemoveFault(ctx, gate); err != nil {
			return err
		}
	}
	return nil
}

func (s *sharded) collect(ctx context.Context, r *run) error {
	r.sample(&s.took, "until all are Ready", r.env.writes.lastStatus("").Sub(s.released).Seconds(), "s")
	s.writes, s.cpu = r.env.writes.total, 0
	largest := 0
	for _, m := range s.managers {
		usage, err := process.UsageOf(m.PID())
		if err != nil {
			return err
		}
		s.cpu += usage.CPU.Seconds()
		heap, err := m.heap(ctx)
		if err != nil {
			return err
		}
		largest = max(largest, heap)
	}
	r.sample(&s.heap, "live heap of the largest", float64(largest), "bytes")
	for _, h := range r.env.hubs {
		c, err := h.calls(ctx)
		if err != nil {
			return err
		}
		s.patches += c.patch
	}
	return nil
}

func reportShards(out *result, alone, divided *sharded) {
	out.add("one manager: until all are Ready, from when the hubs release their calls", stats.Median(alone.took), "s")
	out.add("two managers", stats.Median(divided.took), "s")
	last := out.Rounds - 1
	for _, v := range []struct {
		who string
		*sharded
	}{{"one manager", alone}, {"two managers", divided}} {
		out.add(v.who+": CPU until all are Ready, together", v.cpu, "s")
		out.add(v.who+": live heap, of the larger", v.heap[last]/megabyte, "MB")
		out.add(v.who+": writes to the API server, for an object", float64(v.writes)/float64(out.N), "")
	}
	out.note("All managers run on this machine: two of them cannot be twice as fast as one here. The clock starts when all are there and the hubs release their first calls, which they hold until then. CPU, heap and writes are of the last round.")
	out.bound(bounds.None("PATCH calls beside one for each twin", alone.patches+divided.patches-2*out.Rounds*out.N))
	out.bound(bounds.AtMost("time of two managers, beside one", "%.2f times", stats.Median(ratios(divided.took, alone.took)), mostTimesAlone))
	if out.N >= boundedFrom {
		out.bound(bounds.AtMost("live heap of a shard's manager, of that of one alone", "%.2f", stats.Median(ratios(divided.heap, alone.heap)), mostOfTheHeap))
	}
}
