package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

const (
	s1Twins = 2000
	// s1Updates is what IoT Hub documents for an S1 unit: twin updates a second.
	s1Updates = 50
	s1Percent = 80
	// mostTimesTheRate bounds the time by what the rate allows.
	mostTimesTheRate = 1.05
	longestEdit      = time.Second
)

func measureConvergeS1(ctx context.Context, b *bench, out *result) (err error) {
	if err := b.close(); err != nil {
		return err
	}
	s1 := profile{sku: v1alpha1.SKUS1, units: 1, rate: s1Percent, throttled: true}
	out.N, out.Hub = min(b.opts.n, s1Twins), s1.String()
	d, ctx, err := b.newBed(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	h, err := d.addHub(ctx, "hub", s1, map[string]int{fleetSet: out.N})
	if err != nil {
		return err
	}
	if _, err := d.create(ctx, h, fleetSet, 1, out.N); err != nil {
		return err
	}
	if _, _, err := d.startManager(ctx); err != nil {
		return err
	}
	first, err := d.patches(ctx, h, 1)
	if err != nil {
		return err
	}
	if _, err := d.patches(ctx, h, out.N/2); err != nil {
		return err
	}
	edit, err := d.edit(ctx, h)
	if err != nil {
		return err
	}
	last, err := d.patches(ctx, h, out.N+1) // the edit's too
	if err != nil {
		return err
	}
	if err := d.awaitReady(ctx, out.N, convergeLimit(out.N)); err != nil {
		return err
	}
	made, err := h.calls(ctx)
	if err != nil {
		return err
	}
	floor := float64(out.N) / (s1Updates * s1Percent / 100)
	took := last.Sub(first).Seconds()
	out.add("first PATCH to last", took, "s")
	out.add("what the rate allows", floor, "s")
	out.add("answers with 429", float64(made.refused), "")
	out.add("an edit in the middle, until it is at the hub", edit.Seconds(), "s")
	out.bound(bounds.AtMost("first PATCH to last, beside what the rate allows", "%.2f times", took/floor, mostTimesTheRate))
	out.bound(bounds.None("answers with 429", made.refused))
	out.bound(bounds.AtMost("an edit in the middle", "%.2f s", edit.Seconds(), longestEdit.Seconds()))
	return nil
}

// patches waits until the hub was sent so many.
func (d *bed) patches(ctx context.Context, h *hub, n int) (time.Time, error) {
	var at time.Time
	err := d.bench.await(ctx, "twin updates", convergeLimit(n), pollEvery, func() (string, bool, error) {
		at = time.Now()
		c, err := h.calls(ctx)
		return fmt.Sprintf("%d of %d, %d refused", c.patch, n, c.refused), c.patch >= n, err
	})
	return at, err
}

// edit changes a DeviceTwin that is Ready as a user would, and returns how long it
// takes until the hub is told.
func (d *bed) edit(ctx context.Context, h *hub) (time.Duration, error) {
	if err := d.writes.refresh(); err != nil {
		return 0, err
	}
	var twin v1alpha1.DeviceTwin
	for name := range d.writes.status {
		if err := d.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &twin); err != nil {
			return 0, err
		}
		if isReady(&twin) {
			break
		}
	}
	if !isReady(&twin) {
		return 0, errors.New("no DeviceTwin is Ready when half of the updates were sent")
	}
	wire, err := h.tripwire(ctx, twin.Name)
	if err != nil {
		return 0, err
	}
	before := twin.DeepCopy()
	changed := tags(1)
	changed["owner"] = "another owner"
	twin.Spec.Tags = document(changed)
	began := time.Now()
	if err := d.kube.Patch(ctx, &twin, client.MergeFrom(before)); err != nil {
		return 0, err
	}
	at, err := wire.tripped(ctx, d.bench, convergeLimit(s1Twins))
	return at.Sub(began), err
}
