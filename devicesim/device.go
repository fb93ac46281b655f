// Package devicesim plays one IoT Hub device over MQTT: it connects with the
// device's own credentials, reads its twin, follows every change of its desired
// properties, reports its connectivity and acknowledges what is desired by
// reporting it back.
//
// It stands in for a real device in the tutorial, in tests and as a sidecar.
package devicesim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

const (
	defaultReconnectMin = 500 * time.Millisecond
	defaultReconnectMax = 30 * time.Second

	// A connection that held this long proves that the hub accepts us, so the
	// next reconnect starts over with the shortest delay. Two simulators of the
	// same device evict each other at once and keep backing off instead.
	steadyConnection = 10 * time.Second
)

// Options configures a Device. Only ConnectionString is required.
type Options struct {
	// ConnectionString is the device's own connection string:
	// HostName=…;DeviceId=…;SharedAccessKey=….
	ConnectionString string

	// CA holds the PEM certificates the hub's certificate is verified against.
	// Empty means the system's roots.
	CA []byte

	// MQTTAddress is the host:port to dial. Empty means the host of the
	// connection string on port 8883. The certificate is always checked
	// against the host of the connection string.
	MQTTAddress string

	// Connectivity is reported as the top-level property "connectivity".
	// Empty means that none is reported.
	Connectivity string

	// Output receives one line per Event. Nil means no output.
	Output io.Writer

	// OnEvent is called with every event, in order, from one goroutine. It
	// must return quickly: the device stands still meanwhile.
	OnEvent func(Event)

	// Logger receives diagnostics: why a connection failed or was lost. Nil
	// means none.
	Logger *slog.Logger

	// Clock drives the delays between reconnects. Nil means the real clock.
	Clock clock.Clock

	// ReconnectMin and ReconnectMax bound the delay before the next attempt to
	// connect: it doubles from one to the other, with up to half as much again
	// of jitter. Zero means 500 ms and 30 s.
	ReconnectMin, ReconnectMax time.Duration
}

// Device is one simulated device. Create it with New.
type Device struct {
	opts   Options
	target target
	state  twinState
}

// New checks the options and returns a device that is not connected yet. Its
// errors name the option and the rule, and never contain a credential.
func New(opts Options) (*Device, error) {
	target, err := newTarget(opts)
	if err != nil {
		return nil, err
	}
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.ReconnectMin == 0 {
		opts.ReconnectMin = defaultReconnectMin
	}
	if opts.ReconnectMax == 0 {
		opts.ReconnectMax = defaultReconnectMax
	}
	if opts.ReconnectMin < 0 || opts.ReconnectMax < opts.ReconnectMin {
		return nil, fmt.Errorf("ReconnectMin %s and ReconnectMax %s: want 0 <= min <= max", opts.ReconnectMin, opts.ReconnectMax)
	}
	return &Device{opts: opts, target: target}, nil
}

// DeviceID is the device's id on the hub.
func (d *Device) DeviceID() string { return d.target.creds.DeviceID }

// Run plays the device until ctx ends, reconnecting whenever the connection is
// refused or lost; it then leaves the hub with an MQTT DISCONNECT and returns
// nil. A Device is run once at a time.
func (d *Device) Run(ctx context.Context) error {
	backoff := d.newBackoff()
	for {
		started := d.opts.Clock.Now()
		err := d.connectOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("the connection ended without a cause")
		}
		if d.opts.Clock.Since(started) >= steadyConnection {
			backoff = d.newBackoff()
		}
		delay := backoff.Step()
		d.opts.Logger.Warn("not connected", "cause", err, "retryIn", delay.Round(time.Millisecond))
		if !d.sleep(ctx, delay) {
			return nil
		}
	}
}

func (d *Device) newBackoff() wait.Backoff {
	return wait.Backoff{
		Duration: d.opts.ReconnectMin,
		Cap:      d.opts.ReconnectMax,
		Factor:   2,
		Jitter:   0.5,
		Steps:    math.MaxInt32,
	}
}

// sleep reports whether the delay passed before ctx ended.
func (d *Device) sleep(ctx context.Context, delay time.Duration) bool {
	timer := d.opts.Clock.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

func (d *Device) emit(e Event) {
	if d.opts.Output != nil {
		if _, err := fmt.Fprintf(d.opts.Output, "devicesim: %s\n", e); err != nil {
			d.opts.Logger.Error("cannot write the output", "error", err)
		}
	}
	if d.opts.OnEvent != nil {
		d.opts.OnEvent(e)
	}
}
