package hubemulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func (h *hub) fault(t *testing.T, f hubemulator.Fault) string {
	t.Helper()
	id, err := h.server.AddFault(f)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestFaultDelay(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	status, text := h.admin(t, http.MethodPost, "/faults", `{"operation":"updateTwin","action":"delay","delay":"1m30s"}`)
	g.Expect(status).To(Equal(http.StatusCreated), text)
	outcome := h.patchInBackground(t.Context())
	g.Eventually(h.clock.HasWaiters).Should(BeTrue())
	g.Expect(h.held(t)).To(Equal(json.Number("1")))
	h.clock.Step(89 * time.Second)
	g.Consistently(outcome, "20ms").ShouldNot(Receive())
	g.Expect(h.etag(t)).To(Equal(untouched))
	h.clock.Step(time.Second)
	g.Eventually(outcome).Should(Receive(BeNil()))
	g.Expect(h.etag(t)).To(Equal(written))
	g.Expect(h.server.Faults()).To(ConsistOf(hubemulator.FaultState{
		Fault: hubemulator.Fault{Operation: "updateTwin", Action: hubemulator.FaultDelay, Delay: 90 * time.Second},
		ID:    "1", Hits: 1,
	}))
	_, text = h.admin(t, http.MethodGet, "/faults", "")
	g.Expect(text).To(MatchJSON(`[{"id":"1","operation":"updateTwin","count":0,"action":"delay","delay":"1m30s","hits":1,"held":0}]`))
}

func TestFaultHang(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	id := h.fault(t, hubemulator.Fault{Operation: hubemulator.FaultAnyOperation, Action: hubemulator.FaultHang})
	outcome := h.patchInBackground(t.Context())
	g.Eventually(func() any { return h.held(t) }).Should(Equal(json.Number("1")))
	h.server.RemoveFault(id)
	g.Eventually(outcome).Should(Receive(BeNil()))
}

func TestFaultReset(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.fault(t, hubemulator.Fault{Operation: "updateTwin", Count: 1, Action: hubemulator.FaultReset})
	_, err := h.do(t.Context(), http.MethodPatch, "/twins/d1"+version, `{"tags":{"a":1}}`)
	g.Expect(err).To(MatchError(syscall.ECONNRESET))
	g.Expect(h.etag(t)).To(Equal(untouched))
	g.Expect(h.server.Counters().Operations["updateTwin"].Statuses).To(Equal(map[string]int64{"0": 1}))
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":2}}`)
}

func TestFaultTruncated(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.fault(t, hubemulator.Fault{Operation: "updateTwin", Count: 1, Action: hubemulator.FaultTruncated})
	h.fault(t, hubemulator.Fault{Operation: "getTwin", Count: 1, Action: hubemulator.FaultTruncated})
	h.fault(t, hubemulator.Fault{Operation: "deleteDevice", Count: 1, Action: hubemulator.FaultTruncated})

	answer, err := h.do(t.Context(), http.MethodPatch, "/twins/d1"+version, `{"tags":{"a":1}}`)
	g.Expect(err).To(MatchError(io.ErrUnexpectedEOF))
	g.Expect(answer.status).To(Equal(http.StatusOK))
	g.Expect(answer.text).To(HavePrefix(`{"`))
	whole := h.call(t, http.MethodPatch, "/twins/d1", `{}`).text
	g.Expect(answer.text).To(HaveLen(len(whole)/2), "applied, and half told")
	g.Expect(h.etag(t)).To(Equal(written))

	answer, err = h.do(t.Context(), http.MethodGet, "/twins/absent"+version, "")
	g.Expect(err).To(MatchError(io.ErrUnexpectedEOF))
	g.Expect(answer.status).To(Equal(http.StatusNotFound), "refusals too")

	_, err = h.do(t.Context(), http.MethodDelete, "/devices/d1"+version, "", "If-Match", "*")
	g.Expect(err).To(HaveOccurred(), "an answer without a body is not told at all")
	g.Expect(h.call(t, http.MethodGet, "/devices/d1", "").status).To(Equal(http.StatusNotFound))
	g.Expect(h.server.Counters().Operations["updateTwin"].Statuses).To(Equal(map[string]int64{"200": 2}))
}

func TestFaultStaleRead(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{"deviceId":"d1","moduleId":"m1"}`)
	for operation, path := range map[string]string{"getTwin": "/twins/d1", "getModuleTwin": "/twins/d1/modules/m1"} {
		read := func(stale bool) object {
			if stale {
				h.fault(t, hubemulator.Fault{Operation: operation, DeviceID: "d1", Count: 1, Action: hubemulator.FaultStaleRead})
			}
			return h.ok(t, http.MethodGet, path, "")
		}
		created := read(false)
		g.Expect(read(true)).To(Equal(created), "nothing was written yet")
		first := h.ok(t, http.MethodPatch, path, `{"tags":{"a":1},"properties":{"desired":{"b":1}}}`)
		g.Expect(read(true)).To(Equal(created))
		second := h.ok(t, http.MethodPatch, path, `{"properties":{"desired":{"b":2}}}`)
		h.ok(t, http.MethodPatch, path, `{}`)
		g.Expect(read(true)).To(Equal(first))
		g.Expect(read(false)).To(Equal(second))
	}
}

func TestFaultProbability(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	pattern := func(seed int64) string {
		h := startHubWith(t, hubemulator.Options{Devices: []string{"d1"}, FaultSeed: seed})
		h.fault(t, hubemulator.Fault{Operation: "getTwin", Probability: 0.5, Action: hubemulator.FaultStatus, Status: 503})
		var hits strings.Builder
		for range 64 {
			fmt.Fprintf(&hits, "%d ", h.call(t, http.MethodGet, "/twins/d1", "").status)
		}
		g.Expect(h.server.Counters().Operations["getTwin"].Statuses["503"]).To(BeNumerically("~", 32, 16))
		return hits.String()
	}
	first := pattern(7)
	g.Expect(pattern(7)).To(Equal(first))
	g.Expect(pattern(8)).NotTo(Equal(first))
}

// connectDevice connects a device by Eclipse's client and returns the end of
// its connection.
func (h *hub) connectDevice(t *testing.T, deviceID string) <-chan error {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(h.server.CACertificatePEM())
	connectionString, err := h.server.DeviceConnectionString(deviceID)
	if err != nil {
		t.Fatal(err)
	}
	host := h.server.HostName()
	lost := make(chan error, 1)
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + h.server.MQTTAddress()).
		SetTLSConfig(&tls.Config{RootCAs: roots, ServerName: "localhost"}).
		SetClientID(deviceID).SetProtocolVersion(4).SetAutoReconnect(false).
		SetUsername(host + "/" + deviceID + "/?api-version=2021-04-12").
		SetPassword(sign(url.QueryEscape(host+"/devices/"+deviceID), keyOf(t, connectionString), "", h.clock.Now().Add(time.Hour))).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err }))
	connected := client.Connect()
	if !connected.WaitTimeout(10*time.Second) || connected.Error() != nil {
		t.Fatal("the device does not connect: ", connected.Error())
	}
	t.Cleanup(func() { client.Disconnect(0) })
	return lost
}

func TestFaultMQTTDrop(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2")
	lost, other := h.connectDevice(t, "d1"), h.connectDevice(t, "d2")
	h.fault(t, hubemulator.Fault{Operation: "updateTwin", DeviceID: "d1", Action: hubemulator.FaultMQTTDrop})
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")["connectionState"]).To(Equal("Connected"))
	updated := h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1}}`)
	g.Expect(updated["etag"]).To(Equal(written), "the request itself goes on")
	g.Expect(updated["connectionState"]).To(Equal("Disconnected"))
	g.Eventually(lost, "10s").Should(Receive())
	g.Expect(h.ok(t, http.MethodGet, "/twins/d2", "")["connectionState"]).To(Equal("Connected"))
	g.Expect(other).NotTo(Receive())
}

func TestMetricsAndPeakConcurrency(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	id := h.fault(t, hubemulator.Fault{Operation: "updateTwin", Action: hubemulator.FaultHold})
	first, second := h.patchInBackground(t.Context()), h.patchInBackground(t.Context())
	g.Eventually(func() any { return h.held(t) }).Should(Equal(json.Number("2")))
	g.Expect(h.metrics(t)).To(ContainElements(
		`hubemulator_calls_in_flight{operation="updateTwin"} 2`,
		`hubemulator_peak_concurrency{operation="updateTwin"} 2`,
	))
	h.server.RemoveFault(id)
	g.Eventually(first).Should(Receive(BeNil()))
	g.Eventually(second).Should(Receive(BeNil()))
	h.ok(t, http.MethodGet, "/twins/d1", "")
	g.Expect(h.server.Counters().Operations["updateTwin"]).To(Equal(hubemulator.OperationCounters{
		Calls: 2, Statuses: map[string]int64{"200": 2}, BilledMessages: 2, PeakConcurrency: 2,
	}))
	g.Expect(h.metrics(t)).To(ContainElements(
		`hubemulator_calls_total{operation="updateTwin",status="200"} 2`,
		`hubemulator_billed_messages_total{operation="updateTwin"} 2`,
		`hubemulator_peak_concurrency{operation="updateTwin"} 2`,
		`hubemulator_calls_in_flight{operation="updateTwin"} 0`,
		`hubemulator_calls_total{operation="getTwin",status="200"} 1`,
	))
	h.server.ResetCounters()
	g.Expect(h.server.Counters().Operations).To(BeEmpty())
	g.Expect(h.metrics(t)).NotTo(ContainElement(ContainSubstring(`operation=`)))
}

func (h *hub) metrics(t *testing.T) []string {
	t.Helper()
	c := client{http: h.client.http, base: "http://" + h.server.AdminAddress()}
	answer, err := c.do(t.Context(), http.MethodGet, "/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	NewWithT(t).Expect(answer.status).To(Equal(http.StatusOK))
	NewWithT(t).Expect(answer.header.Get("Content-Type")).To(HavePrefix("text/plain"))
	return strings.Split(answer.text, "\n")
}
