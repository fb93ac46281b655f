package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// startup is the time from Start to the answer to the first request.
type startup struct {
	Starts int     `json:"starts"`
	Median float64 `json:"medianMilliseconds"`
	Worst  float64 `json:"worstMilliseconds"`
}

func measureStart(ctx context.Context, opts options, r *report) error {
	var times []time.Duration
	for range opts.starts {
		took, err := startOnce(ctx)
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	r.Startup = &startup{
		Starts: opts.starts, Median: stats.Milliseconds(stats.Median(times)), Worst: stats.Milliseconds(stats.Quantile(times, 1)),
	}
	r.progress("   %d starts, median %.1f ms, worst %.1f ms", opts.starts, r.Startup.Median, r.Startup.Worst)
	return nil
}

// startOnce includes what a client has to do: to sign, and to agree on TLS.
func startOnce(ctx context.Context) (took time.Duration, err error) {
	started := time.Now()
	hub, err := hubemulator.Start(ctx, hubemulator.Options{Devices: []string{deviceID(0)}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, hub.Close()) }()
	reached, err := emulatorServer{hub}.serving()
	if err != nil {
		return 0, err
	}
	client, err := newTarget(reached, reached.Service, 1)
	if err != nil {
		return 0, err
	}
	defer client.HTTP.CloseIdleConnections()
	_, _, err = client.Send(ctx, http.MethodGet, twinPath(0), nil)
	return time.Since(started), err
}
