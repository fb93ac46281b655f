package mqttfront

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

func TestConnectIsAccepted(t *testing.T) {
	t.Parallel()
	tests := map[string]func(h *hub, pk *packets.ConnectPacket){
		"host with a port":         func(*hub, *packets.ConnectPacket) {},
		"host without a port":      func(_ *hub, pk *packets.ConnectPacket) { pk.Username = "localhost/d1/?api-version=2021-04-12" },
		"address as host":          func(_ *hub, pk *packets.ConnectPacket) { pk.Username = "127.0.0.1:8443/d1/?api-version=2021-04-12" },
		"host in capitals":         func(_ *hub, pk *packets.ConnectPacket) { pk.Username = "LocalHost/d1/?api-version=2021-04-12" },
		"without a question mark":  func(_ *hub, pk *packets.ConnectPacket) { pk.Username = "localhost/d1/api-version=2020-09-30" },
		"without an api-version":   func(_ *hub, pk *packets.ConnectPacket) { pk.Username = "localhost/d1/" },
		"nothing after the device": func(_ *hub, pk *packets.ConnectPacket) { pk.Username = "localhost/d1" },
		"more about the client": func(_ *hub, pk *packets.ConnectPacket) {
			pk.Username += "&DeviceClientType=azure-iot-device%2F1.18.4%20(node;v20)&model-id=dtmi%3Ax%3B1"
		},
		"persistent session": func(_ *hub, pk *packets.ConnectPacket) { pk.CleanSession = false },
		"empty will": func(_ *hub, pk *packets.ConnectPacket) {
			pk.WillFlag, pk.WillTopic, pk.WillMessage = true, "devices/d1/messages/events/", nil
		},
		"will on the telemetry topic": func(_ *hub, pk *packets.ConnectPacket) {
			pk.WillFlag, pk.WillTopic, pk.WillMessage = true, "devices/d1/messages/events/a=b", []byte("bye")
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			h.addDevice("d1")
			pk := h.connectPacket("d1")
			change(h, pk)
			c := h.dial()
			h.Expect(c.open(pk)).To(Equal(packets.Accepted))
			h.Expect(h.connectionState("d1")()).To(Equal("Connected"))
			h.Expect(h.counted(opConnect).Statuses).To(Equal(map[string]int64{"0": 1}))
			c.send(packets.NewControlPacket(packets.Disconnect))
			h.Eventually(h.connectionState("d1"), patience).Should(Equal("Disconnected"))
			h.Expect(h.counted(opTelemetry).Calls).To(BeZero(), "a will was sent although the device said good-bye")
		})
	}
}

func TestConnectIsRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		want   int
		change func(h *hub, pk *packets.ConnectPacket)
	}{
		"another device's token": {5, func(h *hub, pk *packets.ConnectPacket) { pk.Password = []byte(h.token("d2", time.Hour)) }},
		"expired token":          {5, func(h *hub, pk *packets.ConnectPacket) { pk.Password = []byte(h.token("d1", -time.Second)) }},
		"no token":               {5, func(_ *hub, pk *packets.ConnectPacket) { pk.Password = nil }},
		"no password":            {5, func(_ *hub, pk *packets.ConnectPacket) { pk.PasswordFlag, pk.Password = false, nil }},
		"unknown device": {5, func(_ *hub, pk *packets.ConnectPacket) {
			pk.ClientIdentifier, pk.Username = "absent", "localhost/absent/?api-version=2021-04-12"
		}},
		"disabled device": {5, func(h *hub, _ *packets.ConnectPacket) {
			_, err := h.store.PutIdentity(store.ID{Device: "d1"}, "*", []byte(`{"deviceId":"d1","status":"disabled"}`))
			h.Expect(err).NotTo(HaveOccurred())
		}},
		"client id of another": {5, func(_ *hub, pk *packets.ConnectPacket) { pk.ClientIdentifier = "d2" }},
		"no client id":         {5, func(_ *hub, pk *packets.ConnectPacket) { pk.ClientIdentifier = "" }},
		"another hub": {5, func(_ *hub, pk *packets.ConnectPacket) {
			pk.Username = "other.azure-devices.net/d1/?api-version=2021-04-12"
		}},
		"no user name": {5, func(_ *hub, pk *packets.ConnectPacket) { pk.Username = "d1" }},
		"a module":     {5, func(_ *hub, pk *packets.ConnectPacket) { pk.Username = "localhost/d1/m1/?api-version=2021-04-12" }},
		"foreign will": {5, func(_ *hub, pk *packets.ConnectPacket) {
			pk.WillFlag, pk.WillTopic, pk.WillMessage = true, "devices/d2/messages/events/", []byte("bye")
		}},
		"will with QoS 2": {5, func(_ *hub, pk *packets.ConnectPacket) {
			pk.WillFlag, pk.WillTopic, pk.WillMessage, pk.WillQos = true, "devices/d1/messages/events/", []byte("bye"), 2
		}},
		"no client id, no clean session": {5, func(_ *hub, pk *packets.ConnectPacket) { pk.ClientIdentifier, pk.CleanSession = "", false }},
		"level 3 of MQTT":                {1, func(_ *hub, pk *packets.ConnectPacket) { pk.ProtocolVersion = 3 }},
		"level 6 of MQTT":                {1, func(_ *hub, pk *packets.ConnectPacket) { pk.ProtocolVersion = 6 }},
		"a bridge's level":               {1, func(_ *hub, pk *packets.ConnectPacket) { pk.ProtocolVersion = 0x84 }},
		"level 4 of MQIsdp":              {1, func(_ *hub, pk *packets.ConnectPacket) { pk.ProtocolName = "MQIsdp" }},
		"MQTT 3.1":                       {1, func(_ *hub, pk *packets.ConnectPacket) { pk.ProtocolName, pk.ProtocolVersion = "MQIsdp", 3 }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			h.addDevice("d1", "d2")
			pk := h.connectPacket("d1")
			test.change(h, pk)
			c := h.dial()
			h.Expect(c.open(pk)).To(Equal(test.want))
			c.expectCut()
			h.Expect(h.connectionState("d1")()).To(Equal("Disconnected"))
			h.Expect(h.counted(opConnect).Calls).To(Equal(int64(1)))
		})
	}
}

func TestConnectWithMQTT5IsRefusedInMQTT311(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	c := h.dial()
	// CONNECT, protocol "MQTT" 5, clean start, no properties, client id "d1".
	_, err := c.conn.Write([]byte{0x10, 15, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0, 0, 2, 'd', '1'})
	h.Expect(err).NotTo(HaveOccurred())
	answer := make([]byte, 4)
	_, err = c.conn.Read(answer)
	h.Expect(err).NotTo(HaveOccurred())
	h.Expect(answer).To(Equal([]byte{0x20, 2, 0, 1}))
	c.expectCut()
}

// What breaks the protocol gets no CONNACK at all, least of all one with a code
// of MQTT 5.
func TestConnectThatBreaksTheProtocol(t *testing.T) {
	t.Parallel()
	will := func(pk *packets.ConnectPacket) {
		pk.WillFlag, pk.WillTopic, pk.WillMessage = true, "devices/d1/messages/events/", []byte("bye")
	}
	for name, change := range map[string]func(pk *packets.ConnectPacket){
		"reserved flag":          func(pk *packets.ConnectPacket) { pk.ReservedBit = 1 },
		"another protocol":       func(pk *packets.ConnectPacket) { pk.ProtocolName = "HTTP" },
		"will's QoS, no will":    func(pk *packets.ConnectPacket) { pk.WillQos = 1 },
		"retained will, no will": func(pk *packets.ConnectPacket) { pk.WillRetain = true },
		"will with QoS 3":        func(pk *packets.ConnectPacket) { will(pk); pk.WillQos = 3 },
		"will without a topic":   func(pk *packets.ConnectPacket) { will(pk); pk.WillTopic = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			h.addDevice("d1")
			pk := h.connectPacket("d1")
			change(pk)
			c := h.dial()
			var text bytes.Buffer
			h.Expect(pk.Write(&text)).To(Succeed())
			// The library that writes packets leaves the reserved bit alone.
			flags := bytes.Index(text.Bytes(), []byte(pk.ProtocolName)) + len(pk.ProtocolName) + 1
			text.Bytes()[flags] |= pk.ReservedBit
			_, err := c.conn.Write(text.Bytes())
			h.Expect(err).NotTo(HaveOccurred())
			c.expectCut()
			h.Expect(h.counted(opConnect).Calls).To(BeZero())
		})
	}
}

func TestNewConnectionTakesOver(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{true, false} {
		h := newHub(t)
		h.addDevice("d1")
		older := h.dial()
		pk := h.connectPacket("d1")
		pk.CleanSession = clean
		h.Expect(older.open(pk)).To(Equal(packets.Accepted))
		h.Expect(older.subscribe(filterDesired, 1)).To(Equal(byte(1)))

		newer := h.dial()
		h.Expect(newer.open(pk)).To(Equal(packets.Accepted))
		older.expectCut()
		h.desire("d1", `{"a":1}`)
		if !clean {
			h.Expect(string(receive[*packets.PublishPacket](newer).Payload)).To(MatchJSON(`{"a":1,"$version":2}`))
		}
		newer.ping() // nothing else arrived: a clean session does not inherit the older one's subscription
		h.Expect(h.connectionState("d1")()).To(Equal("Connected"))
		h.Eventually(h.server.broker.Clients.Len, patience).Should(Equal(1))
		newer.send(packets.NewControlPacket(packets.Disconnect))
		h.Eventually(h.server.broker.Clients.Len, patience).Should(BeZero())
		h.Expect(atomic.LoadInt64(&h.server.broker.Info.Subscriptions)).To(BeZero(), "the library keeps what is not used again")
	}
}

func TestConnectionEndsWithTheToken(t *testing.T) {
	t.Parallel()
	clk := clocktesting.NewFakeClock(time.Now())
	h := newHubAt(t, clk)
	h.addDevice("d1")
	c := h.connect("d1") // the token is good for an hour
	clk.Step(time.Hour - time.Minute)
	c.ping()
	clk.Step(2 * time.Minute)
	c.expectCut()
	h.Eventually(h.connectionState("d1"), patience).Should(Equal("Disconnected"))
}

func TestConnectionEndsWithTheIdentity(t *testing.T) {
	t.Parallel()
	tests := map[string]func(h *hub) error{
		"deleted": func(h *hub) error { return h.store.DeleteIdentity(store.ID{Device: "d1"}, "*") },
		"disabled": func(h *hub) error {
			key, err := h.store.Key(store.ID{Device: "d1"})
			h.Expect(err).NotTo(HaveOccurred())
			_, err = h.store.PutIdentity(store.ID{Device: "d1"}, "*", []byte(`{"deviceId":"d1","status":"disabled","authentication":{"symmetricKey":{"primaryKey":"`+
				key+`","secondaryKey":"`+key+`"}}}`))
			return err
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			h.addDevice("d1")
			c := h.connect("d1")
			h.Expect(end(h)).To(Succeed())
			c.expectCut()
		})
	}
}

func TestSilenceEndsTheConnection(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	pk := h.connectPacket("d1")
	pk.Keepalive = 1
	c := h.dial()
	started := time.Now()
	h.Expect(c.open(pk)).To(Equal(packets.Accepted))
	c.expectCut()
	h.Expect(time.Since(started)).To(And(
		BeNumerically(">", 1300*time.Millisecond), BeNumerically("<", patience/2)))
}

func TestKeepAliveIsBounded(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for seconds, want := range map[uint16]time.Duration{
		3: 4500 * time.Millisecond, 60: 90 * time.Second, 1177: 1765500 * time.Millisecond,
		1178: 1767 * time.Second, 1179: 1767 * time.Second, 65535: 1767 * time.Second, 0: 1767 * time.Second,
	} {
		var c conn
		c.setKeepAlive(seconds)
		g.Expect(c.idle).To(Equal(want), "keep-alive %d", seconds)
	}
}

func TestWillCountsAsTelemetry(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	pk := h.connectPacket("d1")
	pk.WillFlag, pk.WillTopic, pk.WillMessage = true, "devices/d1/messages/events/", []byte("bye")
	c := h.dial()
	h.Expect(c.open(pk)).To(Equal(packets.Accepted))
	h.Expect(c.conn.Close()).To(Succeed())
	h.Eventually(func() int64 { return h.counted(opTelemetry).Calls }, patience).Should(Equal(int64(1)))
}

func TestCloseDoesNotWaitForSilentClients(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c := h.connect("d1")
	withoutConnect := h.dial()
	withoutTLS, err := net.Dial("tcp", h.address)
	h.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = withoutTLS.Close() }()
	h.Expect(h.server.Close()).To(Succeed())
	h.Expect(h.server.Close()).To(Succeed())
	c.expectCut()
	withoutConnect.expectCut()
	_, err = net.Dial("tcp", h.address)
	h.Expect(err).To(HaveOccurred())
}

// A hub may be stopped before its MQTT side gets to serve.
func TestServeAfterClose(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.Expect(h.server.Close()).To(Succeed())
	for _, closed := range []bool{false, true} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		h.Expect(err).NotTo(HaveOccurred())
		if closed {
			h.Expect(listener.Close()).To(Succeed())
		}
		h.Expect(h.server.Serve(listener)).To(Succeed())
		h.Expect(listener.Close()).To(MatchError(net.ErrClosed))
	}
}
