package main

import (
	"context"
	"io"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

// latency is how long requests took that came one after the other.
type latency struct {
	Requests int     `json:"requests"`
	P50      float64 `json:"p50Milliseconds"`
	P99      float64 `json:"p99Milliseconds"`
	Worst    float64 `json:"worstMilliseconds"`
}

func latencyOf(times []time.Duration) latency {
	return latency{
		Requests: len(times), P50: stats.Milliseconds(stats.Median(times)),
		P99: stats.Milliseconds(stats.Quantile(times, 0.99)), Worst: stats.Milliseconds(stats.Quantile(times, 1)),
	}
}

// pass goes through all pages of one query.
type pass struct {
	Query   string  `json:"query"`
	Pages   int     `json:"pages"`
	Seconds float64 `json:"seconds"`
	// CPU is what the server took for it, in seconds.
	CPU float64 `json:"cpuSeconds"`
	// First, Middle and Last are the medians of tenths of the pages: they are the
	// same where a page goes on where the one before stopped.
	First  float64 `json:"firstTenthMilliseconds"`
	Middle float64 `json:"middleTenthMilliseconds"`
	Last   float64 `json:"lastTenthMilliseconds"`
}

// answers measures queries whose answer is one page.
func (m *largeMeasurement) answers(ctx context.Context) error {
	for _, query := range []struct {
		name, text string
		into       *latency
	}{
		{"scan in vain", "SELECT deviceId FROM devices WHERE tags.location.plant = 'elsewhere'", &m.Scan},
		{"count", "SELECT COUNT() AS n FROM devices WHERE " + condition, &m.Count},
	} {
		var times []time.Duration
		for range answers {
			sent := time.Now()
			if _, err := m.hub.Page(ctx, query.text, "", io.Discard); err != nil {
				return err
			}
			times = append(times, time.Since(sent))
		}
		*query.into = latencyOf(times)
		m.progress("   %s: %.0f ms, at worst %.0f ms", query.name, query.into.P50, query.into.Worst)
	}
	return nil
}

// The queries of the passes.
const (
	idPages   = "SELECT deviceId"
	twinPages = "SELECT *"
)

// passes goes through all pages, of ids and of twins.
func (m *largeMeasurement) passes(ctx context.Context) error {
	for _, columns := range []string{idPages, twinPages} {
		measured, err := m.pass(ctx, columns+" FROM devices WHERE "+condition)
		if err != nil {
			return err
		}
		measured.Query = columns
		m.Passes = append(m.Passes, measured)
		m.progress("   %s, %d pages: %.1f s, the server's CPU %.1f s, a page %.2f ms, later %.2f ms, at the end %.2f ms",
			measured.Query, measured.Pages, measured.Seconds, measured.CPU, measured.First, measured.Middle, measured.Last)
	}
	return nil
}

func (m *largeMeasurement) pass(ctx context.Context, query string) (pass, error) {
	before, err := m.server.cpu()
	if err != nil {
		return pass{}, err
	}
	var times []time.Duration
	began := time.Now()
	for next := ""; len(times) == 0 || next != ""; {
		sent := time.Now()
		if next, err = m.hub.Page(ctx, query, next, io.Discard); err != nil {
			return pass{}, err
		}
		times = append(times, time.Since(sent))
	}
	took := time.Since(began)
	after, err := m.server.cpu()
	tenth := max(1, len(times)/10)
	middle := (len(times) - tenth) / 2
	median := func(from int) float64 { return stats.Milliseconds(stats.Median(times[from : from+tenth])) }
	return pass{
		Pages: len(times), Seconds: took.Seconds(), CPU: (after - before).Seconds(),
		First: median(0), Middle: median(middle), Last: median(len(times) - tenth),
	}, err
}
