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
		took, err := createOne(ctx, r, i+1)
		if err != nil {
			return err
		}
		m.times = append(m.times, stats.Milliseconds(took))
		r.say("%d of %d: %.0f ms", i+1, firstWrites, stats.Milliseconds(took))
		if err := r.pass(ctx, "a pause", time.Second); err != nil {
			return err
		}
	}
	return nil
}

// createOne creates a DeviceTwin and returns how long it takes until its update reaches
// the hub.
func createOne(ctx context.Context, r *run, i int) (time.Duration, error) {
	wire, err := r.hub().tripwire(ctx, deviceID(moreSet, i))
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := r.env.kube.Create(ctx, deviceTwin(r.hub().name, moreSet, i)); err != nil {
		return 0, err
	}
	at, err := wire.tripped(ctx, r.progress, patience)
	return at.Sub(began), err
}

func (m *firstWrite) report(out *result) {
	out.add("create to the hub, median of 11", stats.Median(m.times), "ms")
	out.add("worst", stats.Quantile(m.times, 1), "ms")
	out.bound(bounds.AtMost("create to the hub, median", "%.0f ms", stats.Median(m.times), stats.Milliseconds(longestFirstWrite)))
}
