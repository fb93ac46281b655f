package main

import (
	"context"
	"errors"
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

const (
	// setTimes is how many times as many devices the rows of sets have as others have twins.
	setTimes = 10
	// cellSize is the size of the small set that the heap is held against.
	cellSize = 1000
	// mostTimesTheLoop bounds set-converge, mostHeapGrowth the heap beside that of a small set, in MB.
	mostTimesTheLoop = 1.3
	mostHeapGrowth   = 20
	// mostWritesPerSecond to the API server while a set rolls out.
	mostWritesPerSecond = 1
)

// setDevices is how many devices the large set of a row has.
func setDevices(o options) int { return setTimes * o.n }

// setConvergence is what the row set-converge measures, by round; of the floor there are two numbers for each.
type setConvergence struct {
	took, floor             []float64
	cell, heap, cpu, hubCPU []float64
	floorCPU, floorHubCPU   []float64
	writes, gets, pages     []float64
	// again is how many devices got a PATCH too many.
	again int
}

func setConvergeRow() scenario {
	m := &setConvergence{}
	// The floor is taken before and after, so that what else the machine does weighs on both alike.
	floor := func(name string) []step {
		return []step{
			{"start a hub for the floor", func(ctx context.Context, r *run) error {
				_, err := r.env.emulate(ctx, name, unbounded, map[string]int{bareDevices: r.out.N, cellDevices: min(cellSize, r.out.N)})
				return err
			}},
			{"do a query for each hundred devices, and a PATCH for each", m.bare},
			{"stop the hub of the floor", func(_ context.Context, r *run) error { return r.env.dropHub() }},
		}
	}
	return scenario{
		name: "set-converge", title: "one DeviceTwinSet brings N devices to its revision, beside a bare loop",
		hub: unbounded.String(), twins: setDevices, rounds: true,
		steps: slices.Concat([]step{{"start a cluster", startCluster}}, floor("before"), []step{
			{"start the hub", func(ctx context.Context, r *run) error {
				return r.env.addHub(ctx, "hub", unbounded, map[string]int{lineDevices: r.out.N, cellDevices: min(cellSize, r.out.N)})
			}},
			{"start the manager", startManager},
			{"roll out a small set", m.small},
			{"roll out the set", m.large},
			{"stop the manager", stopManager},
			{"stop the hub", func(_ context.Context, r *run) error { return r.env.dropHub() }},
		}, floor("after")),
		report: m.report,
	}
}

func (m *setConvergence) small(ctx context.Context, r *run) error {
	n := min(cellSize, r.out.N)
	if _, err := r.rollout(ctx, cellDevices, n, nothingElse); err != nil {
		return err
	}
	if err := r.awaitComplete(ctx, cellDevices, n); err != nil {
		return err
	}
	return r.sampleHeap(ctx, &m.cell, "live heap with the small set")
}

// bare measures the floor.
func (m *setConvergence) bare(ctx context.Context, r *run) error {
	before, ownErr := ownCPU()
	hubBefore, err := process.UsageOf(r.hub().Process.PID())
	if err := errors.Join(ownErr, err); err != nil {
		return err
	}
	took, err := r.bareLoop(ctx, r.hub(), bareDevices)
	if err != nil {
		return err
	}
	after, ownErr := ownCPU()
	hubAfter, err := process.UsageOf(r.hub().Process.PID())
	r.sample(&m.floor, "the floor", took.Seconds(), "s")
	r.sample(&m.floorCPU, "the floor's CPU", (after - before).Seconds(), "s")
	r.sample(&m.floorHubCPU, "the emulator's CPU at the floor", (hubAfter.CPU - hubBefore.CPU).Seconds(), "s")
	return errors.Join(ownErr, err)
}

func (m *setConvergence) large(ctx context.Context, r *run) error {
	before, err := process.UsageOf(r.env.manager.PID())
	if err != nil {
		return err
	}
	hubBefore, err := process.UsageOf(r.hub().Process.PID())
	if err != nil {
		return err
	}
	seen, err := r.rollout(ctx, lineDevices, r.out.N, nothingElse)
	if err != nil {
		return err
	}
	r.sample(&m.took, "until the last device is written", seen.took().Seconds(), "s")
	after, err := process.UsageOf(r.env.manager.PID())
	if err != nil {
		return err
	}
	hubAfter, err := process.UsageOf(r.hub().Process.PID())
	if err != nil {
		return err
	}
	r.sample(&m.cpu, "the manager's CPU", (after.CPU - before.CPU).Seconds(), "s")
	r.sample(&m.hubCPU, "the emulator's CPU", (hubAfter.CPU - hubBefore.CPU).Seconds(), "s")
	if err := r.sampleHeap(ctx, &m.heap, "live heap right after the last write"); err != nil {
		return err
	}
	if err := r.awaitComplete(ctx, lineDevices, r.out.N); err != nil {
		return err
	}
	r.sample(&m.writes, "writes to the API server", float64(seen.writes), "")
	r.sample(&m.gets, "GET", float64(seen.calls.get), "")
	r.sample(&m.pages, "query pages", float64(seen.calls.query), "")
	total, err := r.hub().calls(ctx)
	m.again += total.patch - r.out.N - min(cellSize, r.out.N)
	return err
}

// sampleHeap notes what lives on the manager's heap, in MB.
func (r *run) sampleHeap(ctx context.Context, numbers *[]float64, what string) error {
	heap, err := r.env.manager.heap(ctx)
	r.sample(numbers, what, float64(heap)/megabyte, "MB")
	return err
}

// floors are the means of those before and after, by round.
func (m *setConvergence) floors() []float64 {
	var means []float64
	for around := range slices.Chunk(m.floor, 2) {
		means = append(means, (around[0]+around[1])/2)
	}
	return means
}

func (m *setConvergence) report(_ context.Context, r *run) error {
	n := float64(r.out.N)
	took, ratio := stats.Median(m.took), stats.Median(ratios(m.took, m.floors()))
	growth := slices.Max(m.heap) - slices.Min(m.cell)
	r.out.add("from the set's creation to the last PATCH", took, "s")
	r.out.add("devices a second", n/took, "/s")
	r.out.add("floor: a page of ids for a hundred, a conditional PATCH for each; 16 at a time", stats.Median(m.floor), "s")
	r.out.add("floor, devices a second", n/stats.Median(m.floor), "/s")
	r.out.add("times the floor", ratio, "")
	r.out.add("query pages", stats.Median(m.pages), "")
	r.out.add("GET", stats.Median(m.gets), "")
	r.out.add("writes to the API server", stats.Median(m.writes), "")
	r.out.add("manager's CPU", stats.Median(m.cpu), "s")
	r.out.add("emulator's CPU", stats.Median(m.hubCPU), "s")
	r.out.add("floor: its own CPU", stats.Median(m.floorCPU), "s")
	r.out.add("floor: emulator's CPU", stats.Median(m.floorHubCPU), "s")
	r.out.add("live heap with a set of 1,000 devices", stats.Median(m.cell), "MB")
	r.out.add("live heap right after the last PATCH", stats.Median(m.heap), "MB")
	r.out.note("Nothing bounds the rate here but the machine, which manager and emulator share. The loop does not look at the answers, " +
		"and its floor is the mean of one before and one after. The largest hub that IoT Hub sells without asking, ten units of S3, allows 2500 updates a second.")
	r.out.bound(bounds.AtMost("time, beside the bare loop", "%.2f times", ratio, mostTimesTheLoop))
	r.out.bound(bounds.None("PATCH calls beside one for each device", m.again))
	r.out.bound(bounds.AtMost("writes to the API server, a second", "%.2f", slices.Max(ratios(m.writes, m.took)), mostWritesPerSecond))
	r.out.bound(bounds.AtMost("live heap beyond that of a set of 1,000 devices", "%.1f MB", growth, mostHeapGrowth))
	return nil
}
