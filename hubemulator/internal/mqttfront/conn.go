package mqttfront

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

const (
	// connectTimeout is how long a client may take for TLS and CONNECT.
	connectTimeout = 30 * time.Second

	// writeTimeout is how long a client may leave its receive window closed.
	writeTimeout = 10 * time.Second

	// maxIdle is the longest silence IoT Hub puts up with, whatever keep-alive
	// the client asks for.
	maxIdle = 1767 * time.Second

	// maxQueued and maxUnacknowledged bound what is kept for one client; a
	// client that is further behind is cut off, so that it knows.
	maxQueued         = 256
	maxUnacknowledged = 1024

	// maxRequests is how many requests of one client wait for the one that is
	// being worked on.
	maxRequests = 16
)

var (
	errTokenExpired = errors.New("the device's token expired")
	errTooSlow      = errors.New("the client does not read fast enough")
	errNoAcks       = errors.New("the client does not acknowledge what it is sent")
)

// conn is one device's network connection, and all that the hub knows about
// it. It is the net.Conn that the MQTT library reads and writes.
type conn struct {
	net.Conn
	tlsState *tls.ConnectionState // nil when Conn is the TLS connection itself

	server *Server
	serial int
	wg     sync.WaitGroup // the goroutines working for an accepted device

	// Set while the hub decides about the device, and constant from then on.
	ended          <-chan struct{} // closed when the connection ends
	client         *mqtt.Client
	session        *store.Session
	id             store.ID
	apiVersion     string
	hasWill        bool
	will           []byte
	emptyWill      bool // there is one, and the library has a stand-in for it
	persistent     bool // CleanSession 0
	sessionPresent bool
	expiry         clock.Timer // nil when the credential does not expire

	// Pointers keep the queues, which are mostly empty, small.
	requests chan *request
	outgoing chan *message

	// sending is locked while nothing may go out but what the library sends:
	// the answer to CONNECT or SUBSCRIBE comes before anything that it allows.
	// held is for the goroutine that reads.
	sending sync.Mutex
	held    bool

	mu       sync.Mutex
	cancel   context.CancelCauseFunc // ends what works for the connection; nil before there is anything
	cause    error                   // why the connection ended, nil before
	idle     time.Duration           // silence after which the connection is cut
	stopped  bool                    // no deadline may be moved any more
	left     bool                    // the client said DISCONNECT
	granted  map[string]byte         // QoS by subscribed filter
	unacked  map[uint16]func()       // what to do when the device acknowledges
	packetID uint16
	methods  map[string]chan<- store.MethodResult // calls without a result, by request id
	calls    int64                                // method calls so far
}

func newConn(s *Server, network net.Conn, state *tls.ConnectionState, serial int) *conn {
	c := &conn{
		Conn:     network,
		tlsState: state,
		server:   s,
		serial:   serial,
		idle:     connectTimeout,
		requests: make(chan *request, maxRequests),
		outgoing: make(chan *message, maxQueued),
		granted:  map[string]byte{},
		unacked:  map[uint16]func(){},
		methods:  map[string]chan<- store.MethodResult{},
	}
	c.extendRead()
	return c
}

// begin returns a context for what works for the connection. It ends with the
// connection, and its cause says why.
func (c *conn) begin() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		cancel(c.cause)
	}
	c.cancel, c.ended = cancel, ctx.Done()
	return ctx
}

// end ends what works for the connection. It has to be called with the lock
// held.
func (c *conn) end(cause error) {
	if c.cause == nil {
		c.cause = cause
	}
	if c.cancel != nil {
		c.cancel(cause)
	}
}

// stop cuts the connection without a word, as the hub does: MQTT 3.1.1 knows no
// DISCONNECT from a server. It does not block.
func (c *conn) stop(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(cause)
	c.stopped = true
	// Both directions fail from now on, and the goroutine that reads closes.
	_ = c.Conn.SetDeadline(time.Unix(1, 0))
}

// certificates returns what the client proved to be its own, leaf first.
func (c *conn) certificates() []*x509.Certificate {
	if c.tlsState != nil {
		return c.tlsState.PeerCertificates
	}
	if network, ok := c.Conn.(*tls.Conn); ok {
		return network.ConnectionState().PeerCertificates
	}
	return nil
}

// finish runs after the last packet was read.
func (c *conn) finish() {
	c.mu.Lock()
	c.end(context.Canceled)
	c.mu.Unlock()
	c.resumeSending()
	_ = c.Close() // usually closed already
	if c.session == nil {
		return
	}
	c.mu.Lock()
	left := c.left
	c.mu.Unlock()
	if c.hasWill && !left {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()                              // no client is left that waits for a turn
		status, _ := c.telemetry(ctx, c.will) // there is no connection left to cut for a refusal
		c.server.cfg.Counters.Add(opTelemetry, status)
	}
	c.session.Close()
	if c.expiry != nil {
		c.expiry.Stop()
	}
	c.server.broker.Clients.Delete(c.client.ID)
	c.wg.Wait()
}

// holdSending and resumeSending are called by the goroutine that reads only.
func (c *conn) holdSending() {
	if !c.held {
		c.held = true
		c.sending.Lock()
	}
}

func (c *conn) resumeSending() {
	if c.held {
		c.held = false
		c.sending.Unlock()
	}
}

// SetDeadline is how the library starts the keep-alive period anew. Its own
// idea of when that ends overflows and knows no maximum.
func (c *conn) SetDeadline(time.Time) error {
	c.extendRead()
	return nil
}

func (c *conn) extendRead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.idle)) // fails only when closed
	}
}

// Write gives the client a limited time to take the data.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if !c.stopped {
		_ = c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails only when closed
	}
	c.mu.Unlock()
	n, err := c.Conn.Write(b)
	if err != nil {
		// Half a packet may be out: nothing can follow it.
		c.stop(err)
	}
	return n, err
}

// setKeepAlive takes the client's keep-alive in seconds: the hub waits half as
// long again. 0, "no limit" in MQTT, still ends at the hub's maximum.
func (c *conn) setKeepAlive(seconds uint16) {
	idle := time.Duration(seconds) * 1500 * time.Millisecond
	if idle == 0 || idle > maxIdle {
		idle = maxIdle
	}
	c.mu.Lock()
	c.idle = idle
	c.mu.Unlock()
}
