package devicesim_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/devicesim"
)

// wire is a hub that does nothing by itself: the test plays it, packet by
// packet, to show the device what no well-behaved hub would.
type wire struct {
	*WithT
	t        *testing.T
	listener net.Listener
	ca       []byte
}

func newWire(t *testing.T) *wire {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	w := &wire{WithT: NewWithT(t), t: t, ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})}
	var err error
	w.listener, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12})
	w.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = w.listener.Close() })
	return w
}

func (w *wire) options() devicesim.Options {
	return devicesim.Options{
		ConnectionString: "HostName=127.0.0.1;DeviceId=d1;SharedAccessKey=c2VjcmV0",
		CA:               w.ca,
		MQTTAddress:      w.listener.Addr().String(),
		ReconnectMin:     time.Millisecond,
		ReconnectMax:     10 * time.Millisecond,
	}
}

// link is one connection of the device.
type link struct {
	w    *wire
	conn net.Conn
}

func (w *wire) accept() *link {
	w.t.Helper()
	conn, err := w.listener.Accept()
	w.Expect(err).NotTo(HaveOccurred())
	w.t.Cleanup(func() { _ = conn.Close() })
	w.Expect(conn.SetDeadline(time.Now().Add(patience))).To(Succeed())
	return &link{w: w, conn: conn}
}

// open accepts a connection up to the answered twin GET.
func (w *wire) open(twin string) *link {
	w.t.Helper()
	l := w.accept()
	expect[*packets.ConnectPacket](l)
	l.send(packets.NewControlPacket(packets.Connack))
	l.grant(1) // desired updates
	l.grant(1) // answers
	get := l.request()
	w.Expect(get.TopicName).To(HavePrefix("$iothub/twin/GET/?$rid="))
	l.publish(fmt.Sprintf("$iothub/twin/res/200/?$rid=%s", rid(get)), twin)
	return l
}

func expect[P packets.ControlPacket](l *link) P {
	l.w.t.Helper()
	pk, err := packets.ReadPacket(l.conn)
	l.w.Expect(err).NotTo(HaveOccurred())
	typed, ok := pk.(P)
	l.w.Expect(ok).To(BeTrue(), "unexpected packet: %v", pk)
	return typed
}

func (l *link) send(pk packets.ControlPacket) {
	l.w.t.Helper()
	l.w.Expect(pk.Write(l.conn)).To(Succeed())
}

func (l *link) grant(code byte) {
	l.w.t.Helper()
	subscribe := expect[*packets.SubscribePacket](l)
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID, ack.ReturnCodes = subscribe.MessageID, []byte{code}
	l.send(ack)
}

// request reads a publish of the device and acknowledges it.
func (l *link) request() *packets.PublishPacket {
	l.w.t.Helper()
	pk := expect[*packets.PublishPacket](l)
	ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
	ack.MessageID = pk.MessageID
	l.send(ack)
	return pk
}

func rid(pk *packets.PublishPacket) string {
	_, id, _ := strings.Cut(pk.TopicName, "$rid=")
	return id
}

func (l *link) publish(topic, payload string) {
	l.w.t.Helper()
	pk := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	pk.TopicName, pk.Payload = topic, []byte(payload)
	l.send(pk)
}

func (l *link) update(version int, properties string) {
	l.w.t.Helper()
	l.publish(fmt.Sprintf("$iothub/twin/PATCH/properties/desired/?$version=%d", version), fmt.Sprintf(`{%s,"$version":%d}`, properties, version))
}

const emptyTwin = `{"desired":{"$version":1},"reported":{"$version":1}}`

func TestDeviceLeavesWithDisconnect(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	device := run(t, w.options())
	l := w.open(emptyTwin)
	w.Eventually(device.output.all, patience).Should(HaveLen(1))
	device.cancel()
	expect[*packets.DisconnectPacket](l)
	device.leave()
}

func TestUpdatesAreAppliedByVersion(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	opts := w.options()
	clk := clocktesting.NewFakeClock(time.Now())
	opts.Clock = clk
	device := run(t, opts)
	l := w.open(`{"desired":{"n":1,"$version":5},"reported":{"n":1,"$version":1}}`)
	l.update(4, `"n":0`) // was under way when the twin was read
	l.update(7, `"n":3`)
	l.update(7, `"n":3`) // delivered twice
	l.update(6, `"n":2,"m":1`)
	// Update 7 is acknowledged together with 6 or after it.
	for version := 2; !strings.Contains(strings.Join(device.output.all(), "\n"), "($version 7)"); version++ {
		l.publish(fmt.Sprintf("$iothub/twin/res/204/?$version=%d&$rid=%s", version, rid(l.request())), "")
	}
	w.Expect(only("desired", "connected to", device)).To(Equal([]string{
		"devicesim: connected to 127.0.0.1 as d1",
		"devicesim: desired n: 1 ($version 5)",
		"devicesim: desired m: 1 ($version 6)",
		"devicesim: desired n: 2 ($version 6)",
		"devicesim: desired n: 3 ($version 7)",
	}))
	w.Eventually(clk.HasWaiters, patience).Should(BeFalse(), "the device waits for an update that it has")
}

func TestReportWithoutAVersion(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	opts := w.options()
	opts.Connectivity = "wifi"
	device := run(t, opts)
	l := w.open(emptyTwin)
	l.publish("$iothub/twin/res/204/?$rid="+rid(l.request()), "")
	w.Eventually(device.output.all, patience).Should(ContainElement(`devicesim: reported {"connectivity":"wifi"} ($version unknown)`))
}

func TestRefusedSubscriptionDiscardsTheClient(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	device := run(t, w.options())
	l := w.accept()
	expect[*packets.ConnectPacket](l)
	l.send(packets.NewControlPacket(packets.Connack))
	l.grant(0x80)
	expect[*packets.DisconnectPacket](l)
	w.open(emptyTwin)
	w.Eventually(device.output.all, patience).Should(HaveLen(3)) // connected, disconnected, connected
	w.Expect(device.log.all()).To(ContainElement(ContainSubstring("subscribe to desired properties")))
}

func TestLostConnectionInterruptsRequests(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	device := run(t, w.options())
	l := w.accept()
	expect[*packets.ConnectPacket](l)
	l.send(packets.NewControlPacket(packets.Connack))
	l.grant(1)
	l.grant(1)
	l.request() // never answered
	w.Expect(l.conn.Close()).To(Succeed())
	w.open(emptyTwin)
	w.Eventually(device.log.all, patience).Should(ContainElement(ContainSubstring("connection lost")))
}

func TestRunEndsInAnyState(t *testing.T) {
	t.Parallel()
	states := map[string]func(l *link){
		"while connecting": func(l *link) { expect[*packets.ConnectPacket](l) },
		"while subscribing": func(l *link) {
			expect[*packets.ConnectPacket](l)
			l.send(packets.NewControlPacket(packets.Connack))
			expect[*packets.SubscribePacket](l)
		},
		"while reading": func(l *link) {
			expect[*packets.ConnectPacket](l)
			l.send(packets.NewControlPacket(packets.Connack))
			l.grant(1)
			l.grant(1)
			l.request()
		},
		"while waiting to reconnect": func(l *link) { _ = l.conn.Close() },
	}
	for name, reach := range states {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			opts := w.options()
			opts.ReconnectMin, opts.ReconnectMax = time.Hour, time.Hour
			device := run(t, opts)
			reach(w.accept())
			started := time.Now()
			device.leave()
			w.Expect(time.Since(started)).To(BeNumerically("<", 5*time.Second))
		})
	}
}
