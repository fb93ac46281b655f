package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

const (
	// mostBytesPerTwin bounds the live heap, between boundedFrom twins and more.
	mostBytesPerTwin = 6 << 10
	boundedFrom      = 10000
)

func memoryRow() scenario {
	return scenario{
		name: "memory", title: "the manager's memory by number of twins",
		twins: func(o options) int { return slices.Max(o.sizes) },
		steps: []step{
			{"start a cluster", startCluster},
			{"start the hub", startHub(unthrottled)},
			{"start the manager", startManager},
			{"grow from size to size", grow},
		},
		report: func(_ context.Context, r *run) error {
			r.out.note("The heap is what is live after two garbage collections; between them the manager lets it grow by as much again, and by 64 MB at least. Each twin declares 1 KB.")
			return nil
		},
	}
}

func grow(ctx context.Context, r *run) error {
	from, before := 0, 0
	for _, size := range r.opts.sizes {
		if _, err := r.env.create(ctx, r.hub(), fleetSet, from+1, size); err != nil {
			return err
		}
		if err := r.env.awaitReady(ctx, size, convergeLimit(size)); err != nil {
			return err
		}
		if err := quiet(quietTime)(ctx, r); err != nil {
			return err
		}
		usage, err := process.UsageOf(r.env.manager.PID()) // before the collection that is asked for
		if err != nil {
			return err
		}
		heap, err := r.env.manager.heap(ctx)
		if err != nil {
			return err
		}
		r.out.add(fmt.Sprintf("live heap with %d twins", size), float64(heap)/megabyte, "MB")
		r.out.add(fmt.Sprintf("RSS with %d twins", size), float64(usage.RSS)/megabyte, "MB")
		if from > 0 {
			r.out.slope(from, size, before, heap)
		}
		from, before = size, heap
	}
	return nil
}

// slope is what a twin more costs, bounded where the fleet is large enough for the
// rest not to matter.
func (r *result) slope(from, to, heapFrom, heapTo int) {
	bytes := float64(heapTo-heapFrom) / float64(to-from)
	what := fmt.Sprintf("live heap for a twin, %d to %d", from, to)
	r.add(what, bytes, "bytes")
	if from >= boundedFrom {
		r.bound(bounds.AtMost(what, "%.0f bytes", bytes, mostBytesPerTwin))
	}
}
