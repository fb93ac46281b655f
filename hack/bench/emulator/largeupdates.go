package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// patches are updates of twins while something else goes on.
type patches struct {
	While string `json:"while"`
	latency
}

const whileCounting = "devices are counted"

// updates measures updates of twins by one client while the hub has something to do.
func (m *largeMeasurement) updates(ctx context.Context) error {
	for _, other := range []struct {
		name, query string
	}{
		{"nothing else goes on", ""},
		{whileCounting, "SELECT COUNT() AS n FROM devices WHERE " + condition},
		{"pages of twins are read", "SELECT * FROM devices WHERE " + condition},
	} {
		measured, err := m.updatesDuring(ctx, other.query)
		if err != nil {
			return err
		}
		m.Patches = append(m.Patches, patches{While: other.name, latency: measured})
		m.progress("   %d updates while %s: %.2f ms, p99 %.2f ms, at worst %.2f ms",
			measured.Requests, other.name, measured.P50, measured.P99, measured.Worst)
	}
	return nil
}

func (m *largeMeasurement) updatesDuring(ctx context.Context, query string) (latency, error) {
	asking, ctx := errgroup.WithContext(ctx)
	end := time.Now().Add(patchTime)
	asking.Go(func() (err error) {
		for next := ""; query != "" && err == nil && time.Now().Before(end); {
			next, err = m.hub.Page(ctx, query, next, io.Discard)
		}
		return err
	})
	var times []time.Duration
	last := m.patched + m.Devices/5 // each is fresh only once
	asking.Go(func() error {
		for m.patched < last {
			sent := time.Now()
			if !sent.Before(end) {
				return nil
			}
			if err := m.update(ctx, m.patched); err != nil {
				return err
			}
			m.patched++
			times = append(times, time.Since(sent))
		}
		return nil
	})
	if err := asking.Wait(); err != nil {
		return latency{}, err
	}
	return latencyOf(times), nil
}

// update writes to a twin for the first time.
func (m *largeMeasurement) update(ctx context.Context, i int) error {
	_, err := m.hub.SendIf(ctx, freshEtag, http.MethodPatch, "/twins/"+largeID(i), []byte(rollout), io.Discard)
	return err
}

// throughput updates twins with many clients at a time.
func (m *largeMeasurement) throughput(ctx context.Context) error {
	count := min(100_000, m.Devices-m.patched)
	began := time.Now()
	writing, ctx := errgroup.WithContext(ctx)
	for i := range largeClients {
		writing.Go(func() error {
			for n := i; n < count; n += largeClients {
				if err := m.update(ctx, m.patched+n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := writing.Wait(); err != nil {
		return err
	}
	m.PatchesPerSecond = float64(count) / time.Since(began).Seconds()
	m.progress("   %.0f updates a second", m.PatchesPerSecond)
	m.patched += count
	return nil
}
