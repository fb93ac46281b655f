package main

import (
	"context"
	"errors"
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
	took time.Duration
	// cpu is of all managers together, heap of the largest.
	cpu, heap float64
	patches   int // at both hubs
	writes    int // to the API server
}

func measureSharding(ctx context.Context, b *bench, out *result) error {
	if err := b.close(); err != nil {
		return err
	}
	each := b.opts.n / len(shardNames())
	out.Rounds, out.N = b.opts.rounds, each*len(shardNames())
	out.Hub = "two hubs: " + out.Hub
	var one, two, ratios, heaps []float64
	var alone, divided sharded
	extra := 0
	for round := range b.opts.rounds {
		b.say("round %d of %d", round+1, b.opts.rounds)
		var err error
		if alone, err = b.shardingOnce(ctx, each, false); err != nil {
			return err
		}
		if divided, err = b.shardingOnce(ctx, each, true); err != nil {
			return err
		}
		one, two = append(one, alone.took.Seconds()), append(two, divided.took.Seconds())
		ratios = append(ratios, divided.took.Seconds()/alone.took.Seconds())
		heaps = append(heaps, divided.heap/alone.heap)
		extra += alone.patches + divided.patches - 2*out.N
		b.say("round %d of %d: %.1f s by one manager, %.1f s by two", round+1, b.opts.rounds, alone.took.Seconds(), divided.took.Seconds())
	}
	out.add("one manager: until all are Ready, from when the hubs release their calls", stats.Median(one), "s")
	out.add("two managers", stats.Median(two), "s")
	for _, v := range []struct {
		who string
		sharded
	}{{"one manager", alone}, {"two managers", divided}} {
		out.add(v.who+": CPU until all are Ready, together", v.cpu, "s")
		out.add(v.who+": live heap, of the larger", v.heap/megabyte, "MB")
		out.add(v.who+": writes to the API server, for an object", float64(v.writes)/float64(out.N), "")
	}
	out.note("All managers run on this machine: two of them cannot be twice as fast as one here. The clock starts when all are there and the hubs release their first calls, which they hold until then. CPU, heap and writes are of the last round.")
	out.bound(bounds.None("PATCH calls beside one for each twin", extra))
	out.bound(bounds.AtMost("time of two managers, beside one", "%.2f times", stats.Median(ratios), mostTimesAlone))
	if out.N >= boundedFrom {
		out.bound(bounds.AtMost("live heap of a shard's manager, of that of one alone", "%.2f", stats.Median(heaps), mostOfTheHeap))
	}
	return nil
}

// shardingOnce lets so many twins on each of two hubs converge on a fresh cluster: by
// one manager for all, or by one for each hub.
func (b *bench) shardingOnce(ctx context.Context, each int, divided bool) (out sharded, err error) {
	d, ctx, err := b.newBed(ctx)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	for _, name := range shardNames() {
		if err := d.addShard(ctx, name, each); err != nil {
			return out, err
		}
	}
	managers, released, err := d.startShards(ctx, divided)
	if err != nil {
		return out, err
	}
	total := each * len(d.hubs)
	if err := d.awaitReady(ctx, total, convergeLimit(total)); err != nil {
		return out, err
	}
	out.took = d.writes.lastStatus(func(string) bool { return true }).Sub(released)
	out.writes = d.writes.total
	for _, m := range managers {
		usage, err := process.UsageOf(m.PID())
		if err != nil {
			return out, err
		}
		out.cpu += usage.CPU.Seconds()
		heap, err := m.heap(ctx)
		if err != nil {
			return out, err
		}
		out.heap = max(out.heap, float64(heap))
	}
	for _, h := range d.hubs {
		c, err := h.calls(ctx)
		if err != nil {
			return out, err
		}
		out.patches += c.patch
	}
	return out, nil
}

// addShard adds a hub with so many DeviceTwins, all with the label of a shard.
func (d *bed) addShard(ctx context.Context, name string, twins int) error {
	h, err := d.addHub(ctx, name, unthrottled, map[string]int{name: twins})
	if err != nil {
		return err
	}
	h.labels = map[string]string{shardLabel: name}
	conn := &v1alpha1.HubConnection{}
	conn.Namespace, conn.Name = namespace, h.name
	labelled := conn.DeepCopy()
	labelled.Labels = h.labels
	if err := d.kube.Patch(ctx, labelled, client.MergeFrom(conn)); err != nil {
		return err
	}
	_, err = d.create(ctx, h, name, 1, twins)
	return err
}

// startShards starts one manager for all, or one for each shard, and returns when the
// hubs release them: each holds its first call until all managers are there.
func (d *bed) startShards(ctx context.Context, divided bool) (managers []*manager, released time.Time, err error) {
	gates := map[*hub]string{}
	for _, h := range d.hubs {
		if gates[h], err = h.AddFault(ctx, emulator.Fault{Operation: "*", Action: "hold"}); err != nil {
			return nil, released, err
		}
	}
	wanted := map[string][]string{"manager": nil}
	if divided {
		wanted = map[string][]string{}
		for _, name := range shardNames() {
			wanted["manager-"+name] = []string{"--watch-label-selector", shardLabel + "=" + name}
		}
	}
	for name, flags := range wanted {
		m, _, err := d.launch(ctx, name, flags...)
		if err != nil {
			return nil, released, err
		}
		managers = append(managers, m)
	}
	for h, gate := range gates {
		if err := d.bench.await(ctx, "the hubs are called", time.Minute, pollEvery, func() (string, bool, error) {
			state, err := h.FaultState(ctx, gate)
			return "not yet", state.Held > 0, err
		}); err != nil {
			return nil, released, err
		}
	}
	released = time.Now()
	for h, gate := range gates {
		if err := h.RemoveFault(ctx, gate); err != nil {
			return nil, released, err
		}
	}
	return managers, released, nil
}
