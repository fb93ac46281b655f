package main

import (
	"context"
	"fmt"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

const (
	// firstWrites is how many DeviceTwins come, one after the other.
	firstWrites = 11
	// longestFirstWrite bounds the median.
	longestFirstWrite = 150 * time.Millisecond
)

// firstWrite is how long the hub waits for each, in milliseconds.
type firstWrite struct{ times []float64 }

func firstWriteRow() scenario {
	m := &firstWrite{}
	return scenario{
		name: "first-write", title: "one DeviceTwin more, until the hub is told",
		usesFleet: true,
		steps: []step{
			{"use the fleet", useFleet},
			{"create one DeviceTwin after the other", m.createEach},
		},
		report: m.report,
	}
}

func (m *firstWrite) createEach(ctx context.Context, r *run) error {
	for i := range firstWrites {
		twin := deviceTwin(r.hub().name, moreSet, i+1)
		took, err := r.untilUpdated(ctx, twin.Name, patience, func() error { return r.env.kube.Create(ctx, twin) })
		if err != nil {
			return err
		}
		r.sample(&m.times, fmt.Sprintf("%d of %d", i+1, firstWrites), stats.Milliseconds(took), "ms")
		if err := r.pass(ctx, "a pause", time.Second); err != nil {
			return err
		}
	}
	return nil
}

func (m *firstWrite) report(_ context.Context, r *run) error {
	r.out.add("create to the hub, median of 11", stats.Median(m.times), "ms")
	r.out.add("worst", stats.Quantile(m.times, 1), "ms")
	r.out.bound(bounds.AtMost("create to the hub, median", "%.0f ms", stats.Median(m.times), stats.Milliseconds(longestFirstWrite)))
	return nil
}
