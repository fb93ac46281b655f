package mqttfront

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/onsi/gomega"
	"go.uber.org/goleak"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/count"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/sas"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

const patience = 10 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is an MQTT server in front of a store of its own.
type hub struct {
	*gomega.WithT
	t        *testing.T
	store    *store.Store
	counters *count.Set
	faults   *fault.Set
	server   *Server
	address  string
	roots    *x509.CertPool
	clock    clock.Clock
}

func newHub(t *testing.T) *hub {
	t.Helper()
	return newHubAt(t, clock.RealClock{})
}

func newHubAt(t *testing.T, clk clock.Clock) *hub {
	t.Helper()
	return newLimitedHub(t, clk, nil)
}

func newLimitedHub(t *testing.T, clk clock.Clock, limits *throttle.Limits) *hub {
	t.Helper()
	h := &hub{WithT: gomega.NewWithT(t), t: t, counters: &count.Set{}, faults: &fault.Set{}, clock: clk}
	hostNames := []string{"localhost", "127.0.0.1"}
	h.store = store.New(store.Options{HostNames: hostNames, Clock: clk})
	certificate, roots := testCertificate(t)
	h.roots = roots
	var err error
	h.server, err = New(Config{
		Store: h.store, TLS: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		Counters: h.counters, Faults: h.faults, Limits: limits, Logger: slog.New(slog.DiscardHandler), Clock: clk, HostNames: hostNames,
	})
	h.Expect(err).NotTo(gomega.HaveOccurred())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	h.Expect(err).NotTo(gomega.HaveOccurred())
	h.address = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(listener) }()
	t.Cleanup(func() {
		if err := h.server.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return h
}

// testCertificate borrows the one that net/http/httptest carries; it is valid
// for 127.0.0.1.
func testCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return server.TLS.Certificates[0], roots
}

func (h *hub) addDevice(ids ...string) {
	h.t.Helper()
	for _, id := range ids {
		_, err := h.store.PutIdentity(store.ID{Device: id}, "", []byte(`{"deviceId":"`+id+`"}`))
		h.Expect(err).NotTo(gomega.HaveOccurred())
	}
}

func (h *hub) token(id string, lifetime time.Duration) string {
	h.t.Helper()
	key, err := h.store.Key(store.ID{Device: id})
	h.Expect(err).NotTo(gomega.HaveOccurred())
	token, err := sas.New("localhost:8443/devices/"+id, key, "", h.clock.Now().Add(lifetime))
	h.Expect(err).NotTo(gomega.HaveOccurred())
	return token
}

func (h *hub) desire(id, properties string) {
	h.t.Helper()
	_, err := h.store.PatchTwin(store.ID{Device: id}, "", []byte(`{"properties":{"desired":`+properties+`}}`))
	h.Expect(err).NotTo(gomega.HaveOccurred())
}

func (h *hub) connectionState(id string) func() any {
	return func() any {
		twin, err := h.store.Twin(store.ID{Device: id})
		if err != nil {
			return err
		}
		return twin.Document()["connectionState"]
	}
}

func (h *hub) counted(operation string) count.Operation { return h.counters.Snapshot()[operation] }

// connectPacket is a CONNECT as the hub's clients send it.
func (h *hub) connectPacket(id string) *packets.ConnectPacket {
	pk := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	pk.ProtocolName, pk.ProtocolVersion = "MQTT", 4
	pk.CleanSession, pk.Keepalive = true, 60
	pk.ClientIdentifier = id
	pk.UsernameFlag, pk.Username = true, "localhost:8443/"+id+"/?api-version=2021-04-12"
	pk.PasswordFlag, pk.Password = true, []byte(h.token(id, time.Hour))
	return pk
}

// rawClient is a client that hides nothing of the protocol.
type rawClient struct {
	h    *hub
	conn *tls.Conn
}

func (h *hub) dial() *rawClient {
	h.t.Helper()
	conn, err := tls.Dial("tcp", h.address, &tls.Config{RootCAs: h.roots, ServerName: "127.0.0.1"})
	h.Expect(err).NotTo(gomega.HaveOccurred())
	h.t.Cleanup(func() { _ = conn.Close() })
	h.Expect(conn.SetReadDeadline(time.Now().Add(patience))).To(gomega.Succeed())
	return &rawClient{h: h, conn: conn}
}

// connect signs a device in and fails the test if the hub refuses it.
func (h *hub) connect(id string) *rawClient {
	h.t.Helper()
	c := h.dial()
	h.Expect(c.open(h.connectPacket(id))).To(gomega.Equal(packets.Accepted))
	return c
}

func (c *rawClient) open(pk *packets.ConnectPacket) int {
	c.h.t.Helper()
	c.send(pk)
	return int(receive[*packets.ConnackPacket](c).ReturnCode)
}

func (c *rawClient) send(pk packets.ControlPacket) {
	c.h.t.Helper()
	var b bytes.Buffer
	c.h.Expect(pk.Write(&b)).To(gomega.Succeed())
	_, err := c.conn.Write(b.Bytes())
	c.h.Expect(err).NotTo(gomega.HaveOccurred())
}

// receive reads the next packet, which must be of type P.
func receive[P packets.ControlPacket](c *rawClient) P {
	c.h.t.Helper()
	pk, err := packets.ReadPacket(c.conn)
	c.h.Expect(err).NotTo(gomega.HaveOccurred())
	typed, ok := pk.(P)
	c.h.Expect(ok).To(gomega.BeTrue(), "unexpected packet: %v", pk)
	return typed
}

// expectCut requires that the hub ends the connection without another packet.
func (c *rawClient) expectCut() {
	c.h.t.Helper()
	pk, err := packets.ReadPacket(c.conn)
	c.h.Expect(err).To(gomega.HaveOccurred(), "got %v instead of the end", pk)
	c.h.Expect(err).NotTo(gomega.MatchError(os.ErrDeadlineExceeded), "the connection stays open")
}

// subscribe returns what the hub granted for the filter.
func (c *rawClient) subscribe(filter string, qos byte) byte {
	c.h.t.Helper()
	pk := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	pk.MessageID, pk.Topics, pk.Qoss = 1, []string{filter}, []byte{qos}
	c.send(pk)
	return receive[*packets.SubackPacket](c).ReturnCodes[0]
}

func (c *rawClient) publish(topic, payload string, qos byte) {
	c.h.t.Helper()
	pk := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	pk.TopicName, pk.Payload, pk.Qos = topic, []byte(payload), qos
	if qos > 0 {
		pk.MessageID = 7
	}
	c.send(pk)
}

// ping proves that the connection works and that nothing else is under way.
func (c *rawClient) ping() {
	c.h.t.Helper()
	c.send(packets.NewControlPacket(packets.Pingreq))
	receive[*packets.PingrespPacket](c)
}

func decode(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return v
}
