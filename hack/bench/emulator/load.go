package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// operation is a kind of request.
type operation struct {
	name, method string
	path         func(device int) string
	body         func(device int) []byte
	bounded      bool // whether the ratio to the bare handler has a bound
}

var operations = [...]operation{
	{"GET twin", http.MethodGet, twinPath, func(int) []byte { return nil }, true},
	{"PATCH twin", http.MethodPatch, twinPath, patchBody, true},
	{"query, page of 100", http.MethodPost, func(int) string { return "/devices/query" }, func(int) []byte { return pageQuery }, false},
}

func twinPath(device int) string { return "/twins/" + deviceID(device) }

// sample is what one side of a round came to.
type sample struct {
	rate      float64 // requests per second
	latencies []time.Duration
}

// load keeps a number of clients busy.
type load struct {
	clients  int
	devices  int // that exist
	duration time.Duration
}

// run sends requests for as long as a side of a round takes: each client the
// next one as soon as it has the whole answer.
func (l load) run(ctx context.Context, to *target, op operation) (sample, error) {
	collected := make([][]time.Duration, l.clients)
	errs := make([]error, l.clients)
	var clients sync.WaitGroup
	started := time.Now()
	for i := range l.clients {
		clients.Go(func() {
			collected[i], errs[i] = l.client(ctx, to, op, i*l.devices/l.clients, started.Add(l.duration))
		})
	}
	clients.Wait()
	elapsed := time.Since(started)
	var all []time.Duration
	for i := range l.clients {
		if errs[i] != nil {
			return sample{}, fmt.Errorf("%s: %w", op.name, errs[i])
		}
		all = append(all, collected[i]...)
	}
	return sample{rate: float64(len(all)) / elapsed.Seconds(), latencies: all}, nil
}

// stride takes each client all over the devices, and to none twice before it
// was at all: it is a prime number.
const stride = 7919

func (l load) client(ctx context.Context, to *target, op operation, device int, end time.Time) ([]time.Duration, error) {
	var latencies []time.Duration
	for {
		sent := time.Now()
		if !sent.Before(end) {
			return latencies, nil
		}
		device = (device + stride) % l.devices
		if _, err := to.SendTo(ctx, op.method, op.path(device), op.body(device), io.Discard); err != nil {
			return nil, err
		}
		latencies = append(latencies, time.Since(sent))
	}
}
