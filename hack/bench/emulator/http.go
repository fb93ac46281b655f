package main

import (
	"context"
	"errors"
	"time"
)

// rehearsal is how long each side gets for each kind of request before
// anything is measured.
const rehearsal = 500 * time.Millisecond

// memory is what the emulator's heap holds after a garbage collection.
type memory struct {
	Devices int    `json:"devices"`
	Heap    uint64 `json:"heapBytes"`
}

// measureHTTP fills one emulator with more and more devices, and measures at
// each number of them.
func measureHTTP(ctx context.Context, opts options, r *report) (err error) {
	emulator, bare, err := startContenders(ctx, opts.connections)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, emulator.stop(), bare.stop()) }()
	devices := 0
	for _, size := range opts.sizes {
		if err := fill(ctx, emulator, devices, size, r); err != nil {
			return err
		}
		devices = size
		l := load{clients: opts.connections, devices: devices, duration: min(rehearsal, opts.duration)}
		if err := rehearse(ctx, l, emulator, bare); err != nil {
			return err
		}
		l.duration = opts.duration
		for _, op := range operations {
			compared, err := compare(ctx, opts, r, l, op, emulator, bare)
			if err != nil {
				return err
			}
			r.Throughput = append(r.Throughput, compared)
		}
	}
	return measurePages(ctx, opts, devices, emulator.target, r)
}

// fill creates devices up to a number and has each report once.
func fill(ctx context.Context, emulator *contender, from, to int, r *report) error {
	started := time.Now()
	if err := emulator.target.Create(ctx, from, to, registryEntry); err != nil {
		return err
	}
	heap, err := emulator.order(order{ReportFrom: from, ReportTo: to})
	if err != nil {
		return err
	}
	r.progress("   %7d devices  created in %.1f s, %d MB on the heap", to, time.Since(started).Seconds(), heap>>20)
	r.Memory = append(r.Memory, memory{Devices: to, Heap: heap})
	return nil
}
