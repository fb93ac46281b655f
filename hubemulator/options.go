package hubemulator

import (
	"log/slog"
	"net"
	"strings"

	"k8s.io/utils/clock"
)

// Options configure an emulated hub. The zero value is usable: everything
// listens on free ports of 127.0.0.1.
type Options struct {
	// HTTPSAddress, MQTTAddress and AdminAddress are where the service API,
	// the devices' MQTT and the plain-HTTP admin API listen, as host:port.
	// Port 0 picks a free one. Default "127.0.0.1:0".
	HTTPSAddress, MQTTAddress, AdminAddress string
	// Hostname goes into connection strings and the certificate. Default "localhost".
	Hostname string
	// DataDir, when set, receives ca.crt and connections.json.
	DataDir string
	// Devices are registered at start, with fresh keys.
	Devices []string
	// Clock tells the time for tokens and timestamps. Default: the real clock.
	Clock clock.Clock
	// Logger receives what is worth knowing about the server itself, never a
	// credential. Default: discarded.
	Logger *slog.Logger
}

const anyLoopbackPort = "127.0.0.1:0"

func (o Options) withDefaults() Options {
	for _, address := range []*string{&o.HTTPSAddress, &o.MQTTAddress, &o.AdminAddress} {
		if *address == "" {
			*address = anyLoopbackPort
		}
	}
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// hostNames lists every name the hub goes by: its own, localhost, and the
// loopback addresses, those that it listens on included.
func hostNames(hostname string, listeners ...net.Listener) []string {
	names := []string{strings.ToLower(hostname), "localhost", "127.0.0.1", "::1"}
	for _, listener := range listeners {
		if address, isTCP := listener.Addr().(*net.TCPAddr); isTCP && !address.IP.IsUnspecified() {
			names = append(names, address.IP.String())
		}
	}
	return names
}
