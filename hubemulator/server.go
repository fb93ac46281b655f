// Package hubemulator is a local Azure IoT Hub for development and tests: the
// service API over HTTPS and the devices' side over MQTT, in one process and
// without Azure. It follows the real service to the letter of its documents,
// headers and errors, so that programs need not know the difference.
//
// Start is made for tests, in the manner of net/http/httptest: it is ready
// within milliseconds and leaves nothing behind after Close.
package hubemulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/certificate"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/count"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/hostname"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/httpserver"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/job"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/mqttfront"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/service"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// Server is a running emulated hub.
type Server struct {
	opts     Options
	names    hostname.Names
	store    *store.Store
	jobs     *job.Jobs
	counters count.Set
	faults   fault.Set
	limits   *throttle.Limits
	entra    entraSide
	identity certificate.Identity
	kept     kept

	listeners listeners
	https     *http.Server
	admin     *http.Server
	mqtt      mqttServer

	stopping <-chan struct{}    // closed when the hub stops
	cancel   context.CancelFunc // starts the stop, and drops requests that are held
	serving  sync.WaitGroup
	stopErr  error // set before serving is done
}

// mqttServer is the devices' side of the hub.
type mqttServer interface {
	// Serve accepts connections until Close is called; then it returns nil.
	Serve(listener net.Listener) error
	// Close ends all connections and waits for them. It is idempotent.
	Close() error
	// ServeHTTP takes a connection over WebSocket.
	http.Handler
}

// mqttConfig is what the devices' side shares with the rest of the hub.
type mqttConfig struct {
	Store     *store.Store
	TLS       *tls.Config
	Counters  *count.Set
	Faults    *fault.Set
	Limits    *throttle.Limits
	Logger    *slog.Logger
	Clock     clock.Clock
	Choices   mqttfront.Choices
	HostNames []string // lower case, without ports
}

type listeners struct{ https, mqtt, admin net.Listener }

// Start runs an emulated hub. It is ready when Start returns, and stops when
// ctx ends or Close is called.
func Start(ctx context.Context, opts Options) (*Server, error) {
	opts = opts.withDefaults()
	bound, err := listen(ctx, opts)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	server, err := assemble(running, opts, bound)
	if err != nil {
		cancel()
		return nil, errors.Join(err, bound.close())
	}
	server.stopping, server.cancel = running.Done(), cancel
	server.serve(running)
	return server, nil
}

func listen(ctx context.Context, opts Options) (listeners, error) {
	var bound listeners
	for _, wanted := range []struct {
		purpose, address string
		listener         *net.Listener
	}{
		{"HTTPS", opts.HTTPSAddress, &bound.https},
		{"MQTT", opts.MQTTAddress, &bound.mqtt},
		{"admin", opts.AdminAddress, &bound.admin},
	} {
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp", wanted.address)
		if err != nil {
			err = fmt.Errorf("the %s address %s cannot be used: %w; free it or choose another", wanted.purpose, wanted.address, err)
			return listeners{}, errors.Join(err, bound.close())
		}
		*wanted.listener = listener
	}
	return bound, nil
}

func (l listeners) close() error {
	var errs []error
	for _, listener := range []net.Listener{l.https, l.mqtt, l.admin} {
		if listener == nil {
			continue
		}
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func assemble(running context.Context, opts Options, bound listeners) (*Server, error) {
	limits, err := throttle.New(opts.Tier, opts.Units, opts.Clock)
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts: opts, listeners: bound, limits: limits, names: hostname.Of(opts.Hostname),
		faults: fault.Set{Seed: opts.FaultSeed, Clock: opts.Clock, Stopping: running.Done()},
	}
	names := append(certificate.Names(opts.Hostname, bound.https, bound.mqtt), s.names.All()...)
	err = s.addStore(names)
	if err == nil {
		err = s.openDataDir()
	}
	if err == nil {
		err = s.takeGiven()
	}
	if err == nil {
		err = s.populate()
	}
	if err == nil {
		err = s.addEntra(running)
	}
	if err == nil {
		err = s.offer(running, names)
	}
	if err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	return s, nil
}

// addStore makes the hub's registry, and the jobs that work on it.
func (s *Server) addStore(names []string) error {
	if s.opts.QueryLag < 0 || s.opts.QueryGhosts < 0 {
		return errors.New("the query lag and the time that queries find ghosts cannot be negative; use 0 for none")
	}
	if s.opts.ConfigurationInterval < 0 {
		return errors.New("the interval of configurations cannot be negative; use 0 for 5 minutes")
	}
	if err := s.opts.Choices.check(); err != nil {
		return err
	}
	devices, err := authorities(s.opts.DeviceCAs, "device CAs")
	if err != nil {
		return err
	}
	s.store = store.New(store.Options{
		HostNames: names, Clock: s.opts.Clock, QueryLag: s.opts.QueryLag, QueryGhosts: s.opts.QueryGhosts,
		DeviceCAs: devices, DisableLocalAuth: s.opts.DisableLocalAuth, Choices: s.opts.Choices.store(),
		MaxConfigurations: maxConfigurations(s.opts.Tier),
	})
	s.faults.Freeze = s.store.Freeze
	s.jobs = job.New(job.Config{
		Store: s.store, Counters: &s.counters, Faults: &s.faults, Limits: s.limits, Clock: s.opts.Clock,
		Dialect: s.opts.Choices.service().Dialect,
	})
	return nil
}

// populate creates the devices that the hub starts with, but for those that
// it had before.
func (s *Server) populate() error {
	created := map[string]bool{}
	for _, deviceID := range s.opts.Devices {
		if !created[deviceID] && s.store.Has(store.ID{Device: deviceID}) {
			continue
		}
		created[deviceID] = true
		if _, err := s.AddDevice(deviceID); err != nil {
			return fmt.Errorf("creating device %q: %w", deviceID, err)
		}
	}
	if s.opts.Fleet != nil {
		return s.importFleet(s.opts.Fleet)
	}
	return nil
}

// offer makes what the listeners will serve.
func (s *Server) offer(running context.Context, names []string) error {
	if err := s.addIdentity(names); err != nil {
		return err
	}
	// Devices may sign in with a certificate. Which ones are accepted depends
	// on the device, which the handshake knows nothing of.
	s.identity.TLS.ClientAuth = tls.RequestClientCert
	s.names.TLS(s.identity.TLS, names)
	var err error
	if s.mqtt, err = newMQTT(mqttConfig{
		Store: s.store, TLS: s.identity.TLS.Clone(), Counters: &s.counters, Faults: &s.faults, Limits: s.limits,
		Logger: s.opts.Logger, Clock: s.opts.Clock, Choices: s.opts.Choices.mqtt(), HostNames: names,
	}); err != nil {
		return fmt.Errorf("preparing MQTT: %w", err)
	}
	s.https = httpserver.New(running, s.opts.Logger, s.routed(names, withWebSocket(s.mqtt, service.New(service.Config{
		Store: s.store, Jobs: s.jobs, Entra: s.entra.authorizer, Counters: &s.counters, Faults: &s.faults, Limits: s.limits, Clock: s.opts.Clock,
		Names: s.names, Choices: s.opts.Choices.service(),
	}))))
	s.https.TLSConfig = s.identity.TLS.Clone()
	s.admin = httpserver.New(running, s.opts.Logger, s.adminAPI(names))
	return s.fillDataDir()
}

// abandon ends a hub that could not start, and saves nothing of it.
func (s *Server) abandon() error {
	errs := []error{s.entra.close()}
	if s.mqtt != nil {
		errs = append(errs, s.mqtt.Close())
	}
	if s.kept.keeper != nil {
		errs = append(errs, s.kept.keeper.File.Close())
	}
	return errors.Join(errs...)
}

func (s *Server) serve(running context.Context) {
	s.background("HTTPS", func() error { return s.https.ServeTLS(s.listeners.https, "", "") })
	s.background("MQTT", func() error { return s.mqtt.Serve(s.listeners.mqtt) })
	s.background("admin", func() error { return s.admin.Serve(s.listeners.admin) })
	if s.kept.keeper != nil {
		s.serving.Go(func() { s.kept.keeper.Run(running) })
	}
	s.background("configurations", func() error { return s.keepEvaluating(running) })
	var jobs sync.WaitGroup
	jobs.Go(func() { s.jobs.Run(running) })
	s.background("stop", func() error {
		<-running.Done()
		s.stopErr = errors.Join(s.mqtt.Close(), httpserver.Shutdown(s.https), httpserver.Shutdown(s.admin), s.listeners.close(), s.entra.close())
		jobs.Wait() // what they did has to be saved
		s.stopErr = errors.Join(s.stopErr, s.closeDataDir())
		return s.stopErr
	})
}

func (s *Server) background(part string, run func() error) {
	s.serving.Go(func() {
		if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.opts.Logger.Error("The hub failed", "part", part, "error", err)
		}
	})
}

// Close stops the hub and waits until it has stopped. Requests that are held
// are dropped without being applied. Close is idempotent.
func (s *Server) Close() error {
	s.cancel()
	s.serving.Wait()
	return s.stopErr
}
