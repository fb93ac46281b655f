package hubemulator_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// overHTTPS is a device as a client of its own part of the HTTPS API.
func (h *hub) overHTTPS(t *testing.T, id string) *client {
	t.Helper()
	c := *h.client
	c.token = h.deviceToken(t, id)
	return &c
}

const bound = "/devices/d1/messages/deviceBound"

func TestTelemetryOverHTTPS(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHubWith(t, hubemulator.Options{Devices: []string{"d1", "d2"}, Tier: "S1"})
	d := h.overHTTPS(t, "d1")
	h.clock.Step(time.Minute)
	for _, contentType := range []string{"application/octet-stream", "application/vnd.microsoft.iothub.json"} {
		answer := d.call(t, http.MethodPost, "/devices/d1/messages/events", "[1]", "Content-Type", contentType, "iothub-app-a", "b")
		g.Expect(answer.status).To(Equal(http.StatusNoContent), answer.text)
	}
	twin := h.ok(t, http.MethodGet, "/twins/d1", "")
	g.Expect(twin["lastActivityTime"]).To(Equal("2026-11-20T10:21:30.12345Z"))
	g.Expect(twin["connectionState"]).To(Equal("Disconnected"))
	g.Expect(twin["version"]).To(Equal(jsonNumber("2")))
	g.Expect(h.server.Counters().Operations["sendEvent"].BilledMessages).To(Equal(int64(2)))
	d.call(t, http.MethodPost, "/devices/d1/messages/events", strings.Repeat("x", 4097))
	g.Expect(h.server.Counters().Operations["sendEvent"].BilledMessages).To(Equal(int64(4)), "by what they bring")

	expectError(t, d.call(t, http.MethodPost, "/devices/d1/messages/events", strings.Repeat("x", 256<<10+1)),
		http.StatusRequestEntityTooLarge, "MessageTooLarge", "A message of a device should be maximum 262144 bytes")
	g.Expect(d.call(t, http.MethodPost, "/devices/d1/modules/m1/messages/events", "x").status).To(Equal(http.StatusNotImplemented))
}

func TestDevicesOverHTTPSAreThemselves(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1", "d2")
	owner := h.policyKey(t, "service")
	disabled := h.overHTTPS(t, "d2")
	h.ok(t, http.MethodPut, "/devices/d2", `{"status":"disabled"}`, "If-Match", "*")
	for name, c := range map[string]*client{
		"no token":         {http: h.client.http, base: h.base},
		"another device's": h.overHTTPS(t, "d2"),
		"a service's":      {http: h.client.http, base: h.base, token: sign(url.QueryEscape(h.server.HostName()), owner, "service", h.clock.Now().Add(time.Hour))},
		"a disabled one":   disabled,
	} {
		for _, request := range [][2]string{
			{http.MethodPost, "/devices/d1/messages/events"}, {http.MethodGet, bound}, {http.MethodDelete, bound + "/x"}, {http.MethodPost, bound + "/x/abandon"},
		} {
			path := request[1]
			if name == "a disabled one" {
				path = strings.Replace(path, "d1", "d2", 1)
			}
			answer := c.call(t, request[0], path, "")
			NewWithT(t).Expect(answer.status).To(Equal(http.StatusUnauthorized), name+request[1])
		}
	}
	d := h.overHTTPS(t, "d1")
	for _, path := range []string{"/twins/d1", "/devices/d1"} {
		NewWithT(t).Expect(d.call(t, http.MethodGet, path, "").status).To(Equal(http.StatusUnauthorized), "a device has no twin over HTTPS")
	}
}

func TestCommandsOverHTTPS(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHub(t, "d1")
	d := h.overHTTPS(t, "d1")
	g.Expect(d.call(t, http.MethodGet, bound, "").status).To(Equal(http.StatusNoContent), "nothing is there")
	for _, body := range []string{"1", "2"} {
		g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{
			Body: []byte(body), MessageID: "m" + body, Properties: map[string]string{"a": "b"},
		})).To(Succeed())
	}
	first := d.call(t, http.MethodGet, strings.ToLower(bound), "") // as the Node package has it
	g.Expect(first.status).To(Equal(http.StatusOK))
	g.Expect(first.text).To(Equal("1"))
	g.Expect(first.header.Get("ETag")).To(MatchRegexp(`^"[0-9a-f-]{36}"$`))
	for name, want := range map[string]string{
		"iothub-messageid": "m1", "iothub-app-a": "b", "iothub-deliverycount": "1", "iothub-to": bound, "iothub-sequencenumber": "1",
	} {
		g.Expect(first.header.Get(name)).To(Equal(want), name)
	}
	second := d.call(t, http.MethodGet, bound, "")
	g.Expect(second.text).To(Equal("2"), "the first is locked")
	g.Expect(d.call(t, http.MethodGet, bound, "").status).To(Equal(http.StatusNoContent))

	settle := func(method string, of response, suffix string) int {
		return d.call(t, method, bound+"/"+strings.Trim(of.header.Get("ETag"), `"`)+suffix, "").status
	}
	g.Expect(settle(http.MethodDelete, first, "")).To(Equal(http.StatusNoContent))
	g.Expect(settle(http.MethodDelete, first, "")).To(Equal(http.StatusPreconditionFailed), "it is gone")
	g.Expect(settle(http.MethodPost, second, "/abandon")).To(Equal(http.StatusNoContent))
	again := d.call(t, http.MethodGet, bound, "")
	g.Expect(again.text).To(Equal("2"))
	g.Expect(again.header.Get("iothub-deliverycount")).To(Equal("2"))
	h.clock.Step(time.Minute)
	g.Expect(settle(http.MethodDelete, again, "")).To(Equal(http.StatusPreconditionFailed), "the lock ended")
	g.Expect(d.call(t, http.MethodGet, bound, "").text).To(Equal("2"))
	g.Expect(h.pendingCommands(t)()).To(Equal(pending(1)))
	g.Expect(h.server.Counters().Operations["receiveCommand"].BilledMessages).To(Equal(int64(4)), "asking in vain is free")
}

func TestCommandOverHTTPSEndsAfterTenDeliveries(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHub(t, "d1")
	d := h.overHTTPS(t, "d1")
	g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{Body: []byte("x")})).To(Succeed())
	for range 10 {
		g.Expect(d.call(t, http.MethodGet, bound, "").status).To(Equal(http.StatusOK))
		h.clock.Step(time.Minute)
	}
	g.Expect(d.call(t, http.MethodGet, bound, "").status).To(Equal(http.StatusNoContent))
	g.Expect(h.pendingCommands(t)()).To(Equal(pending(0)))
}

func TestLockedCommandIsNotForMQTT(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHub(t, "d1")
	g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{Body: []byte("locked")})).To(Succeed())
	taken := h.overHTTPS(t, "d1").call(t, http.MethodGet, bound, "")
	d := h.persistent(t, "TCP")
	d.subscribe("devices/d1/messages/devicebound/#")
	g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{Body: []byte("free")})).To(Succeed())
	g.Expect(string(d.receive().Payload())).To(Equal("free"))
	path := bound + "/" + strings.Trim(taken.header.Get("ETag"), `"`) + "/abandon"
	g.Expect(h.overHTTPS(t, "d1").call(t, http.MethodPost, path, "").status).To(Equal(http.StatusNoContent))
	back := d.receive()
	g.Expect(string(back.Payload())).To(Equal("locked"))
	g.Expect(back.Duplicate()).To(BeTrue())
}
