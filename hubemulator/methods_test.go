package hubemulator_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"
)

const methodsPath = "/twins/d1/methods"

func TestDirectMethod(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			d := h.connect(t, "d1", transport)
			topics := make(chan string, 10)
			d.serve("-7", func(m mqtt.Message) string {
				topics <- m.Topic()
				return `{"echo":` + string(m.Payload()) + `}`
			})
			for _, want := range []string{"1", "2"} {
				answer := h.call(t, http.MethodPost, methodsPath, `{"methodName":"re-boot","payload":{"in": [1.0, "ü"]}}`)
				g.Expect(answer.status).To(Equal(http.StatusOK), answer.text)
				g.Expect(answer.text).To(Equal(`{"status":-7,"payload":{"echo":{"in":[1.0,"ü"]}}}`))
				g.Expect(<-topics).To(Equal("$iothub/methods/POST/re-boot/?$rid=" + want))
			}
			counted := h.server.Counters().Operations
			g.Expect(counted["invokeMethod"].Statuses).To(Equal(map[string]int64{"200": 2}))
			g.Expect(counted["mqttMethod"].Statuses).To(Equal(map[string]int64{"200": 2}))
		})
	}
}

func TestDirectMethodPayloads(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	d := h.connect(t, "d1", "TCP")
	d.serve("200", func(m mqtt.Message) string { return string(m.Payload()) })
	for request, want := range map[string]string{
		`{"methodName":"m"}`:                     `{"status":200,"payload":null}`,
		`{"methodName":"m","payload":null}`:      `{"status":200,"payload":null}`,
		`{"methodName":"m","payload":"text"}`:    `{"status":200,"payload":"text"}`,
		`{"methodName":"m","payload":[]}`:        `{"status":200,"payload":[]}`,
		`{"MethodName":"m","Payload":{"a":"<"}}`: `{"status":200,"payload":{"a":"<"}}`,
	} {
		answer := h.call(t, http.MethodPost, methodsPath, request)
		NewWithT(t).Expect(answer.text).To(Equal(want), request)
	}
}

func TestDirectMethodArguments(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	for body, code := range map[string]string{
		`{"methodName":"m","responseTimeoutInSeconds":10,"connectTimeoutInSeconds":11}`: "ArgumentInvalid",
		`{"methodName":"m","responseTimeoutInSeconds":10,"connectTimeoutInSeconds":-1}`: "ArgumentInvalid",
		`{"methodName":"m","connectTimeoutInSeconds":31}`:                               "ArgumentInvalid", // the default is 30
		`{"methodName":"m","responseTimeoutInSeconds":4}`:                               "ArgumentInvalid",
		`{"methodName":"m","responseTimeoutInSeconds":301}`:                             "ArgumentInvalid",
		`{"payload":1}`:        "ArgumentInvalid",
		`{"methodName":"a/b"}`: "ArgumentInvalid",
		`{"methodName":"#"}`:   "ArgumentInvalid",
		`[]`:                   "IotHubFormatError",
		``:                     "IotHubFormatError",
	} {
		g := NewWithT(t)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		answer, err := h.do(ctx, http.MethodPost, methodsPath+version, body)
		cancel()
		g.Expect(err).NotTo(HaveOccurred(), body)
		g.Expect(answer.status).To(Equal(http.StatusBadRequest), body)
		g.Expect(answer.header.Get("iothub-errorcode")).To(Equal(code), body)
	}
	expectNested(t, h.call(t, http.MethodPost, methodsPath, `{"methodName":"m","responseTimeoutInSeconds":10,"connectTimeoutInSeconds":11}`),
		http.StatusBadRequest, "ArgumentInvalid", "400004",
		"Device connection timeout 11 seconds cannot be longer than an overall call timeout 10 seconds", "")
	large := `{"methodName":"m","payload":"` + strings.Repeat("x", 128<<10) + `"}`
	expectError(t, h.call(t, http.MethodPost, methodsPath, large), http.StatusRequestEntityTooLarge, "MessageTooLarge", "The request is too large")
	h.client.token = h.policyToken(t, "registryReadWrite")
	expectError(t, h.call(t, http.MethodPost, methodsPath, `{"methodName":"m"}`), http.StatusUnauthorized, "IotHubUnauthorizedAccess", "Unauthorized")
}

// expectNested checks the envelope that only direct methods have.
func expectNested(t *testing.T, answer response, status int, code, number, text, timeout string) {
	t.Helper()
	g := NewWithT(t)
	g.Expect(answer.status).To(Equal(status), answer.text)
	g.Expect(answer.header.Get("iothub-errorcode")).To(Equal(code))
	outer := decode[map[string]string](t, answer.text)
	g.Expect(outer).To(HaveLen(2))
	g.Expect(outer["ExceptionMessage"]).To(BeEmpty())
	inner := decode[object](t, outer["Message"])
	g.Expect(inner["errorCode"]).To(Equal(json.Number(number)))
	g.Expect(inner["message"]).To(Equal(text))
	g.Expect(inner["trackingId"]).To(MatchRegexp(`^[0-9a-f]{32}-G:\d+-TimeStamp:\d\d/\d\d/\d{4} \d\d:\d\d:\d\d$`))
	g.Expect(inner["timestampUtc"]).To(MatchRegexp(`^\d{4}-\d\d-\d\dT.*Z$`))
	waited, _ := at(inner, "info", "timeout").(string)
	g.Expect(waited).To(Equal(timeout))
}

func TestDirectMethodOfADeviceThatIsNotThere(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	const timedOut = "Timed out waiting for device to connect."
	call := func(path string) response { return h.call(t, http.MethodPost, path, `{"methodName":"m"}`) }
	expectNested(t, call("/twins/absent/methods"), http.StatusNotFound, "DeviceNotFound", "404001", "NotFound", "")
	expectNested(t, call("/twins/d1/modules/m1/methods"), http.StatusNotFound, "DeviceNotFound", "404001", "NotFound", "")
	expectNested(t, call(methodsPath), http.StatusNotFound, "DeviceNotOnline", "404103", timedOut, "00:00:00")

	d := h.connect(t, "d1", "TCP")
	expectNested(t, call(methodsPath), http.StatusNotFound, "DeviceNotOnline", "404103", timedOut, "00:00:00")
	d.serve("200", func(mqtt.Message) string { return "" })
	h.ok(t, http.MethodPost, methodsPath, `{"methodName":"m"}`)
	d.do(d.Unsubscribe("$iothub/methods/POST/#"))
	expectNested(t, call(methodsPath), http.StatusNotFound, "DeviceNotOnline", "404103", timedOut, "00:00:00")
}

// later calls a method and returns where the answer will be.
func (h *hub) later(t *testing.T, body string) <-chan response {
	t.Helper()
	answers := make(chan response, 1)
	go func() {
		answer, err := h.do(t.Context(), http.MethodPost, methodsPath+version, body)
		if err != nil {
			answer.text = err.Error()
		}
		answers <- answer
	}()
	return answers
}

func TestDirectMethodWaitsForTheConnection(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	const body = `{"methodName":"m","responseTimeoutInSeconds":100,"connectTimeoutInSeconds":90}`
	answers := h.later(t, body)
	g.Eventually(h.clock.HasWaiters, patience).Should(BeTrue())
	h.clock.Step(89 * time.Second)
	g.Expect(answers).NotTo(Receive())
	d := h.connect(t, "d1", "TCP")
	d.serve("200", func(mqtt.Message) string { return "1" })
	var answer response
	g.Eventually(answers, patience).Should(Receive(&answer))
	g.Expect(answer.text).To(Equal(`{"status":200,"payload":1}`))
	d.Disconnect(0)
	g.Eventually(func() any { return h.ok(t, http.MethodGet, "/twins/d1", "")["connectionState"] }, patience).Should(Equal("Disconnected"))
	g.Eventually(h.clock.HasWaiters, patience).Should(BeFalse())

	answers = h.later(t, body)
	g.Eventually(h.clock.HasWaiters, patience).Should(BeTrue())
	h.clock.Step(90 * time.Second)
	g.Eventually(answers, patience).Should(Receive(&answer))
	expectNested(t, answer, http.StatusNotFound, "DeviceNotOnline", "404103", "Timed out waiting for device to connect.", "00:01:30")
}

func TestDirectMethodWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	d := h.connect(t, "d1", "TCP")
	d.subscribe("$iothub/methods/POST/#")
	answers := h.later(t, `{"methodName":"m","responseTimeoutInSeconds":5}`)
	late := strings.Replace(d.receive().Topic(), "/POST/m/", "/res/200/", 1)
	h.clock.Step(4 * time.Second)
	g.Expect(answers).NotTo(Receive())
	h.clock.Step(time.Second)
	var answer response
	g.Eventually(answers, patience).Should(Receive(&answer))
	expectNested(t, answer, http.StatusGatewayTimeout, "GatewayTimeout", "504101", "Timed out waiting for the response from device.", "00:00:05")
	d.publish(late, "{}") // and is ignored

	answers = h.later(t, `{"methodName":"m"}`)
	d.receive()
	d.Disconnect(0)
	g.Eventually(answers, patience).Should(Receive(&answer))
	expectNested(t, answer, http.StatusNotFound, "DeviceNotOnline", "404103", "Device unavailable", "")
}

func TestDirectMethodResultThatIsNotJSON(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	d := h.connect(t, "d1", "TCP")
	d.serve("200", func(mqtt.Message) string { return "{" })
	answer := h.call(t, http.MethodPost, methodsPath, `{"methodName":"m"}`)
	expectError(t, answer, http.StatusInternalServerError, "ServerError", "the device's result is not JSON")
}
