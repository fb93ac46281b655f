package main

import (
	"context"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

const (
	// firstWrites is how many DeviceTwins come, one after the other.
	firstWrites = 11
	// longestFirstWrite bounds the median.
	longestFirstWrite = 150 * time.Millisecond
	// patience is for what takes no time when all is well.
	patience = time.Minute
)

func measureFirstWrite(ctx context.Context, b *bench, out *result) error {
	d, ctx, h, err := b.theFleet(ctx)
	if err != nil {
		return err
	}
	var times []float64
	for i := range firstWrites {
		took, err := d.firstWrite(ctx, h, i+1)
		if err != nil {
			return err
		}
		times = append(times, stats.Milliseconds(took))
		b.say("%d of %d: %.0f ms", i+1, firstWrites, stats.Milliseconds(took))
		if err := b.pass(ctx, "a pause", time.Second); err != nil {
			return err
		}
	}
	out.add("create to the hub, median of 11", stats.Median(times), "ms")
	out.add("worst", stats.Quantile(times, 1), "ms")
	out.bound(bounds.AtMost("create to the hub, median", "%.0f ms", stats.Median(times), stats.Milliseconds(longestFirstWrite)))
	return nil
}

// firstWrite creates a DeviceTwin and returns when its update reaches the hub.
func (d *bed) firstWrite(ctx context.Context, h *hub, i int) (time.Duration, error) {
	wire, err := h.tripwire(ctx, deviceID(moreSet, i))
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := d.kube.Create(ctx, deviceTwin(h.name, moreSet, i)); err != nil {
		return 0, err
	}
	at, err := wire.tripped(ctx, d.bench, patience)
	return at.Sub(began), err
}
