package hubemulator_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

func TestAPIVersion(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	for parameters, accepted := range map[string]bool{
		"?api-version=2018-06-30":         true,
		"?api-version=2020-05-31-preview": true,
		"":                                false,
		"?api-version=":                   false,
		"?api-version=latest":             false,
		"?api-version=2021-04-12x":        false,
		"?API-version=":                   false,
	} {
		answer, err := h.do(t.Context(), http.MethodGet, "/twins/d1"+parameters, "")
		g := NewWithT(t)
		g.Expect(err).NotTo(HaveOccurred())
		if accepted {
			g.Expect(answer.status).To(Equal(http.StatusOK), parameters)
			continue
		}
		expectError(t, answer, http.StatusBadRequest, "InvalidProtocolVersion",
			"The api-version parameter should be a version's date, such as 2021-04-12")
	}
}

func TestUnknownRoutes(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	for _, route := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/", http.StatusNotFound},
		{http.MethodGet, "/favicon.ico", http.StatusNotFound},
		{http.MethodGet, "/twins//", http.StatusNotImplemented},
		{http.MethodGet, "/emulator/counters", http.StatusNotFound},
		{http.MethodPost, "/twins/d1", http.StatusNotImplemented},
		{http.MethodPost, "/twins/d1/modules/m1", http.StatusNotImplemented},
		{http.MethodPatch, "/devices/d1", http.StatusNotImplemented},
		{http.MethodGet, "/statistics/other", http.StatusNotImplemented},
		{http.MethodPost, "/configurations/c1", http.StatusNotImplemented},
		{http.MethodPatch, "/configurations/c1", http.StatusNotImplemented},
		{http.MethodPut, "/jobs/create", http.StatusNotImplemented},
		{http.MethodDelete, "/jobs/v2/j1", http.StatusNotImplemented},
		{http.MethodPost, "/jobs/v2/j1", http.StatusNotImplemented},
		{http.MethodPut, "/digitaltwins/d1", http.StatusNotImplemented},
		{http.MethodPost, "/digitaltwins/d1/components/c1", http.StatusNotImplemented},
		{http.MethodGet, "/messages/serviceBound/feedback", http.StatusNotImplemented},
	} {
		answer := h.call(t, route.method, route.path, "{}")
		switch route.status {
		case http.StatusNotFound:
			expectError(t, answer, route.status, "GenericNotFound", "IoT Hub's service API has no such path")
		default:
			expectError(t, answer, route.status, "NotImplemented", "hubemulator does not offer this method on this path")
		}
	}
}

// What needs more than a hub is refused with a way to do without.
func TestImportJobsAreNotOffered(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	for _, route := range [][2]string{
		{http.MethodPost, "/jobs/create"}, {http.MethodGet, "/jobs/j1"}, {http.MethodDelete, "/jobs/j1"},
	} {
		expectError(t, h.call(t, route[0], route[1], "{}"), http.StatusNotImplemented, "NotImplemented",
			"hubemulator offers no import and export jobs, which work on blob storage; "+
				"create, change and delete devices in bulk with POST /devices, and list them with GET /devices or a query")
	}
}

// az asks for them beside scheduled jobs.
func TestListOfImportJobsIsEmpty(t *testing.T) {
	t.Parallel()
	answer := startHub(t).call(t, http.MethodGet, "/jobs", "")
	NewWithT(t).Expect(answer.status).To(Equal(http.StatusOK))
	NewWithT(t).Expect(answer.text).To(Equal("[]"))
}

func TestAMQPIsNotOffered(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	const text = "hubemulator does not speak AMQP; connect devices with MQTT, over WebSocket at /$iothub/websocket with the subprotocol mqtt, " +
		"and send messages to devices with POST /emulator/devices/{id}/commands of the admin address"
	for _, path := range []string{"/$servicebus/websocket", "/$iothub/websocket"} {
		answer := h.call(t, http.MethodGet, path, "", "Connection", "Upgrade", "Upgrade", "websocket",
			"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol", "AMQPWSB10")
		expectError(t, answer, http.StatusNotImplemented, "NotImplemented", text)
	}
	expectError(t, h.call(t, http.MethodGet, "/$servicebus/websocket", ""), http.StatusNotImplemented, "NotImplemented", text)
	NewWithT(t).Expect(h.call(t, http.MethodGet, "/$servicebus/other", "").status).To(Equal(http.StatusNotFound))
}

// stuckBody is one that the client never gets to send.
type stuckBody struct{ ended <-chan struct{} }

func (b stuckBody) Read([]byte) (int, error) {
	<-b.ended
	return 0, io.ErrUnexpectedEOF
}

// A caller that the hub does not know cannot make it wait for a body.
func TestUnauthorizedBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHub(t, "d1")
	ctx, giveUp := context.WithCancel(t.Context())
	for _, path := range []string{"/twins/d1", "/devices"} {
		request := must(http.NewRequestWithContext(ctx, http.MethodPost, h.base+path+version, stuckBody{ctx.Done()}))
		request.Method = map[string]string{"/twins/d1": http.MethodPatch, "/devices": http.MethodPost}[path]
		request.Header.Set("Authorization", sign("localhost", "AAAA", "iothubowner", h.clock.Now()))
		go func() {
			if answer, err := h.client.http.Do(request); err == nil {
				_ = answer.Body.Close()
			}
		}()
	}
	for _, operation := range []string{"updateTwin", "bulkDevices"} {
		g.Eventually(func() map[string]int64 { return h.server.Counters().Operations[operation].Statuses }, patience).
			Should(Equal(map[string]int64{"401": 1}), operation)
	}
	giveUp()
}

func TestOversizeBody(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	body := `{"tags":{"a":"` + strings.Repeat("x", 1<<20) + `"}}`
	expectError(t, h.call(t, http.MethodPatch, "/twins/d1", body), http.StatusRequestEntityTooLarge, "MessageTooLarge", "The request is too large")

	room := strings.Repeat(" ", 1<<20)
	h.ok(t, http.MethodPost, "/devices", "["+room+`{"id":"d2","importMode":"create"}]`)
	expectError(t, h.call(t, http.MethodPost, "/devices", "["+strings.Repeat(room, 16)+"]"),
		http.StatusRequestEntityTooLarge, "MessageTooLarge", "The request is too large")
}
