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

	// cancel ends the context of all that is done with the connection, and says
	// why it was lost.
	cancel context.CancelCauseFunc

	mu  sync.Mutex
	net net.Conn
}

// newConnection returns a connection, and a context for all that is done with
// it: that ends with ctx, or with the connection.
func newConnection(ctx context.Context, d *Device) (context.Context, *connection) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &connection{target: d.target, accepted: make(chan paho.Client, 1), updates: make(chan []byte), cancel: cancel}
	c.transport = mqtt.New(mqtt.WithClientOptionsConfig(func(o *paho.ClientOptions) { c.configure(ctx, o) }))
	c.transport.SetLogger(transportLogger{d.opts.Logger})
	return ctx, c
}

// configure bends the library's MQTT options to one connection: no reconnect
// of its own, no waiting inside the message router, our roots and our address.
func (c *connection) configure(ctx context.Context, o *paho.ClientOptions) {
	o.SetOrderMatters(false)
	o.SetAutoReconnect(false)
	o.SetConnectRetry(false)
	o.SetConnectTimeout(connectTimeout)
	o.TLSConfig = c.target.tlsConfig(o.TLSConfig)
	o.Servers = nil
	o.AddBroker("tls://" + c.target.address)
	o.SetCustomOpenConnectionFn(func(_ *url.URL, o paho.ClientOptions) (net.Conn, error) { return c.dial(ctx, o) })
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
func (c *connection) dial(ctx context.Context, o paho.ClientOptions) (net.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: o.TLSConfig}
	conn, err := dialer.DialContext(bounded, "tcp", c.target.address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.net = conn
	c.mu.Unlock()
	if ctx.Err() != nil {
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
func (c *connection) open(ctx context.Context) error {
	stopInterrupt := context.AfterFunc(ctx, c.closeNetwork)
	err := c.transport.Connect(context.WithoutCancel(ctx), c.target.creds)
	if !stopInterrupt() && err == nil {
		err = context.Cause(ctx)
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
func (c *connection) subscribe(ctx context.Context) error {
	if err := c.subscribeDesired(ctx); err != nil {
		return fmt.Errorf("subscribe to desired properties: %w", because(ctx, err))
	}
	return nil
}

func (c *connection) subscribeDesired(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var client paho.Client
	select {
	case client = <-c.accepted:
	case <-bounded.Done():
		return bounded.Err()
	}
	token := client.Subscribe(desiredFilter, mqtt.DefaultQoS, func(_ paho.Client, m paho.Message) { c.takeUpdate(ctx, m) })
	select {
	case <-token.Done():
	case <-bounded.Done():
		return bounded.Err()
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
func (c *connection) takeUpdate(ctx context.Context, m paho.Message) {
	select {
	case c.updates <- m.Payload():
	case <-ctx.Done():
	}
}

func (c *connection) readTwin(ctx context.Context) (desired, reported section, err error) {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	document, err := c.transport.RetrieveTwinProperties(bounded)
	if err != nil {
		return section{}, section{}, fmt.Errorf("read the twin: %w", because(ctx, err))
	}
	return parseTwin(document)
}

// report sends a merge patch of the reported properties and returns their new
// $version, 0 when the hub did not tell.
func (c *connection) report(ctx context.Context, patch []byte) (int64, error) {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	version, err := c.transport.UpdateTwinProperties(bounded, patch)
	if err != nil {
		return 0, because(ctx, err)
	}
	return int64(version), nil
}

// because prefers the reason the connection ended over "context canceled".
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
