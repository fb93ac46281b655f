// Package mqttfront lets devices talk to an emulated IoT Hub over MQTT 3.1.1
// and TLS, directly or inside a WebSocket.
//
// IoT Hub is not a message broker: every device uses the same topic names and
// talks to the hub alone. The MQTT library therefore only speaks the protocol
// here; no message ever goes from one client to another.
package mqttfront

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/count"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// maxPacketSize leaves room around the largest message a device may send: IoT
// Hub takes 256 KB.
const maxPacketSize = 512 << 10

var errServerClosed = errors.New("the hub shuts down")

// Config is what the MQTT side needs of the emulated hub. All fields are
// required.
type Config struct {
	Store    *store.Store
	TLS      *tls.Config // the hub's certificate
	Counters *count.Set
	Faults   *fault.Set
	Limits   *throttle.Limits // nil for a hub without any
	Logger   *slog.Logger
	Clock    clock.Clock
	// Choices settle what IoT Hub leaves open.
	Choices Choices
	// HostNames are the names of the hub, lower case and without a port: a
	// device names one of them when it connects.
	HostNames []string
}

// Server is the MQTT side of one emulated hub.
type Server struct {
	cfg    Config
	broker *mqtt.Server
	wg     sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	conns    map[*conn]struct{}
	serial   int
	closed   bool
}

// New returns a server that accepts no connections yet.
func New(cfg Config) (*Server, error) {
	capabilities := mqtt.NewDefaultServerCapabilities()
	// The library's write queue serves subscriptions between its clients,
	// which there are none of, and is allocated per connection.
	capabilities.MaximumClientWritesPending = 1
	capabilities.MaximumPacketSize = maxPacketSize
	broker := mqtt.New(&mqtt.Options{
		Capabilities:           capabilities,
		SysTopicResendInterval: math.MaxInt32, // seconds: no client can read those topics
		// The library logs whole packets, passwords included.
		Logger: slog.New(slog.DiscardHandler),
	})
	s := &Server{cfg: cfg, broker: broker, conns: map[*conn]struct{}{}}
	if err := broker.AddHook(&hook{server: s}, nil); err != nil {
		return nil, fmt.Errorf("MQTT: %w", err)
	}
	return s, nil
}

// Serve accepts devices on a plain TCP listener, adding TLS itself, until
// Close; it then returns nil.
func (s *Server) Serve(listener net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return closeListener(listener)
	}
	s.listener = listener
	s.mu.Unlock()
	for {
		raw, err := listener.Accept()
		if err != nil {
			if s.isClosed() {
				return nil
			}
			return fmt.Errorf("MQTT: accept: %w", err)
		}
		network := tls.Server(raw, s.cfg.TLS)
		if c := s.track(network, nil); c != nil {
			go s.serveConn(c)
		}
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// track returns nil when the server is closed already. state is that of the
// TLS connection below network, nil when network is that connection itself.
func (s *Server) track(network net.Conn, state *tls.ConnectionState) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = network.Close() // nothing was said on it yet
		return nil
	}
	s.serial++
	c := newConn(s, network, state, s.serial)
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return c
}

func (s *Server) serveConn(c *conn) {
	defer s.wg.Done()
	err := s.broker.EstablishConnection("mqtt", c)
	c.finish()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	if !errors.Is(c.cause, context.Canceled) {
		err = c.cause
	}
	s.cfg.Logger.Debug("MQTT connection ended", "device", c.id.Device, "module", c.id.Module, "remote", c.RemoteAddr().String(), "cause", err)
}

// Close cuts all connections and waits for everything to end. Further calls
// wait too and do nothing else.
func (s *Server) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	listener := s.listener
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	var err error
	if first && listener != nil {
		err = closeListener(listener)
	}
	for _, c := range conns {
		c.stop(errServerClosed)
	}
	s.wg.Wait()
	if first {
		err = errors.Join(err, s.broker.Close())
	}
	return err
}

// closeListener closes what its opener may have closed already.
func closeListener(listener net.Listener) error {
	if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
