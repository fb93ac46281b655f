package hubemulator_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func (h *hub) pendingCommands(t *testing.T) func() [2]any {
	t.Helper()
	return func() [2]any {
		return [2]any{
			h.ok(t, http.MethodGet, "/twins/d1", "")["cloudToDeviceMessageCount"],
			h.ok(t, http.MethodGet, "/devices/d1", "")["cloudToDeviceMessageCount"],
		}
	}
}

func pending(n int) [2]any {
	return [2]any{decodeNumber(n), decodeNumber(n)}
}

// persistent connects a device that wants its subscriptions kept.
func (h *hub) persistent(t *testing.T, transport string) *device {
	t.Helper()
	return h.persistentAs(t, "d1", transport)
}

func (h *hub) persistentAs(t *testing.T, id, transport string) *device {
	t.Helper()
	token := h.deviceToken(t, id)
	d := h.newDevice(t, id, transport, func(o *mqtt.ClientOptions) { o.SetPassword(token).SetCleanSession(false) })
	d.do(d.Connect())
	return d
}

func TestCommandsAreQueued(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			count := h.pendingCommands(t)
			send := func(body string) {
				g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{Body: []byte(body)})).To(Succeed())
			}
			send("1")
			send("2")
			g.Expect(count()).To(Equal(pending(2)))
			d := h.persistent(t, transport)
			d.subscribe("devices/d1/messages/devicebound/#")
			g.Expect(string(d.receive().Payload())).To(Equal("1"))
			g.Expect(string(d.receive().Payload())).To(Equal("2"))
			g.Eventually(count, patience).Should(Equal(pending(0)))
			send("3")
			g.Expect(string(d.receive().Payload())).To(Equal("3"))
			g.Eventually(count, patience).Should(Equal(pending(0)))

			d.Disconnect(0)
			g.Eventually(func() any { return h.ok(t, http.MethodGet, "/twins/d1", "")["connectionState"] }, patience).Should(Equal("Disconnected"))
			send("4")
			d = h.persistent(t, transport) // without another SUBSCRIBE
			g.Expect(string(d.receive().Payload())).To(Equal("4"))
			g.Eventually(count, patience).Should(Equal(pending(0)))
			g.Expect(h.server.Counters().Operations["mqttCommand"].Statuses).To(Equal(map[string]int64{"200": 4}))
		})
	}
}

func TestCommandsOfACleanSession(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	send := func(body string) {
		g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{Body: []byte(body)})).To(Succeed())
	}
	h.persistent(t, "TCP").subscribe("devices/d1/messages/devicebound/#")
	d := h.connect(t, "d1", "TCP") // a clean session forgets that
	send("before")
	d.subscribe("devices/d1/messages/devicebound/#")
	send("after")
	g.Expect(string(d.receive().Payload())).To(Equal("after"))
	g.Eventually(h.pendingCommands(t), patience).Should(Equal(pending(1)))
	d = h.persistent(t, "TCP")
	d.subscribe("devices/d1/messages/devicebound/#")
	g.Expect(string(d.receive().Payload())).To(Equal("before"))
}

func TestCommandProperties(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	d := h.persistent(t, "TCP")
	d.subscribe("devices/d1/messages/devicebound/#")
	g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{
		MessageID: "m 1", CorrelationID: "c/1", UserID: "u+1", ContentType: "application/json", ContentEncoding: "utf-8",
		Properties: map[string]string{"b": "", "a&": "x=y#"}, Body: []byte{0, 255}, Expiry: startOfTime.Add(time.Minute),
	})).To(Succeed())
	m := d.receive()
	g.Expect(m.Topic()).To(Equal("devices/d1/messages/devicebound/%24.mid=m%201&%24.cid=c%2F1&%24.uid=u%2B1" +
		"&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound&%24.exp=2026-11-20T10%3A21%3A30.12345Z" +
		"&%24.ct=application%2Fjson&%24.ce=utf-8&a%26=x%3Dy%23&b="))
	g.Expect(m.Payload()).To(Equal([]byte{0, 255}))
	g.Expect(m.Qos()).To(Equal(byte(1)))
}

func TestCommandLimits(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	count := h.pendingCommands(t)
	g.Expect(h.server.SendToDevice("absent", hubemulator.DeviceMessage{})).To(MatchError(ContainSubstring("404001")))
	g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{Body: make([]byte, 64<<10+1)})).To(MatchError(ContainSubstring("413001")))
	g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{Body: make([]byte, 64<<10), Expiry: startOfTime.Add(time.Minute)})).To(Succeed())
	for i := range 49 {
		g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{Body: []byte(strconv.Itoa(i))})).To(Succeed())
	}
	g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{})).To(MatchError(ContainSubstring("403004")))
	h.clock.Step(time.Minute) // the first has expired
	g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{})).To(Succeed())
	g.Expect(count()).To(Equal(pending(50)))

	purge := func() response { return h.call(t, http.MethodDelete, "/devices/d1/commands", "") }
	g.Expect(purge().text).To(MatchJSON(`{"deviceId":"d1","totalMessagesPurged":50}`))
	g.Expect(purge().text).To(MatchJSON(`{"deviceId":"d1","totalMessagesPurged":0}`))
	g.Expect(count()).To(Equal(pending(0)))
	g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{})).To(Succeed())
	h.clock.Step(time.Hour) // a message's life, unless it says another
	h.client.token = h.policyToken(t, "iothubowner")
	g.Expect(purge().text).To(MatchJSON(`{"deviceId":"d1","totalMessagesPurged":0}`))
	g.Expect(h.call(t, http.MethodDelete, "/devices/absent/commands", "").status).To(Equal(http.StatusNotFound))
	g.Expect(h.server.Counters().Operations["purgeCommands"].Statuses).To(Equal(map[string]int64{"200": 3, "404": 1}))
	h.client.token = h.policyToken(t, "registryReadWrite")
	g.Expect(purge().status).To(Equal(http.StatusUnauthorized))
}

func TestCommandsOverTheAdminAPI(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	d := h.persistent(t, "TCP")
	d.subscribe("devices/d1/messages/devicebound/#")
	post := func(deviceID, document string) (int, string) {
		t.Helper()
		request := must(http.NewRequestWithContext(t.Context(), http.MethodPost,
			h.server.AdminURL()+"/devices/"+deviceID+"/commands", strings.NewReader(document)))
		request.Header.Set("Content-Type", "application/json")
		answer, err := h.client.http.Do(request)
		g.Expect(err).NotTo(HaveOccurred())
		defer func() { _ = answer.Body.Close() }() // read to its end below
		return answer.StatusCode, string(must(io.ReadAll(answer.Body)))
	}
	status, text := post("d1", `{"messageId":"1","body":"`+base64.StdEncoding.EncodeToString([]byte("hello"))+`","properties":{"a":"b"}}`)
	g.Expect(status).To(Equal(http.StatusNoContent), text)
	m := d.receive()
	g.Expect(string(m.Payload())).To(Equal("hello"))
	g.Expect(m.Topic()).To(HaveSuffix("&a=b"))
	for document, want := range map[string]int{`{"text":"x"}`: 400, `{`: 400, `{"body":"%"}`: 400, `"` + strings.Repeat("x", 1<<18): 400} {
		status, text := post("d1", document)
		g.Expect(status).To(Equal(want), text)
	}
	status, _ = post("absent", `{}`)
	g.Expect(status).To(Equal(http.StatusNotFound))
	large := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 64<<10+1))
	status, _ = post("d1", `{"body":"`+large+`"}`)
	g.Expect(status).To(Equal(http.StatusRequestEntityTooLarge))
}
