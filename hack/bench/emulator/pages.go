package main

import (
	"context"
	"net/http"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

// firstPage is how long the first page of a query takes to be answered.
type firstPage struct {
	Devices int     `json:"devices"`
	Query   string  `json:"query"`
	When    string  `json:"when"`
	Median  float64 `json:"medianMilliseconds"`
	Worst   float64 `json:"worstMilliseconds"`
}

// measurePages measures with nothing else going on at the hub. Device number
// devices comes and goes.
func measurePages(ctx context.Context, opts options, devices int, hub *target, r *report) error {
	create := func() error { return hub.Create(ctx, devices, devices+1, registryEntry) }
	remove := func() error {
		_, _, err := hub.Send(ctx, http.MethodDelete, "/devices/"+deviceID(devices), nil)
		return err
	}
	for _, query := range []struct {
		name string
		body []byte
	}{
		{"a tag that 1 % of the devices have", pageQuery},
		{"a tag that no device has", vainQuery},
	} {
		times := map[string][]time.Duration{}
		for range opts.pages {
			for _, step := range []struct {
				when   string
				before func() error
			}{
				{"after a creation", create},
				{"after a deletion", remove},
				{"again", func() error { return nil }},
			} {
				if err := step.before(); err != nil {
					return err
				}
				sent := time.Now()
				if _, _, err := hub.Send(ctx, http.MethodPost, "/devices/query", query.body); err != nil {
					return err
				}
				times[step.when] = append(times[step.when], time.Since(sent))
			}
		}
		for _, when := range []string{"after a creation", "after a deletion", "again"} {
			page := firstPage{
				Devices: devices, Query: query.name, When: when,
				Median: stats.Milliseconds(stats.Median(times[when])), Worst: stats.Milliseconds(stats.Quantile(times[when], 1)),
			}
			r.progress("   %7d devices  first page for %s, %s: %.1f ms", devices, query.name, when, page.Median)
			r.FirstPages = append(r.FirstPages, page)
		}
	}
	return nil
}
