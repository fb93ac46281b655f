package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

const (
	// mostBytesPerTwin bounds the live heap, between boundedFrom twins and more.
	mostBytesPerTwin = 6 << 10
	boundedFrom      = 10000
)

// measureMemory lets a fleet grow from size to size.
func measureMemory(ctx context.Context, b *bench, out *result) (err error) {
	if err := b.close(); err != nil {
		return err
	}
	sizes := b.opts.sizes
	out.N = sizes[len(sizes)-1]
	d, ctx, err := b.newBed(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	h, err := d.addHub(ctx, "hub", unthrottled, map[string]int{fleetSet: out.N})
	if err != nil {
		return err
	}
	if _, _, err := d.startManager(ctx); err != nil {
		return err
	}
	heaps := make([]int, len(sizes))
	from := 0
	for i, size := range sizes {
		if _, err := d.create(ctx, h, fleetSet, from+1, size); err != nil {
			return err
		}
		from = size
		if err := d.awaitReady(ctx, size, convergeLimit(size)); err != nil {
			return err
		}
		if _, err := d.quiet(ctx, quietTime); err != nil {
			return err
		}
		usage, err := process.UsageOf(d.manager.PID()) // before the collection that is asked for
		if err != nil {
			return err
		}
		if heaps[i], err = d.manager.heap(ctx); err != nil {
			return err
		}
		out.add(fmt.Sprintf("live heap with %d twins", size), float64(heaps[i])/megabyte, "MB")
		out.add(fmt.Sprintf("RSS with %d twins", size), float64(usage.RSS)/megabyte, "MB")
		if i > 0 {
			out.slope(sizes[i-1], size, heaps[i-1], heaps[i])
		}
	}
	out.note("The heap is what is live after two garbage collections; GOGC is Go's default. Each twin declares 1 KB.")
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
