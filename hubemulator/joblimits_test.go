package hubemulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func TestActiveJobs(t *testing.T) {
	t.Parallel()
	for tier, limit := range map[string]int{"F1": 1, "S1": 1, "S2": 5, "S3": 10} {
		t.Run(tier, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startTier(t, hubemulator.Options{Tier: tier})
			const later = `,"startTime":"2026-11-20T10:30:00Z"`
			for i := range limit {
				h.ok(t, http.MethodPut, fmt.Sprint("/jobs/v2/j", i), fmt.Sprintf(updateJob, later))
			}
			text := fmt.Sprintf("The hub has %d jobs that are scheduled or running, and may have no more", limit)
			refused := h.call(t, http.MethodPut, "/jobs/v2/more", fmt.Sprintf(updateJob, ""))
			expectError(t, refused, http.StatusTooManyRequests, "ThrottlingMaxActiveJobCountExceeded", text)
			expectError(t, h.call(t, http.MethodPut, "/jobs/v2/j0", fmt.Sprintf(updateJob, "")), http.StatusConflict,
				"JobAlreadyExists", "A job with ID 'j0' already exists.")
			h.ok(t, http.MethodPost, "/jobs/v2/j0/cancel", "")
			h.ok(t, http.MethodPut, "/jobs/v2/more", fmt.Sprintf(updateJob, ""))
			h.ended(t, "more")
			h.ok(t, http.MethodPut, "/jobs/v2/another", fmt.Sprintf(updateJob, later))
			g.Expect(h.call(t, http.MethodPut, "/jobs/v2/last", fmt.Sprintf(updateJob, "")).status).To(Equal(http.StatusTooManyRequests))
		})
	}
}

func TestJobsWithoutATier(t *testing.T) {
	t.Parallel()
	h := startHub(t, numbered(150)...)
	for i := range 20 {
		h.ok(t, http.MethodPut, fmt.Sprint("/jobs/v2/later", i), fmt.Sprintf(updateJob, `,"startTime":"2026-11-20T12:00:00Z"`))
	}
	h.ok(t, http.MethodPut, "/jobs/v2/now", fmt.Sprintf(updateJob, ""))
	NewWithT(t).Expect(h.ended(t, "now")["deviceJobStatistics"]).To(Equal(statistics(150, 0, 150, 0, 0)))
}

// A job never is refused for its throttle: it waits as long as it has to.
func TestThrottleOfDevicesInJobs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		tier    string
		units   int
		devices int
		burst   int
		rate    int // devices a second
	}{
		{"F1", 1, 100, 25, 10},
		{"S1", 20, 100, 25, 10},
		{"S2", 20, 100, 50, 20},
		{"S3", 1, 200, 125, 50},
	} {
		t.Run(tt.tier, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startTier(t, hubemulator.Options{Tier: tt.tier, Units: tt.units, Devices: numbered(tt.devices)})
			done := func() int64 { return h.server.Counters().Operations["jobUpdateTwin"].Statuses["200"] }
			h.ok(t, http.MethodPut, "/jobs/v2/j", fmt.Sprintf(updateJob, ""))
			g.Eventually(done, patience).Should(Equal(int64(tt.burst)))
			g.Eventually(func() any { return h.job(t, "j")["deviceJobStatistics"] }, patience).Should(
				Equal(statistics(tt.devices, 0, tt.burst, 0, tt.devices-tt.burst)))
			interval := time.Second / time.Duration(tt.rate)
			for next := tt.burst + 1; next <= tt.devices; next++ {
				// One timer is that of the job's longest time to run.
				g.Eventually(h.clock.Waiters, patience).Should(Equal(2))
				h.clock.Step(interval)
				g.Eventually(done, patience).Should(Equal(int64(next)))
			}
			g.Expect(h.ended(t, "j")["deviceJobStatistics"]).To(Equal(statistics(tt.devices, 0, tt.devices, 0, 0)))
		})
	}
}

func TestThrottleOfJobOperations(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startTier(t, hubemulator.Options{Tier: "F1"})
	for range 125 {
		h.call(t, http.MethodGet, "/jobs/v2/j", "")
		h.call(t, http.MethodPost, "/jobs/v2/j/cancel", "")
	}
	g.Expect(h.clock.HasWaiters()).To(BeFalse(), "a burst passes, of all that concerns jobs together")
	queued := h.inBackground(t, http.MethodGet, "/jobs/v2/query", "")
	g.Eventually(h.clock.HasWaiters).Should(BeTrue(), "the next one waits")
	h.clock.Step(600 * time.Millisecond)
	g.Eventually(queued).Should(Receive())
	for range 5 {
		h.inBackground(t, http.MethodGet, "/jobs/v2/j", "")
	}
	g.Eventually(h.clock.Waiters).Should(Equal(5))
	expectError(t, h.call(t, http.MethodPut, "/jobs/v2/j", ""), http.StatusTooManyRequests, "ThrottlingBacklogTimeout",
		"The request has been throttled. Wait 10 seconds and try again. Operation type: JobWrite")
	h.ok(t, http.MethodGet, "/statistics/devices", "")
}

func TestBillingOfJobs(t *testing.T) {
	t.Parallel()
	for tier, size := range map[string]int{"F1": 512, "S1": 4096, "": 4096} {
		g := NewWithT(t)
		h := startTier(t, hubemulator.Options{Tier: tier, Devices: []string{"a", "b", "offline"}})
		messages := func(text string) int64 { return int64((len(text) + size - 1) / size) }
		large := strings.Repeat("v", 4000)
		for _, id := range []string{"a", "b"} {
			h.connect(t, id, "TCP").serve("200", func(mqtt.Message) string { return `"` + large + `"` })
		}
		h.server.ResetCounters()
		update := `{"tags":{"a":"` + large + `","b":"` + large[:200] + `"}}`
		h.ok(t, http.MethodPut, "/jobs/v2/update", `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":`+update+`}`)
		h.ended(t, "update")
		call := `{"methodName":"m","payload":"` + large[:600] + `"}`
		h.ok(t, http.MethodPut, "/jobs/v2/call", `{"type":"scheduleDeviceMethod","queryCondition":"*","cloudToDeviceMethod":`+call+`}`)
		h.ended(t, "call")
		h.call(t, http.MethodGet, "/jobs/v2/query", "")
		h.query(t, `SELECT * FROM devices.jobs`)
		counted := h.server.Counters()
		billed := map[string]int64{}
		for name, operation := range counted.Operations {
			billed[name] = operation.BilledMessages
		}
		answer := `{"status":200,"payload":"` + large + `"}`
		want := map[string]int64{
			"createJob": 0, "getJob": 0, "queryJobs": 0, "query": 0, "mqttMethod": 0,
			"jobUpdateTwin": 3 * messages(update), "jobInvokeMethod": 2 * (messages(call) + messages(answer)),
		}
		g.Expect(billed).To(Equal(want), "tier %q", tier)
		if tier != "" {
			g.Expect(counted.Quota.Used).To(Equal(want["jobUpdateTwin"]+want["jobInvokeMethod"]), "tier %q", tier)
		}
	}
}

func TestJobsWithoutQuota(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startTier(t, hubemulator.Options{Tier: "F1", Devices: []string{"d1"}})
	for range 5 {
		h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{},"ignored":"`+strings.Repeat("x", 1_000_000)+`"}`)
	}
	h.ok(t, http.MethodPut, "/jobs/v2/j", fmt.Sprintf(updateJob, ""))
	g.Expect(h.ended(t, "j")["deviceJobStatistics"]).To(Equal(statistics(1, 1, 0, 0, 0)))
	rows, _ := h.query(t, `SELECT * FROM devices.jobs`)
	g.Expect(at(rows[0], "error", "code")).To(Equal("IotHubQuotaExceeded"))
	for _, text := range []string{`SELECT * FROM devices`, `SELECT * FROM devices.modules`} {
		g.Expect(h.call(t, http.MethodPost, "/devices/query", queryBody(text)).status).To(Equal(http.StatusForbidden), text)
	}
}

func TestFaultsOfJobs(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "a", "b", "c")
	for _, fault := range []hubemulator.Fault{
		{Operation: "jobUpdateTwin", DeviceID: "a", Action: hubemulator.FaultStatus, Status: 503},
		{Operation: "jobUpdateTwin", DeviceID: "b", Action: hubemulator.FaultDelay, Delay: time.Minute},
	} {
		must(h.server.AddFault(fault))
	}
	h.ok(t, http.MethodPut, "/jobs/v2/j", fmt.Sprintf(updateJob, ""))
	g.Eventually(func() any { return h.job(t, "j")["deviceJobStatistics"] }, patience).Should(Equal(statistics(3, 1, 1, 1, 0)))
	g.Eventually(h.clock.Waiters, patience).Should(Equal(2))
	h.clock.Step(time.Minute)
	g.Expect(h.ended(t, "j")["deviceJobStatistics"]).To(Equal(statistics(3, 1, 2, 0, 0)))
	rows, _ := h.query(t, `SELECT * FROM devices.jobs WHERE deviceId = 'a'`)
	g.Expect(rows[0]["error"]).To(Equal(object{"code": "ServiceUnavailable", "description": "Service Unavailable"}))
	g.Expect(h.ok(t, http.MethodGet, "/twins/a", "")).NotTo(HaveKey("tags"))
}

// A hub stops with its jobs: with one that waits for its time, one that waits
// for its throttle, and one that waits for a device.
func TestJobsEndWithTheServer(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startTier(t, hubemulator.Options{Tier: "S2", Devices: numbered(60)})
	h.connect(t, "d000", "TCP").subscribe("$iothub/methods/POST/#")
	h.ok(t, http.MethodPut, "/jobs/v2/later", fmt.Sprintf(updateJob, `,"startTime":"2026-11-20T12:00:00Z"`))
	h.ok(t, http.MethodPut, "/jobs/v2/call", fmt.Sprintf(methodJob, `,"queryCondition":"deviceId = 'd000'"`))
	h.ok(t, http.MethodPut, "/jobs/v2/update", fmt.Sprintf(updateJob, ""))
	g.Eventually(func() int64 { return h.server.Counters().Operations["jobUpdateTwin"].Calls }, patience).Should(Equal(int64(24)))
	g.Eventually(func() any { return h.job(t, "call")["deviceJobStatistics"] }, patience).Should(Equal(statistics(1, 0, 0, 1, 0)))
	g.Expect(h.server.Close()).To(Succeed())
	counted := h.server.Counters().Operations
	g.Expect(counted["jobUpdateTwin"].Statuses).To(Equal(map[string]int64{"200": 24}))
	g.Expect(counted["jobInvokeMethod"].Statuses).To(Equal(map[string]int64{"0": 1}))
	g.Expect(h.clock.Waiters()).To(BeZero())
}
