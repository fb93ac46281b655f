package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// startTimeout bounds the start of one process on a busy machine.
const startTimeout = 60 * time.Second

// portAttempts: a port that was free can be taken by the time it is bound, by
// another run of the same program for one.
const portAttempts = 5

// freePorts returns n different ports that are free on the loopback address.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		// Held until all are found, so that they differ.
		defer func() { _ = listener.Close() }()
		address, err := netip.ParseAddrPort(listener.Addr().String())
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		ports = append(ports, int(address.Port()))
	}
	return ports, nil
}

// StartOnFreePorts starts a process that gets its ports as arguments, and waits for
// it to serve. When a port turns out to be taken it tries others.
func (s *Supervisor) StartOnFreePorts(ctx context.Context, n int,
	start func(ports []int) (*Process, error),
	serving func(ctx context.Context, ports []int) error,
) (*Process, []int, error) {
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(n)
		if err != nil {
			return nil, nil, err
		}
		since := time.Now()
		p, err := start(ports)
		if err != nil {
			return nil, nil, err
		}
		err = p.WaitFor(ctx, func(ctx context.Context) error { return serving(ctx, ports) })
		if err == nil {
			return p, ports, p.Guard()
		}
		lost := !p.Alive() && strings.Contains(strings.Join(p.out.tail(linesKept, since), "\n"), "address already in use")
		if !lost || attempt == portAttempts {
			return nil, nil, err
		}
		s.forget(p)
	}
}

// WaitFor polls until the process serves, dies or takes longer than a minute.
func (p *Process) WaitFor(ctx context.Context, serving func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("it took too long"))
	defer cancel()
	for {
		err := serving(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return p.death()
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve: %w (%w); its last lines:\n  %s", p.name, context.Cause(ctx), err,
				strings.Join(p.out.tail(tailLines, time.Time{}), "\n  "))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
