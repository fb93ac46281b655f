package devicesim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/amenzhinsky/iothub/iotdevice/transport/mqtt"
	paho "github.com/eclipse/paho.mqtt.golang"
)

const (
	// connectTimeout bounds dialling, TLS and the hub's answer to CONNECT.
	connectTimeout = 30 * time.Second

	// requestTimeout bounds one twin request. IoT Hub may queue a request for
	// a while before it answers.
	requestTimeout = 60 * time.Second

	desiredFilter = "$iothub/twin/PATCH/properties/desired/#"

	// subscriptionRefused is MQTT 3.1.1's return code in SUBACK.
	subscriptionRefused = 0x80
)

var errSubscriptionRefused = errors.New("the hub refused the subscription")

// connection is one MQTT connection with a client of its own: the library's
// clients do not survive a failed subscription, and its reconnect does not
// re-read the twin.
//
// The transport is used without iotdevice.Client on top, whose desired updates
// pass through channels that panic when closed while one is under way.
type connection struct {
	target    target
	transport *mqtt.Transport
	accepted  chan paho.Client // the transport's client, once the hub accepted it
	updates   chan []byte      // desired updates as they arrive

	// ctx ends with Run's context, or with the connection: then its cause says
	// why it was lost.
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu  sync.Mutex
	net net.Conn
}

func newConnection(ctx context.Context, d *Device) *connection {
	c := &connection{target: d.target, accepted: make(chan paho.Client, 1), updates: make(chan []byte)}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.transport = mqtt.New(mqtt.WithClientOptionsConfig(c.configure))
	c.transport.SetLogger(transportLogger{d.opts.Logger})
	return c
}

// configure bends the library's MQTT options to one connection: no reconnect
// of its own, no waiting inside the message router, our roots and our address.
func (c *connection) configure(o *paho.ClientOptions) {
	o.SetOrderMatters(false)
	o.SetAutoReconnect(false)
	o.SetConnectRetry(false)
	o.SetConnectTimeout(connectTimeout)
	o.TLSConfig = c.target.tlsConfig(o.TLSConfig)
	o.Servers = nil
	o.AddBroker("tls://" + c.target.address)
	o.SetCustomOpenConnectionFn(c.dial)
	connected := o.OnConnect
	o.SetOnConnectHandler(func(client paho.Client) {
		if connected != nil {
			connected(client)
		}
		c.accepted <- client
	})
	lost := o.OnConnectionLost
	o.SetConnectionLostHandler(func(client paho.Client, err error) {
		if lost != nil {
			lost(client, err)
		}
		c.cancel(fmt.Errorf("connection lost: %w", err))
	})
}

// dial opens the network connection in place of the library, so that the end of
// Run also interrupts dialling and the wait for the hub's answer to CONNECT.
func (c *connection) dial(_ *url.URL, o paho.ClientOptions) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(c.ctx, o.ConnectTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: o.TLSConfig}
	conn, err := dialer.DialContext(ctx, "tcp", c.target.address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.net = conn
	c.mu.Unlock()
	if c.ctx.Err() != nil {
		c.closeNetwork()
	}
	return conn, nil
}

func (c *connection) closeNetwork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.net != nil {
		_ = c.net.Close() // it may well be closed already
	}
}

// open waits for the hub to accept the device. The library's Connect must not
// be given a context that can end: it would return early and leave a live
// client behind, which evicts its successors.
func (c *connection) open() error {
	stopInterrupt := context.AfterFunc(c.ctx, c.closeNetwork)
	err := c.transport.Connect(context.WithoutCancel(c.ctx), c.target.creds)
	if !stopInterrupt() && err == nil {
		err = context.Cause(c.ctx)
	}
	if err != nil {
		c.closeNetwork()
		return fmt.Errorf("connect to %s: %w", c.target.address, err)
	}
	return nil
}

// leave ends the connection: with an MQTT DISCONNECT when it still stands.
func (c *connection) leave() error {
	c.cancel(nil)
	err := c.transport.Close()
	c.closeNetwork()
	return err
}

// subscribe asks for desired updates; they arrive on c.updates. It goes past
// the transport, which takes a refused subscription for a granted one. After a
// failure the connection is of no further use.
func (c *connection) subscribe() error {
	ctx, cancel := context.WithTimeout(c.ctx, requestTimeout)
	defer cancel()
	if err := c.subscribeDesired(ctx); err != nil {
		return fmt.Errorf("subscribe to desired properties: %w", c.because(err))
	}
	return nil
}

func (c *connection) subscribeDesired(ctx context.Context) error {
	var client paho.Client
	select {
	case client = <-c.accepted:
	case <-ctx.Done():
		return ctx.Err()
	}
	token := client.Subscribe(desiredFilter, mqtt.DefaultQoS, c.takeUpdate)
	select {
	case <-token.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := token.Error(); err != nil {
		return err
	}
	if granted, ok := token.(*paho.SubscribeToken); ok && granted.Result()[desiredFilter] == subscriptionRefused {
		return errSubscriptionRefused
	}
	return nil
}

// takeUpdate runs in a goroutine per update, so updates may overtake each other.
func (c *connection) takeUpdate(_ paho.Client, m paho.Message) {
	select {
	case c.updates <- m.Payload():
	case <-c.ctx.Done():
	}
}

func (c *connection) readTwin() (desired, reported section, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, requestTimeout)
	defer cancel()
	document, err := c.transport.RetrieveTwinProperties(ctx)
	if err != nil {
		return section{}, section{}, fmt.Errorf("read the twin: %w", c.because(err))
	}
	return parseTwin(document)
}

// report sends a merge patch of the reported properties and returns their new
// $version, 0 when the hub did not tell.
func (c *connection) report(patch []byte) (int64, error) {
	ctx, cancel := context.WithTimeout(c.ctx, requestTimeout)
	defer cancel()
	version, err := c.transport.UpdateTwinProperties(ctx, patch)
	if err != nil {
		return 0, c.because(err)
	}
	return int64(version), nil
}

// because prefers the reason the connection ended over "context canceled".
func (c *connection) because(err error) error {
	if cause := context.Cause(c.ctx); cause != nil {
		return cause
	}
	return err
}
