package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// largeHub is what was measured of a hub with very many devices that are all alike, as
// before a rollout to all of them.
type largeHub struct {
	Devices int `json:"devices"`
	// Lag is how late the hub's queries are.
	Lag string `json:"queryLag"`
	// Filled is where the devices came from.
	Filled      string  `json:"filled"`
	FillSeconds float64 `json:"fillSeconds"`
	// HeapPerDevice and RSSPerDevice are the server's memory for each device, in bytes:
	// with nothing but the devices, and at the end of everything.
	HeapPerDevice    float64 `json:"heapBytesPerDevice"`
	RSSPerDevice     float64 `json:"rssBytesPerDevice"`
	RSSPerDeviceLast float64 `json:"rssBytesPerDeviceAtTheEnd"`

	// Scan is a query that looks at all devices in vain, Count one that counts them.
	Scan   latency `json:"scan"`
	Count  latency `json:"count"`
	Passes []pass  `json:"passes"`
	// Patches are conditional updates of twins, each after the other.
	Patches []patches `json:"patches"`
	// PatchesPerSecond is how many there are with largeClients at a time.
	PatchesPerSecond float64 `json:"patchesPerSecond"`
}

const (
	largeLag     = 2 * time.Second
	largeClients = 16
	// condition is that of a rollout on the devices that do not have it yet.
	condition = "tags.location.plant = 'Redmond43' AND (NOT IS_DEFINED(tags.fleet.s) OR tags.fleet.s != 'r1')"
	// freshEtag is that of a twin that nothing was written to.
	freshEtag = `"AAAAAAAAAAE="`
	// rollout is an update after which the condition still selects the device.
	rollout = `{"tags":{"fleet":{"s":"r0"}},"properties":{"desired":{"firmware":{"version":"1.4.2"}}}}`
	// answers is how many there are of each query that has one page.
	answers = 11
	// patchTime is how long the updates go on that are measured.
	patchTime = 5 * time.Second
)

var largeTags = map[string]any{"location": map[string]any{"plant": "Redmond43"}, "ring": "r7"}

func largeEntry(i int) map[string]any {
	return map[string]any{"id": largeID(i), "importMode": "create", "tags": largeTags}
}

func largeID(i int) string { return "device-" + strconv.Itoa(i+1) }

// largeFleet are the devices of largeEntry.
func largeFleet(devices int) *hubemulator.Fleet {
	return &hubemulator.Fleet{Devices: []hubemulator.FleetDevice{{ID: "device-{{n}}", Count: devices, Tags: largeTags}}}
}

// measureLarge measures a hub that is filled by calls, and one whose queries are late
// and that has its devices from the start.
func measureLarge(ctx context.Context, opts options, r *report) error {
	for _, kind := range []largeHub{
		{Lag: "0s", Filled: fmt.Sprintf("by calls of 100 devices, %d at a time", largeClients)},
		{Lag: largeLag.String(), Filled: "from a fleet at its start"},
	} {
		kind.Devices = opts.large
		m := &largeMeasurement{largeHub: kind, progress: r.progress}
		if err := m.run(ctx); err != nil {
			return fmt.Errorf("query lag %s: %w", kind.Lag, err)
		}
		r.Large = append(r.Large, m.largeHub)
	}
	return nil
}

// largeMeasurement is the measurement of one hub.
type largeMeasurement struct {
	largeHub
	server   *child
	hub      *target
	patched  int // how many devices were updated so far
	progress func(format string, args ...any)
}

func (m *largeMeasurement) run(ctx context.Context) (err error) {
	began := time.Now()
	if err := m.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.server.stop()) }()
	for _, step := range []func(context.Context) error{m.fill, m.answers, m.passes, m.updates, m.throughput} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	m.progress("   everything took %.0f s", time.Since(began).Seconds())
	rss, err := m.server.rss()
	m.RSSPerDeviceLast = float64(rss) / float64(m.Devices)
	return err
}

func (m *largeMeasurement) start(ctx context.Context) (err error) {
	name, flags := serveEmulator, []string(nil)
	if m.late() {
		name, flags = serveLate, []string{"--large", strconv.Itoa(m.Devices)}
	}
	began := time.Now()
	if m.server, err = startChild(ctx, name, flags...); err != nil {
		return err
	}
	m.FillSeconds = time.Since(began).Seconds()
	if m.hub, err = newTarget(m.server.serving, m.server.Service, largeClients); err != nil {
		return errors.Join(err, m.server.stop())
	}
	return nil
}

func (m *largeMeasurement) late() bool { return m.Lag != "0s" }

// fill registers the devices that the hub does not have from its start.
func (m *largeMeasurement) fill(ctx context.Context) error {
	if !m.late() {
		began := time.Now()
		filling, ctx := errgroup.WithContext(ctx)
		for i := range largeClients {
			from, to := i*m.Devices/largeClients, (i+1)*m.Devices/largeClients
			filling.Go(func() error { return m.hub.Create(ctx, from, to, largeEntry) })
		}
		if err := filling.Wait(); err != nil {
			return err
		}
		m.FillSeconds = time.Since(began).Seconds()
	}
	heap, err := m.server.order(order{})
	if err != nil {
		return err
	}
	rss, err := m.server.rss()
	m.HeapPerDevice, m.RSSPerDevice = float64(heap)/float64(m.Devices), float64(rss)/float64(m.Devices)
	m.progress("   %d devices %s in %.1f s: %.0f bytes of heap and %.0f of RSS for each",
		m.Devices, m.Filled, m.FillSeconds, m.HeapPerDevice, m.RSSPerDevice)
	if err != nil || !m.late() {
		return err
	}
	select { // the queries see the devices only then
	case <-time.After(largeLag):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
