package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/sas"
)

// fleet is what became of many devices that are connected at once and follow
// their desired properties.
type fleet struct {
	Devices int `json:"devices"`
	Changes int `json:"changesPerDevice"`
	// Wrong counts the devices that did not get every $version once and in
	// order, or whose reports were not all taken.
	Wrong int `json:"devicesWithWrongVersions"`
	// Lost counts the connections that ended before their device left.
	Lost int `json:"connectionsLost"`

	ConnectSeconds  float64 `json:"connectSeconds"`
	ExchangeSeconds float64 `json:"exchangeSeconds"`
	// RSS is the server's memory in bytes: with the devices registered, with
	// all of them connected, and after the exchange, when all of them still are.
	RSSBefore    int `json:"rssBeforeBytes"`
	RSSConnected int `json:"rssConnectedBytes"`
	RSSAfter     int `json:"rssAfterBytes"`

	progress func(format string, args ...any)
}

const (
	// handshakes is how many devices connect at a time.
	handshakes = 64
	// tokenLife outlasts any run.
	tokenLife = 24 * time.Hour
	// shown is how many failures are printed.
	shown = 5
)

func fleetID(i int) string { return fmt.Sprintf("fleet-%05d", i) }

// fleetKey is a device's key, made of its id, so that no client has to ask
// the hub for thousands of them. It protects nothing.
func fleetKey(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func fleetEntry(i int) map[string]any {
	key := fleetKey(fleetID(i))
	return map[string]any{
		"id": fleetID(i), "importMode": "create",
		"authentication": map[string]any{"symmetricKey": map[string]any{"primaryKey": key, "secondaryKey": key}},
	}
}

func measureFleet(ctx context.Context, opts options, r *report) (err error) {
	if err := allowFiles(opts.fleet + opts.connections); err != nil {
		return err
	}
	server, err := startChild(ctx, serveEmulator)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	hub, err := newTarget(server.serving, server.Service, opts.connections)
	if err != nil {
		return err
	}
	f := &fleet{Devices: opts.fleet, Changes: opts.changes, progress: r.progress}
	r.Fleet = f
	return f.run(ctx, hub, opts.connections, server.rss)
}

// run takes the fleet through its day. It returns an error when it cannot go
// on; what goes wrong with single devices is counted.
func (f *fleet) run(ctx context.Context, hub *target, writers int, rss func() (int, error)) (err error) {
	if err := hub.Create(ctx, 0, f.Devices, fleetEntry); err != nil {
		return err
	}
	if f.RSSBefore, err = rss(); err != nil {
		return err
	}
	started := time.Now()
	devices, err := connectAll(ctx, hub, f.Devices)
	defer leaveAll(devices)
	if err != nil {
		return err
	}
	f.ConnectSeconds = time.Since(started).Seconds()
	if f.RSSConnected, err = rss(); err != nil {
		return err
	}
	f.progress("   %d devices connected in %.1f s, the server occupies %d MB", f.Devices, f.ConnectSeconds, f.RSSConnected>>20)

	started = time.Now()
	if err := f.exchange(ctx, hub, writers, devices); err != nil {
		return err
	}
	f.ExchangeSeconds = time.Since(started).Seconds()
	f.RSSAfter, err = rss()
	f.progress("   %d changes, each sent, reported and answered, in %.1f s: %d devices with wrong versions, %d connections lost, the server occupies %d MB",
		f.Devices*f.Changes, f.ExchangeSeconds, f.Wrong, f.Lost, f.RSSAfter>>20)
	return err
}

// connectAll returns the devices that are connected even if not all are.
func connectAll(ctx context.Context, hub *target, n int) ([]*device, error) {
	service, err := sas.Parse(hub.Service)
	if err != nil {
		return nil, err
	}
	devices := make([]*device, n)
	connecting, ctx := errgroup.WithContext(ctx)
	connecting.SetLimit(handshakes)
	for i := range n {
		connecting.Go(func() error {
			id := fleetID(i)
			credentials, err := sas.Parse(fmt.Sprintf("HostName=%s;DeviceId=%s;SharedAccessKey=%s", service.Host, id, fleetKey(id)))
			if err != nil {
				return err
			}
			devices[i], err = dial(ctx, hub, id, service.Host, credentials.Token(time.Now().Add(tokenLife)))
			return err
		})
	}
	return devices, connecting.Wait()
}

// leaveAll disconnects what is connected.
func leaveAll(devices []*device) {
	for _, d := range devices {
		if d != nil {
			d.Leave()
		}
	}
}

// exchange sends every device its changes in one go, many devices at a time,
// while all of them follow.
func (f *fleet) exchange(ctx context.Context, hub *target, writers int, devices []*device) error {
	outcomes := make([]error, len(devices))
	var following sync.WaitGroup
	for i, d := range devices {
		following.Go(func() { outcomes[i] = d.follow(f.Changes) })
	}
	writing, ctx := errgroup.WithContext(ctx)
	writing.SetLimit(writers)
	for _, d := range devices {
		writing.Go(func() error { return f.change(ctx, hub, d.ID) })
	}
	err := writing.Wait()
	if err != nil { // the devices wait for writes that do not come
		for _, d := range devices {
			_ = d.Close()
		}
	}
	following.Wait()
	if err == nil {
		f.count(devices, outcomes)
	}
	return err
}

func (f *fleet) change(ctx context.Context, hub *target, id string) error {
	for n := range f.Changes {
		body := fmt.Appendf(nil, `{"properties":{"desired":{"change":%d}}}`, n)
		if _, _, err := hub.Send(ctx, http.MethodPatch, "/twins/"+id, body); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) count(devices []*device, outcomes []error) {
	for i, err := range outcomes {
		if err == nil {
			continue
		}
		var network interface{ Timeout() bool }
		if errors.Is(err, errSequence) || errors.As(err, &network) && network.Timeout() {
			f.Wrong++
		} else {
			f.Lost++
		}
		if f.Wrong+f.Lost <= shown {
			f.progress("   device %s: %v", devices[i].ID, err)
		}
	}
}
