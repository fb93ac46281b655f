package hubemulator

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/hostname"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/httpserver"
)

// HostNames are all names that the hub answers to, each with the HTTPS port
// unless that is 443. A hub whose Options.Hostname is that of an IoT Hub has
// three: <hub>.azure-devices.net, <hub>.service.azure-devices.net and
// <hub>.device.azure-devices.net, in this order. Any other has HostName alone.
func (s *Server) HostNames() []string {
	names := s.names.All()
	if names == nil {
		return []string{s.HostName()}
	}
	for i, name := range names {
		names[i] = httpserver.HostPort(name, s.HTTPSAddress())
	}
	return names
}

// DialContext connects to the hub where the address has one of its names, which
// no DNS knows: to where devices connect if the port is MQTT's (8883), and else
// to the service API. It dials any other address as net.Dialer does. It is for
// the DialContext of an http.Transport, and of whatever else dials by name.
func (s *Server) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if own, known := s.listenerOf(address); known {
		network, address = "tcp", own
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

// dialByName is DialContext for the hub's names alone.
func (s *Server) dialByName(ctx context.Context, address string) (net.Conn, error) {
	if _, known := s.listenerOf(address); !known {
		return nil, fmt.Errorf("%s is none of the hub's names, and this leads to the hub alone", address)
	}
	return s.DialContext(ctx, "tcp", address)
}

// mqttPort is where IoT Hub has MQTT.
const mqttPort = "8883"

// listenerOf is where the hub listens for what a client dials by name.
func (s *Server) listenerOf(address string) (own string, known bool) {
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil || !s.names.Has(host) && !s.hasOwnName(host):
		return "", false
	case port == mqttPort:
		return s.MQTTAddress(), true
	}
	return s.HTTPSAddress(), true
}

// hasOwnName reports whether a host is the hub's by a name that is no address.
func (s *Server) hasOwnName(host string) bool {
	own := strings.ToLower(s.opts.Hostname)
	return hostname.Bare(host) == own && own != loopbackName && net.ParseIP(own) == nil
}

const loopbackName = "localhost"

// routed refuses requests for another host than the hub, as the HTTP server of
// Azure does. Hubs that are not called like one in Azure take any.
func (s *Server) routed(names []string, next http.Handler) http.Handler {
	if s.names == (hostname.Names{}) {
		return next
	}
	known := map[string]bool{}
	for _, name := range names {
		known[name] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if known[hostname.Bare(r.Host)] {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=us-ascii")
		w.Header().Set("Server", "Microsoft-HTTPAPI/2.0")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusBadRequest)
		// A client that has gone away is no business of ours.
		_, _ = io.WriteString(w, "<html><body><h2>Bad Request - Invalid Hostname</h2></body></html>")
	})
}
