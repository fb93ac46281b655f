package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

const (
	idleTime = 3 * time.Minute
	// settleTime is how long nothing was written before: the numbers in a HubConnection's
	// status are told at most once a minute.
	settleTime = 70 * time.Second
	// followCalls is how many calls in an interval a manager makes at most that only asks
	// what moved.
	followCalls = 5
	// polls is how many whole intervals the poller is watched: each is the same.
	polls = 2
	// leastTimesCheaper is how much less an idle fleet costs of the hub's quota than
	// a poller.
	leastTimesCheaper = 40
	// seenWithin is how much later than after an interval a report may be seen.
	seenWithin = 2 * time.Second
)

func measureIdle(ctx context.Context, b *bench, out *result) error {
	d, ctx, h, err := b.theFleet(ctx)
	if err != nil {
		return err
	}
	if err := d.follows(ctx, h); err != nil {
		return err
	}
	if _, err := d.quiet(ctx, settleTime); err != nil {
		return err
	}
	used, made, writes, err := d.watch(ctx, h, idleTime)
	if err != nil {
		return err
	}
	latency, err := d.oneReport(ctx, h)
	if err != nil {
		return err
	}
	size, err := d.cluster.StoreSize()
	if err != nil {
		return err
	}
	if err := d.stopManager(); err != nil {
		return err
	}
	began := time.Now()
	poll, polled, err := d.poll(ctx, h)
	if err != nil {
		return err
	}
	pollSeconds := time.Since(began).Seconds()
	windows := idleTime.Seconds() / interval.Seconds()
	pollerBilled := float64(poll.billed) / polls * windows
	out.add("watched", idleTime.Seconds(), "s")
	out.add("hub calls", float64(made.all), "")
	out.add("of them GET", float64(made.get), "")
	out.add("of them query pages", float64(made.query), "")
	out.add("messages billed", float64(made.billed), "")
	out.add("manager's CPU", used.Seconds(), "s")
	out.add("poller's messages billed in that time", pollerBilled, "")
	out.add("poller's CPU in that time", polled.Seconds()/polls*windows, "s")
	out.add("poller, watched", pollSeconds, "s")
	out.add("a report at the end, until it is in the status", latency.Seconds(), "s")
	out.add("etcd's database", float64(size)/megabyte, "MB")
	out.note("The poller reads each twin once in %s and does nothing else; it was watched for %d whole intervals (longer where "+
		"the machine cannot read so many in that time), each of which is the same, and the numbers are scaled to the time that the manager was watched.", interval, polls)
	out.bound(bounds.None("PATCH", made.patch))
	out.bound(bounds.None("writes to the API server", writes))
	out.bound(bounds.AtLeast("messages billed to a poller, beside the manager's", "%.0f times",
		pollerBilled/float64(max(made.billed, 1)), leastTimesCheaper))
	out.bound(bounds.AtMost("a report, until it is in the status", "%.1f s", latency.Seconds(), (interval + seenWithin).Seconds()))
	return nil
}

// follows waits until the manager only asks what moved. After a start it reads all twins
// once, a hundred with a call.
func (d *bed) follows(ctx context.Context, h *hub) error {
	before, err := h.calls(ctx)
	if err != nil {
		return err
	}
	if err := d.bench.pass(ctx, "the manager reads", interval); err != nil {
		return err
	}
	return d.bench.await(ctx, "the manager reads", convergeLimit(d.bench.opts.n), interval, func() (string, bool, error) {
		now, err := h.calls(ctx)
		made := now.since(before)
		before = now
		return fmt.Sprintf("%d calls in %s", made.all, interval), made.all <= followCalls, err
	})
}

// watch counts what happens in a time: the manager's CPU time, the hub's calls and
// the manager's writes.
func (d *bed) watch(ctx context.Context, h *hub, length time.Duration) (used time.Duration, made calls, writes int, err error) {
	if err := d.writes.refresh(); err != nil {
		return 0, calls{}, 0, err
	}
	before, err := h.calls(ctx)
	if err != nil {
		return 0, calls{}, 0, err
	}
	usage, err := process.UsageOf(d.manager.PID())
	if err != nil {
		return 0, calls{}, 0, err
	}
	total := d.writes.total
	if err := d.bench.pass(ctx, "watching", length); err != nil {
		return 0, calls{}, 0, err
	}
	after, err := process.UsageOf(d.manager.PID())
	if err != nil {
		return 0, calls{}, 0, err
	}
	now, err := h.calls(ctx)
	return after.CPU - usage.CPU, now.since(before), d.writes.total - total, errors.Join(err, d.writes.refresh())
}

// oneReport has a device report and returns how long it takes until its DeviceTwin
// shows it.
func (d *bed) oneReport(ctx context.Context, h *hub) (time.Duration, error) {
	id := deviceID(fleetSet, d.bench.opts.n/2)
	device, err := h.dial(ctx, id)
	if err != nil {
		return 0, err
	}
	defer d.stir() // its leaving shows, too
	defer device.Leave()
	at, err := sendReport(device, map[string]any{"connectivity": "idle"})
	if err != nil {
		return 0, err
	}
	took, err := d.until(ctx, id, at, 10*interval, func(twin *v1alpha1.DeviceTwin) bool { return twin.Status.Connectivity == "idle" })
	if errors.Is(err, errTooLong) {
		err = nil // it counts as long as was waited
	}
	return took, err
}

// until returns how long after a time an object is seen to be so.
func (d *bed) until(ctx context.Context, name string, since time.Time, limit time.Duration, so func(*v1alpha1.DeviceTwin) bool) (time.Duration, error) {
	err := d.bench.await(ctx, "the DeviceTwin shows it", limit, 50*time.Millisecond, func() (string, bool, error) {
		var twin v1alpha1.DeviceTwin
		err := d.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &twin)
		return "not yet", so(&twin), err
	})
	return time.Since(since), err
}

// poll reads every twin in each interval, evenly, as a client without queries would.
// The manager is not there: this process's CPU time is the poller's.
func (d *bed) poll(ctx context.Context, h *hub) (calls, time.Duration, error) {
	before, err := h.calls(ctx)
	if err != nil {
		return calls{}, 0, err
	}
	runtime.GC()
	cpu, err := ownCPU()
	if err != nil {
		return calls{}, 0, err
	}
	n := d.bench.opts.n
	ticker := time.NewTicker(interval / time.Duration(n))
	defer ticker.Stop()
	reading, inPoll := errgroup.WithContext(ctx)
	reading.SetLimit(d.bench.opts.inFlight())
	var count atomic.Int64
	told := time.Now()
	for i := range polls * n {
		select {
		case <-inPoll.Done():
			return calls{}, 0, reading.Wait()
		case <-ticker.C:
		}
		reading.Go(func() error {
			defer count.Add(1)
			_, err := h.SendTo(inPoll, http.MethodGet, twinPath(deviceID(fleetSet, i%n+1)), nil, io.Discard)
			return err
		})
		if time.Since(told) >= progressEvery {
			told = time.Now()
			d.bench.say("the poller: %d of %d", count.Load(), polls*n)
		}
	}
	if err := reading.Wait(); err != nil {
		return calls{}, 0, fmt.Errorf("the poller: %w", err)
	}
	after, err := ownCPU()
	if err != nil {
		return calls{}, 0, err
	}
	now, err := h.calls(ctx)
	return now.since(before), after - cpu, err
}

// ownCPU is the CPU time that this process has used.
func ownCPU() (time.Duration, error) {
	var usage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}
