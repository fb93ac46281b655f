package hubemulator_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// admin calls the admin API and returns the status and the body.
func (h *hub) admin(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	c := client{http: h.client.http, base: h.server.AdminURL()}
	answer, err := c.do(t.Context(), method, path, body, "Content-Type", "application/json")
	if err != nil {
		t.Fatal(err)
	}
	return answer.status, answer.text
}

func (h *hub) etag(t *testing.T) any {
	t.Helper()
	text, err := h.server.TwinJSON("d1")
	if err != nil {
		t.Fatal(err)
	}
	return decode[object](t, string(text))["etag"]
}

func (h *hub) held(t *testing.T) any {
	t.Helper()
	_, text := h.admin(t, http.MethodGet, "/faults", "")
	rules := decode[[]object](t, text)
	if len(rules) == 0 {
		return nil
	}
	return rules[0]["held"]
}

const (
	untouched = "AAAAAAAAAAE="
	written   = "AAAAAAAAAAI="
)

// patchInBackground sends a twin update whose outcome arrives on the channel.
func (h *hub) patchInBackground(ctx context.Context) <-chan error {
	outcome := make(chan error, 1)
	go func() {
		_, err := h.do(ctx, http.MethodPatch, "/twins/d1"+version, `{"tags":{"a":1}}`)
		outcome <- err
	}()
	return outcome
}

func TestFaultHold(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	status, text := h.admin(t, http.MethodPost, "/faults", `{"operation":"updateTwin","action":"hold"}`)
	g.Expect(status).To(Equal(http.StatusCreated), text)
	id := decode[object](t, text)["id"].(string)

	outcome := h.patchInBackground(t.Context())
	g.Eventually(func() any { return h.held(t) }).Should(Equal(json.Number("1")))
	g.Expect(h.etag(t)).To(Equal(untouched), "a held request is not applied")
	g.Expect(outcome).NotTo(Receive())

	status, _ = h.admin(t, http.MethodDelete, "/faults/"+id, "")
	g.Expect(status).To(Equal(http.StatusNoContent))
	g.Eventually(outcome).Should(Receive(BeNil()))
	g.Expect(h.etag(t)).To(Equal(written))
	g.Expect(h.server.Counters().Operations["updateTwin"]).To(Equal(
		hubemulator.OperationCounters{Calls: 1, Statuses: map[string]int64{"200": 1}, BilledMessages: 1, PeakConcurrency: 1}))
}

// leftBehind starts a hub that keeps a twin update waiting, whose client then goes
// away; it returns the id of the fault.
func leftBehind(t *testing.T, action string) (*hub, string) {
	t.Helper()
	g := NewWithT(t)
	h := startHub(t, "d1")
	id, err := h.server.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: action})
	g.Expect(err).NotTo(HaveOccurred())
	ctx, leave := context.WithCancel(t.Context())
	outcome := h.patchInBackground(ctx)
	g.Eventually(func() any { return h.held(t) }).Should(Equal(json.Number("1")))
	leave()
	g.Eventually(outcome).Should(Receive(HaveOccurred()))
	return h, id
}

func TestFaultHoldDropsARequestWhoseClientLeft(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h, id := leftBehind(t, hubemulator.FaultHold)
	g.Eventually(func() any { return h.held(t) }).Should(Equal(json.Number("0")))
	h.server.RemoveFault(id)
	g.Eventually(func() any { return h.server.Counters().Operations["updateTwin"].Statuses }).Should(
		Equal(map[string]int64{"0": 1}))
	g.Expect(h.etag(t)).To(Equal(untouched))
}

func TestFaultQueueAppliesWithoutItsClient(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h, id := leftBehind(t, hubemulator.FaultQueue)
	g.Consistently(func() any { return h.held(t) }, "100ms").Should(Equal(json.Number("1")))
	g.Expect(h.etag(t)).To(Equal(untouched))
	h.server.RemoveFault(id)
	g.Eventually(func() any { return h.etag(t) }).ShouldNot(Equal(untouched))
}

func TestWaitingRequestsEndWithTheServer(t *testing.T) {
	t.Parallel()
	for _, action := range []string{hubemulator.FaultHold, hubemulator.FaultQueue} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			_, err := h.server.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: action})
			g.Expect(err).NotTo(HaveOccurred())
			outcome := h.patchInBackground(t.Context())
			g.Eventually(func() any { return h.held(t) }).Should(Equal(json.Number("1")))
			g.Expect(h.server.Close()).To(Succeed())
			g.Eventually(outcome).Should(Receive(HaveOccurred()))
			g.Expect(h.etag(t)).To(Equal(untouched))
		})
	}
}

func TestFaultDropAnswer(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	_, err := h.server.AddFault(hubemulator.Fault{Operation: "updateTwin", DeviceID: "d1", Count: 1, Action: hubemulator.FaultDropAnswer})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = h.do(t.Context(), http.MethodPatch, "/twins/d1"+version, `{"tags":{"a":1}}`)
	g.Expect(err).To(HaveOccurred())
	g.Expect(h.etag(t)).To(Equal(written), "applied all the same")
	g.Expect(h.server.Counters().Operations["updateTwin"].Statuses).To(Equal(map[string]int64{"200": 1}))
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":2}}`)
}

func TestFaultStatus(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2")
	_, err := h.server.AddFault(hubemulator.Fault{
		Operation: "getTwin", DeviceID: "d1", Count: 2, Action: hubemulator.FaultStatus, Status: 503, ErrorCode: "ServerBusy",
	})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = h.server.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: hubemulator.FaultStatus, Status: 429})
	g.Expect(err).NotTo(HaveOccurred())

	h.ok(t, http.MethodGet, "/twins/d2", "")
	for range 2 {
		expectError(t, h.call(t, http.MethodGet, "/twins/d1", ""), http.StatusServiceUnavailable, "ServerBusy", "Service Unavailable")
	}
	h.ok(t, http.MethodGet, "/twins/d1", "")

	throttled := h.call(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1}}`)
	expectError(t, throttled, http.StatusTooManyRequests, "ThrottlingBacklogTimeout",
		"The request has been throttled. Wait 10 seconds and try again. Operation type: TwinUpdate")
	g.Expect(throttled.header).NotTo(HaveKey("Retry-After"), "the hub never says")
	g.Expect(h.etag(t)).To(Equal(untouched))

	_, text := h.admin(t, http.MethodGet, "/faults", "")
	g.Expect(text).To(MatchJSON(`[
		{"id":"1","operation":"getTwin","deviceId":"d1","count":2,"action":"status","status":503,"errorCode":"ServerBusy","hits":2,"held":0},
		{"id":"2","operation":"updateTwin","count":0,"action":"status","status":429,"hits":1,"held":0}
	]`))
}

func TestRefusedFaults(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	for body, problem := range map[string]string{
		`{`: "cannot be read",
		`{"operation":"getTwin","action":"hold","for":1}`:        "unknown field",
		`{"operation":"readTwin","action":"hold"}`:               `operation "readTwin" is unknown; use one of`,
		`{"operation":"getTwin","action":"explode"}`:             `action "explode" is unknown`,
		`{"operation":"getTwin","action":"hold","count":-1}`:     "is negative",
		`{"operation":"getTwin","action":"status","status":200}`: "status 200 is no failure",
	} {
		g := NewWithT(t)
		status, text := h.admin(t, http.MethodPost, "/faults", body)
		g.Expect(status).To(Equal(http.StatusBadRequest), body)
		g.Expect(decode[object](t, text)["error"]).To(ContainSubstring(problem))
	}
	status, _ := h.admin(t, http.MethodDelete, "/faults/9", "")
	NewWithT(t).Expect(status).To(Equal(http.StatusNotFound))
}

func TestCounters(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.call(t, http.MethodGet, "/twins/d1", "")
	h.call(t, http.MethodGet, "/twins/absent", "")
	h.call(t, http.MethodGet, "/twins/d1", "", "Authorization", "none")
	h.call(t, http.MethodPatch, "/twins/d1", `{"tags":{}}`, "If-Match", `"stale"`)
	h.call(t, http.MethodPut, "/twins/d1", `{}`)
	h.query(t, `SELECT * FROM devices`)
	h.call(t, http.MethodGet, "/devices", "")
	h.call(t, http.MethodGet, "/devices/d1", "")
	h.call(t, http.MethodPut, "/devices/d1", "{}")
	h.call(t, http.MethodDelete, "/devices/d1", "", "If-Match", "*")

	want := `{"operations":{
		"getTwin":      {"calls":3,"statuses":{"200":1,"404":1,"401":1},"billedMessages":1,"peakConcurrency":1},
		"updateTwin":   {"calls":1,"statuses":{"412":1},"billedMessages":0,"peakConcurrency":1},
		"replaceTwin":  {"calls":1,"statuses":{"200":1},"billedMessages":1,"peakConcurrency":1},
		"query":        {"calls":1,"statuses":{"200":1},"billedMessages":1,"peakConcurrency":1},
		"listDevices":  {"calls":1,"statuses":{"200":1},"billedMessages":0,"peakConcurrency":1},
		"getDevice":    {"calls":1,"statuses":{"200":1},"billedMessages":0,"peakConcurrency":1},
		"putDevice":    {"calls":1,"statuses":{"409":1},"billedMessages":0,"peakConcurrency":1},
		"deleteDevice": {"calls":1,"statuses":{"204":1},"billedMessages":0,"peakConcurrency":1}
	}}`
	status, text := h.admin(t, http.MethodGet, "/counters", "")
	g.Expect(status).To(Equal(http.StatusOK))
	g.Expect(text).To(MatchJSON(want))
	g.Expect(json.Marshal(h.server.Counters())).To(MatchJSON(want))

	status, _ = h.admin(t, http.MethodPost, "/counters/reset", "")
	g.Expect(status).To(Equal(http.StatusNoContent))
	g.Expect(h.server.Counters().Operations).To(BeEmpty())

	status, text = h.admin(t, http.MethodGet, "/healthz", "")
	g.Expect(status).To(Equal(http.StatusOK))
	g.Expect(text).To(MatchJSON(`{"status":"ok"}`))
}
