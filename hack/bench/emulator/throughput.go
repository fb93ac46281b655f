package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

// side is what one server came to over all rounds.
type side struct {
	// Rate is the median over the rounds, in requests per second.
	Rate float64 `json:"requestsPerSecond"`
	// P50 and P99 are over the requests of all rounds, in milliseconds.
	P50 float64 `json:"p50Milliseconds"`
	P99 float64 `json:"p99Milliseconds"`
	// CPU is the server's CPU time for a request, in microseconds: other than
	// the rest, it does not depend on what else the machine does.
	CPU float64 `json:"cpuMicroseconds"`
}

// throughput compares the two servers for one kind of request.
type throughput struct {
	Devices   int    `json:"devices"`
	Operation string `json:"operation"`
	Emulator  side   `json:"emulator"`
	Bare      side   `json:"bare"`
	// Ratio is the median of the rounds' ratios of emulator to bare.
	Ratio float64 `json:"ratio"`
	// Bounded says that the ratio has a bound.
	Bounded bool `json:"bounded"`
}

// contender is one of the servers with what was measured of it.
type contender struct {
	*child
	target *target

	rates     []float64
	latencies []time.Duration
	used      time.Duration // CPU
}

func (c *contender) reset() { c.rates, c.latencies, c.used = nil, nil, 0 }

func (c *contender) result() side {
	return side{
		Rate: stats.Median(c.rates),
		P50:  stats.Milliseconds(stats.Median(c.latencies)), P99: stats.Milliseconds(stats.Quantile(c.latencies, 0.99)),
		CPU: c.used.Seconds() * 1e6 / float64(len(c.latencies)),
	}
}

// turn measures one side of a round.
func (c *contender) turn(ctx context.Context, l load, op operation) error {
	before, err := c.cpu()
	if err != nil {
		return err
	}
	measured, err := l.run(ctx, c.target, op)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	after, err := c.cpu()
	c.rates = append(c.rates, measured.rate)
	c.latencies = append(c.latencies, measured.latencies...)
	c.used += after - before
	return err
}

// startContenders starts both servers. The bare handler gets the same headers
// as the emulator does, the token included.
func startContenders(ctx context.Context, connections int) (emulator, bare *contender, err error) {
	var started [2]*contender
	service := ""
	for i, name := range []string{serveEmulator, serveBare} {
		server, err := startChild(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		if server.Service != "" {
			service = server.Service
		}
		client, err := newTarget(server.serving, service, connections)
		if err != nil {
			return nil, nil, errors.Join(err, server.stop())
		}
		started[i] = &contender{child: server, target: client}
	}
	return started[0], started[1], nil
}

// rehearse teaches the bare handler the emulator's answers, and gives both
// sides their connections.
func rehearse(ctx context.Context, l load, emulator, bare *contender) error {
	answers := map[string]recording{}
	for _, op := range operations {
		header, body, err := emulator.target.Send(ctx, op.method, op.path(0), op.body(0))
		if err != nil {
			return err
		}
		for _, own := range []string{"Date", "Content-Length"} {
			header.Del(own) // net/http adds its own
		}
		answers[op.method] = recording{Header: header, Body: body}
	}
	if _, err := bare.order(order{Answers: answers}); err != nil {
		return err
	}
	for _, c := range []*contender{emulator, bare} {
		for _, op := range operations {
			if _, err := l.run(ctx, c.target, op); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare lets the two sides take turns, either one first in every other round.
func compare(
	ctx context.Context, opts options, r *report, l load, op operation, emulator, bare *contender,
) (throughput, error) {
	emulator.reset()
	bare.reset()
	var ratios []float64
	for round := range opts.rounds {
		turns := []*contender{emulator, bare}
		if round%2 == 1 {
			turns = []*contender{bare, emulator}
		}
		for _, c := range turns {
			if err := c.turn(ctx, l, op); err != nil {
				return throughput{}, err
			}
		}
		of, beside := emulator.rates[round], bare.rates[round]
		ratios = append(ratios, of/beside)
		r.progress("   %7d devices  %-18s  round %d of %d: %6.0f/s beside %6.0f/s, %3.0f %%",
			l.devices, op.name, round+1, opts.rounds, of, beside, 100*of/beside)
	}
	return throughput{
		Devices: l.devices, Operation: op.name,
		Emulator: emulator.result(), Bare: bare.result(), Ratio: stats.Median(ratios), Bounded: op.bounded,
	}, nil
}
