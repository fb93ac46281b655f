package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"syscall"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
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

// idle is what is seen of the manager, and of a poller in its place.
type idle struct {
	seen      observation
	latency   time.Duration
	storeSize int64

	polled     calls
	pollerCPU  time.Duration
	pollerTime time.Duration
}

func idleRow() scenario {
	m := &idle{}
	return scenario{
		name: "idle", title: "nothing changes for three minutes, then one device reports",
		usesFleet: true,
		steps: []step{
			{"use the fleet", useFleet},
			{"wait until the manager only asks what moved", m.follow},
			{"wait until nothing is written", quiet(settleTime)},
			{"watch the manager", observe(&m.seen, idleTime)},
			{"have one device report", m.oneReport},
			{"stop the manager", stopManager},
			{"poll in its place", m.poll},
		},
		report: m.report,
	}
}

// follow waits: after a start the manager reads all twins once, a hundred with a call.
func (m *idle) follow(ctx context.Context, r *run) error {
	before, err := r.hub().calls(ctx)
	if err != nil {
		return err
	}
	if err := r.pass(ctx, "the manager reads", interval); err != nil {
		return err
	}
	return r.await(ctx, "the manager reads", convergeLimit(r.out.N), interval, func() (string, bool, error) {
		now, err := r.hub().calls(ctx)
		made := now.since(before)
		before = now
		return fmt.Sprintf("%d calls in %s", made.all, interval), made.all <= followCalls, err
	})
}

// oneReport measures how long it takes until a DeviceTwin shows what a device reports.
func (m *idle) oneReport(ctx context.Context, r *run) error {
	device, err := r.hub().dial(ctx, deviceID(fleetSet, r.out.N/2))
	if err != nil {
		return err
	}
	defer r.env.stir() // its leaving shows, too
	defer device.Leave()
	at, err := sendReport(device, map[string]any{"connectivity": "idle"})
	if err != nil {
		return err
	}
	m.latency, err = r.env.until(ctx, device.ID, at, 10*interval, func(twin *v1alpha1.DeviceTwin) bool { return twin.Status.Connectivity == "idle" })
	if err != nil {
		return err
	}
	m.storeSize, err = r.env.cluster.StoreSize()
	return err
}

// poll reads every twin in each interval, evenly, as a client without queries would.
// The manager is not there: this process's CPU time is the poller's.
func (m *idle) poll(ctx context.Context, r *run) error {
	began := time.Now()
	before, err := r.hub().calls(ctx)
	if err != nil {
		return err
	}
	runtime.GC()
	cpu, err := ownCPU()
	if err != nil {
		return err
	}
	n := r.out.N
	ticker := time.NewTicker(interval / time.Duration(n))
	defer ticker.Stop()
	err = r.paced(ctx, "the poller", r.opts.inFlight(), polls*n, ticker.C, func(ctx context.Context, i int) error {
		_, err := r.hub().SendTo(ctx, http.MethodGet, twinPath(deviceID(fleetSet, i%n+1)), nil, io.Discard)
		return err
	})
	if err != nil {
		return err
	}
	after, err := ownCPU()
	if err != nil {
		return err
	}
	now, err := r.hub().calls(ctx)
	m.polled, m.pollerCPU, m.pollerTime = now.since(before), after-cpu, time.Since(began)
	return err
}

// ownCPU is the CPU time that this process has used.
func ownCPU() (time.Duration, error) {
	var usage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}

func (m *idle) report(_ context.Context, r *run) error {
	made := m.seen.calls
	windows := idleTime.Seconds() / interval.Seconds()
	pollerBilled := float64(m.polled.billed) / polls * windows
	r.out.add("watched", idleTime.Seconds(), "s")
	r.out.add("hub calls", float64(made.all), "")
	r.out.add("of them GET", float64(made.get), "")
	r.out.add("of them query pages", float64(made.query), "")
	r.out.add("messages billed", float64(made.billed), "")
	r.out.add("manager's CPU", m.seen.cpu.Seconds(), "s")
	r.out.add("poller's messages billed in that time", pollerBilled, "")
	r.out.add("poller's CPU in that time", m.pollerCPU.Seconds()/polls*windows, "s")
	r.out.add("poller, watched", m.pollerTime.Seconds(), "s")
	r.out.add("a report at the end, until it is in the status", m.latency.Seconds(), "s")
	r.out.add("etcd's database", float64(m.storeSize)/megabyte, "MB")
	r.out.note("The poller reads each twin once in %s and does nothing else; it was watched for %d whole intervals (longer where "+
		"the machine cannot read so many in that time), each of which is the same, and the numbers are scaled to the time that the manager was watched.", interval, polls)
	r.out.bound(bounds.None("PATCH", made.patch))
	r.out.bound(bounds.None("writes to the API server", m.seen.writes))
	r.out.bound(bounds.AtLeast("messages billed to a poller, beside the manager's", "%.0f times",
		pollerBilled/float64(max(made.billed, 1)), leastTimesCheaper))
	r.out.bound(bounds.AtMost("a report, until it is in the status", "%.1f s", m.latency.Seconds(), (interval + seenWithin).Seconds()))
	return nil
}
