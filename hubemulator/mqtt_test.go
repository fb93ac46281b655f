package hubemulator_test

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/gorilla/websocket"
	. "github.com/onsi/gomega"
)

func TestDeviceTwinOverBothTransports(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			d := h.connect(t, "d1", transport)
			g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")["connectionState"]).To(Equal("Connected"))
			d.subscribe("$iothub/twin/res/#")
			d.subscribe("$iothub/twin/PATCH/properties/desired/#")
			d.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"a":"`+strings.Repeat("x", 4096)+`"}`)
			g.Expect(d.receive().Topic()).To(Equal("$iothub/twin/res/204/?$rid=1&$version=2"))
			h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"b":null,"c":[1]}}}`)
			notification := d.receive()
			g.Expect(notification.Topic()).To(Equal("$iothub/twin/PATCH/properties/desired/?$version=2"))
			g.Expect(string(notification.Payload())).To(MatchJSON(`{"b":null,"c":[1],"$version":2}`))
			d.Disconnect(0)
			g.Eventually(func() any { return h.ok(t, http.MethodGet, "/twins/d1", "")["connectionState"] }, patience).Should(Equal("Disconnected"))
		})
	}
}

func TestTakeoverAcrossTransports(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	first := h.connect(t, "d1", "WebSocket")
	second := h.connect(t, "d1", "TCP")
	g.Eventually(first.lost, patience).Should(Receive())
	third := h.connect(t, "d1", "WebSocket")
	g.Eventually(second.lost, patience).Should(Receive())
	third.subscribe("$iothub/twin/res/#")
}

func TestConnectionEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(h *hub){
		"disabled": func(h *hub) {
			identity := h.ok(t, http.MethodGet, "/devices/d1", "")
			identity["status"] = "disabled"
			h.ok(t, http.MethodPut, "/devices/d1", encode(t, identity), "If-Match", "*")
		},
		"deleted":       func(h *hub) { h.call(t, http.MethodDelete, "/devices/d1", "", "If-Match", "*") },
		"new keys":      func(h *hub) { h.ok(t, http.MethodPut, "/devices/d1", `{}`, "If-Match", "*") },
		"token expired": func(h *hub) { h.clock.Step(2 * time.Hour) },
		"hub stopped":   func(h *hub) { _ = h.server.Close() },
	} {
		for _, transport := range transports {
			h := startHub(t, "d1")
			d := h.connect(t, "d1", transport)
			end(h)
			NewWithT(t).Eventually(d.lost, patience).Should(Receive(), name)
		}
	}
}

func TestWebSocketHandshake(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	answer := h.call(t, http.MethodGet, "/$iothub/websocket", "")
	g.Expect(answer.status).To(Equal(http.StatusBadRequest), "not an upgrade")
	g.Expect(h.call(t, http.MethodGet, "/$iothub/websockets", "").status).To(Equal(http.StatusNotFound))

	address := "wss://" + h.server.HTTPSAddress() + "/$iothub/websocket?iothub-no-client-cert=true"
	dialer := websocket.Dialer{TLSClientConfig: h.client.http.Transport.(*http.Transport).TLSClientConfig.Clone()}
	dialer.TLSClientConfig.NextProtos = nil
	for _, offered := range [][]string{nil, {"amqp"}} {
		dialer.Subprotocols = offered
		_, refusal, err := dialer.DialContext(t.Context(), address, nil)
		g.Expect(err).To(MatchError(websocket.ErrBadHandshake))
		g.Expect(refusal.StatusCode).To(Equal(http.StatusBadRequest))
		g.Expect(refusal.Body.Close()).To(Succeed())
	}
	dialer.Subprotocols = []string{"amqp", "mqtt"}
	socket, accepted, err := dialer.DialContext(t.Context(), address, http.Header{"Origin": {"https://elsewhere.example"}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(accepted.Body.Close()).To(Succeed())
	g.Expect(socket.Subprotocol()).To(Equal("mqtt"))
	var connect bytes.Buffer
	pk := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	pk.ProtocolName, pk.ProtocolVersion, pk.ClientIdentifier = "MQTT", 4, "d1"
	pk.UsernameFlag, pk.Username = true, h.server.HostName()+"/d1/?api-version=2021-04-12"
	pk.PasswordFlag, pk.Password = true, []byte(h.deviceToken(t, "d1"))
	g.Expect(pk.Write(&connect)).To(Succeed())
	g.Expect(socket.WriteMessage(websocket.TextMessage, connect.Bytes())).To(Succeed())
	g.Expect(socket.SetReadDeadline(time.Now().Add(patience))).To(Succeed())
	_, _, err = socket.ReadMessage()
	g.Expect(err).To(HaveOccurred(), "MQTT is binary")
	g.Expect(err).NotTo(MatchError(ContainSubstring("timeout")))
	g.Expect(socket.Close()).To(Succeed())
}

func TestTelemetry(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			d := h.connect(t, "d1", transport)
			before := h.ok(t, http.MethodGet, "/twins/d1", "")
			h.clock.Step(time.Minute)
			d.publish("devices/d1/messages/events/a=b&%24.ct=application%2Fjson", strings.Repeat("x", 256<<10))
			after := h.ok(t, http.MethodGet, "/twins/d1", "")
			g.Expect(after["lastActivityTime"]).To(Equal("2026-11-20T10:21:30.12345Z"))
			g.Expect(after["etag"]).To(Equal(before["etag"]))
			g.Expect(after["version"]).To(Equal(before["version"]))
			g.Expect(h.server.Counters().Operations["mqttTelemetry"].Statuses).To(Equal(map[string]int64{"200": 1}))

			d.Publish("devices/d1/messages/events/", 1, false, strings.Repeat("x", 256<<10+1))
			g.Eventually(d.lost, patience).Should(Receive())
			g.Expect(h.server.Counters().Operations["mqttTelemetry"].Statuses).To(Equal(map[string]int64{"200": 1, "413": 1}))
		})
	}
}

func TestWillIsTelemetry(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	token := h.deviceToken(t, "d1")
	d := h.newDevice(t, "d1", "WebSocket", func(o *mqtt.ClientOptions) {
		o.SetPassword(token).SetWill("devices/d1/messages/events/", "bye", 1, false)
	})
	d.do(d.Connect())
	h.clock.Step(time.Minute)
	h.connect(t, "d1", "TCP") // takes over: not a clean close
	g.Eventually(func() int64 { return h.server.Counters().Operations["mqttTelemetry"].Calls }, patience).Should(Equal(int64(1)))
}

func TestModules(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			_ = must(h.server.AddModule("d1", "m1"))
			owner := h.connect(t, "d1", transport)
			m := h.connect(t, "d1/m1", transport)
			m.subscribe("$iothub/twin/res/#")
			m.subscribe("$iothub/twin/PATCH/properties/desired/#")
			m.subscribe("devices/d1/modules/m1/#")
			m.subscribe("devices/d1/modules/m1/inputs/#")
			m.serve("201", func(mqtt.Message) string { return `"module"` })

			m.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"a":1}`)
			g.Expect(m.receive().Topic()).To(Equal("$iothub/twin/res/204/?$rid=1&$version=2"))
			h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"device":1}}}`)
			twin := h.ok(t, http.MethodPatch, "/twins/d1/modules/m1", `{"properties":{"desired":{"b":2}}}`)
			g.Expect(at(twin, "properties", "reported", "a")).To(BeEquivalentTo("1"))
			g.Expect(twin["connectionState"]).To(Equal("Connected"))
			g.Expect(string(m.receive().Payload())).To(MatchJSON(`{"b":2,"$version":2}`))

			answer := h.call(t, http.MethodPost, "/twins/d1/modules/m1/methods", `{"methodName":"m"}`)
			g.Expect(answer.text).To(Equal(`{"status":201,"payload":"module"}`))
			g.Expect(h.call(t, http.MethodPost, methodsPath, `{"methodName":"m"}`).status).To(Equal(http.StatusNotFound))
			m.publish("devices/d1/modules/m1/messages/events/", "x")
			g.Expect(h.server.Counters().Operations["mqttTelemetry"].Calls).To(Equal(int64(1)))

			m.Publish("devices/d1/messages/events/", 1, false, "x") // its device's topic
			g.Eventually(m.lost, patience).Should(Receive())
			owner.subscribe("$iothub/twin/res/#") // connected all along
		})
	}
}

func TestModuleConnectionsThatAreRefused(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1", "d2")
	_ = must(h.server.AddModule("d1", "m1"))
	_ = must(h.server.AddModule("d1", "m2"))
	for name, change := range map[string]func(*mqtt.ClientOptions){
		"another module's key": func(o *mqtt.ClientOptions) { o.SetPassword(h.deviceToken(t, "d1/m2")) },
		"the device's key":     func(o *mqtt.ClientOptions) { o.SetPassword(h.deviceToken(t, "d1")) },
		"device in the name":   func(o *mqtt.ClientOptions) { o.SetUsername(h.server.HostName() + "/d1/?api-version=2021-04-12") },
		"module without a name": func(o *mqtt.ClientOptions) {
			o.SetClientID("d1/").SetUsername(h.server.HostName() + "/d1//?api-version=2021-04-12")
		},
		"unknown module": func(o *mqtt.ClientOptions) {
			o.SetClientID("d1/m3").SetUsername(h.server.HostName() + "/d1/m3/?api-version=2021-04-12")
		},
		"of another device": func(o *mqtt.ClientOptions) {
			o.SetClientID("d2/m1").SetUsername(h.server.HostName() + "/d2/m1/?api-version=2021-04-12")
		},
	} {
		token := h.deviceToken(t, "d1/m1")
		d := h.newDevice(t, "d1/m1", "TCP", func(o *mqtt.ClientOptions) {
			o.SetPassword(token)
			change(o)
		})
		attempt := d.Connect()
		NewWithT(t).Expect(attempt.WaitTimeout(patience)).To(BeTrue())
		NewWithT(t).Expect(attempt.Error()).To(MatchError(ContainSubstring("not Authorized")), name)
	}
}

func TestModuleEndsWithItsDevice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	_ = must(h.server.AddModule("d1", "m1"))
	m := h.connect(t, "d1/m1", "TCP")
	identity := h.ok(t, http.MethodGet, "/devices/d1", "")
	identity["status"] = "disabled"
	h.ok(t, http.MethodPut, "/devices/d1", encode(t, identity), "If-Match", "*")
	g.Eventually(m.lost, patience).Should(Receive())
}

// TestClientCertificateIsOptional: the hub asks every client for one.
func TestClientCertificateIsOptional(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	_, certificate := (*signer)(nil).issue(t, "anybody", nil)
	token := h.deviceToken(t, "d1")
	d := h.newDevice(t, "d1", "TCP", func(o *mqtt.ClientOptions) {
		o.SetPassword(token)
		o.TLSConfig.Certificates = []tls.Certificate{certificate}
	})
	d.do(d.Connect()) // the token counts
}
