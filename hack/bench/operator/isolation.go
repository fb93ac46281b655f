package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/emulator"
)

const (
	// dirtyTwins wait at the hub that hangs, otherTwins converge at the other.
	dirtyTwins = 1000
	otherTwins = 2000
	// leastOfItsRate bounds the rate beside a hub that hangs.
	leastOfItsRate = 0.95
	// The sets of the other hub: converging alone, beside the one that hangs, and alone
	// again, as the cluster grows.
	aloneSet  = "alone"
	besideSet = "beside"
	againSet  = "again"
)

func measureIsolation(ctx context.Context, b *bench, out *result) error {
	if err := b.close(); err != nil {
		return err
	}
	out.Rounds, out.N = b.opts.rounds, min(b.opts.n, otherTwins)
	dirty := min(b.opts.n, dirtyTwins)
	var alone, beside, again, ratios []float64
	for round := range b.opts.rounds {
		b.say("round %d of %d", round+1, b.opts.rounds)
		measured, err := b.isolationRound(ctx, out.N, dirty)
		if err != nil {
			return err
		}
		alone, beside, again = append(alone, measured.alone), append(beside, measured.beside), append(again, measured.again)
		ratios = append(ratios, measured.ratio())
		b.say("round %d of %d: %.0f/s alone, %.0f/s beside, %.0f/s alone again", round+1, b.opts.rounds,
			measured.alone, measured.beside, measured.again)
	}
	out.add("twins that wait at the hub that hangs", float64(dirty), "")
	out.add("the other hub's rate alone", stats.Median(alone), "/s")
	out.add("its rate beside", stats.Median(beside), "/s")
	out.add("its rate alone again", stats.Median(again), "/s")
	out.note("Rates are from the creation of the first DeviceTwin to the last status. The cluster grows from one to the next, so " +
		"the rate beside is held against the mean of those before and after it.")
	out.bound(bounds.AtLeast("rate beside a hub that hangs, of that alone", "%.2f", stats.Median(ratios), leastOfItsRate))
	return nil
}

// isolated are one hub's rates: alone, while another one hangs, and alone again.
type isolated struct{ alone, beside, again float64 }

func (i isolated) ratio() float64 { return i.beside / ((i.alone + i.again) / 2) }

func (b *bench) isolationRound(ctx context.Context, n, dirty int) (out isolated, err error) {
	d, ctx, err := b.newBed(ctx)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	hanging, err := d.addHub(ctx, "hanging", unthrottled, map[string]int{fleetSet: dirty})
	if err != nil {
		return out, err
	}
	other, err := d.addHub(ctx, "other", unthrottled, map[string]int{aloneSet: n, besideSet: n, againSet: n})
	if err != nil {
		return out, err
	}
	if _, err := d.create(ctx, hanging, fleetSet, 1, dirty); err != nil {
		return out, err
	}
	if _, err := d.converge(ctx, hanging, dirty); err != nil {
		return out, err
	}
	if out.alone, err = d.rate(ctx, other, aloneSet, n); err != nil {
		return out, err
	}
	fault, err := d.hang(ctx, hanging, dirty)
	if err != nil {
		return out, err
	}
	if out.beside, err = d.rate(ctx, other, besideSet, n); err != nil {
		return out, err
	}
	if err := hanging.RemoveFault(ctx, fault); err != nil {
		return out, err
	}
	if err := d.awaitReady(ctx, dirty+2*n, convergeLimit(dirty)); err != nil {
		return out, err
	}
	out.again, err = d.rate(ctx, other, againSet, n)
	return out, err
}

// hang lets a hub hang and makes its twins dirty. It returns the fault.
func (d *bed) hang(ctx context.Context, h *hub, dirty int) (id string, err error) {
	id, err = h.AddFault(ctx, emulator.Fault{Operation: "*", Action: "hang"})
	if err != nil {
		return "", err
	}
	var edited atomic.Int64
	err = d.parallel(ctx, "DeviceTwins are edited", creators, dirty, &edited, func(ctx context.Context, i int) error {
		twin := deviceTwin(h.name, fleetSet, i+1)
		before := twin.DeepCopy()
		changed := tags(i + 1)
		changed["owner"] = "another writer"
		twin.Spec.Tags = document(changed)
		return d.kube.Patch(ctx, twin, client.MergeFrom(before))
	})
	if err != nil {
		return "", err
	}
	return id, d.bench.await(ctx, "the hub holds calls", time.Minute, pollEvery, func() (string, bool, error) {
		state, err := h.FaultState(ctx, id)
		return fmt.Sprintf("%d calls held", state.Held), state.Held > 0, err
	})
}

// rate is how many DeviceTwins of a set converge a second. What does not do so in time
// counts by what did.
func (d *bed) rate(ctx context.Context, h *hub, set string, n int) (float64, error) {
	of := func(name string) bool { return strings.HasPrefix(name, set+"-") }
	count := func() (done int) {
		for name := range d.writes.status {
			if of(name) {
				done++
			}
		}
		return done
	}
	began := time.Now()
	if _, err := d.create(ctx, h, set, 1, n); err != nil {
		return 0, err
	}
	err := d.bench.await(ctx, "the other hub converges", convergeLimit(0), 50*time.Millisecond, func() (string, bool, error) {
		err := d.writes.refresh()
		return fmt.Sprintf("%d of %d", count(), n), count() >= n, err
	})
	if errors.Is(err, errTooLong) {
		return float64(count()) / time.Since(began).Seconds(), nil
	}
	return float64(n) / d.writes.lastStatus(of).Sub(began).Seconds(), err
}
