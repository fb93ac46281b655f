package hubemulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

const (
	updateJob = `{"type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"a":1}},"queryCondition":"*"%s}`
	methodJob = `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","payload":{"a": 1}},"queryCondition":"*"%s}`
)

// job reads a job.
func (h *hub) job(t *testing.T, id string) object {
	t.Helper()
	return h.ok(t, http.MethodGet, "/jobs/v2/"+id, "")
}

// status is for Eventually.
func (h *hub) status(t *testing.T, id string) func() any {
	t.Helper()
	return func() any { return h.job(t, id)["status"] }
}

// ended waits for the end of a job and returns it.
func (h *hub) ended(t *testing.T, id string) object {
	t.Helper()
	NewWithT(t).Eventually(h.status(t, id), patience).Should(BeElementOf("completed", "failed"))
	return h.job(t, id)
}

func statistics(devices, failed, succeeded, running, pending int) object {
	number := func(n int) json.Number { return json.Number(fmt.Sprint(n)) }
	return object{
		"deviceCount": number(devices), "failedCount": number(failed), "succeededCount": number(succeeded),
		"runningCount": number(running), "pendingCount": number(pending),
	}
}

const (
	startText   = "2026-11-20T10:20:30.12345Z"
	endlessText = "9999-12-31T23:59:59.9999999Z"
)

func TestTwinJob(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2", "d3")
	for _, id := range []string{"d1", "d2"} {
		h.ok(t, http.MethodPatch, "/twins/"+id, `{"tags":{"floor":{"a":1,"b":2}},"properties":{"desired":{"old":true}}}`)
	}
	d := h.connect(t, "d2", "TCP")
	d.subscribe("$iothub/twin/PATCH/properties/desired/#")
	const update = `{"etag":"*","tags":{"floor":{"a":null},"seen":true},"properties":{"desired":{"old":null,"new":1.0}}}`
	created := h.ok(t, http.MethodPut, "/jobs/v2/job-1", `{"jobId":"job-1","type":"scheduleUpdateTwin","updateTwin":`+update+
		`,"queryCondition":"deviceId IN ['d1','d2']","startTime":null,"maxExecutionTimeInSeconds":300}`)
	want := object{
		"jobId": "job-1", "type": "scheduleUpdateTwin", "status": "queued", "queryCondition": "deviceId IN ['d1','d2']",
		"createdTime": startText, "startTime": startText, "endTime": endlessText,
		"maxExecutionTimeInSeconds": json.Number("300"), "updateTwin": decode[object](t, update),
	}
	g.Expect(created).To(Equal(want))

	want["status"], want["endTime"], want["deviceJobStatistics"] = "completed", startText, statistics(2, 0, 2, 0, 0)
	g.Expect(h.ended(t, "job-1")).To(Equal(want))
	for _, id := range []string{"d1", "d2"} {
		twin := h.ok(t, http.MethodGet, "/twins/"+id, "")
		g.Expect(twin["tags"]).To(Equal(decode[object](t, `{"floor":{"b":2},"seen":true}`)))
		g.Expect(at(twin, "properties", "desired", "new")).To(Equal(json.Number("1.0")))
		g.Expect(at(twin, "properties", "desired", "$version")).To(Equal(json.Number("3")))
		g.Expect(at(twin, "properties", "desired", "old")).To(BeNil())
		g.Expect(twin["etag"]).To(Equal("AAAAAAAAAAM="))
	}
	g.Expect(h.ok(t, http.MethodGet, "/twins/d3", "")).NotTo(HaveKey("tags"))
	g.Expect(string(d.receive().Payload())).To(MatchJSON(`{"old":null,"new":1.0,"$version":3}`))
	counted := h.server.Counters().Operations
	g.Expect(counted["jobUpdateTwin"].Statuses).To(Equal(map[string]int64{"200": 2}))
	g.Expect(counted["updateTwin"].Calls).To(Equal(int64(2)), "only those of this test's own")
	g.Eventually(h.clock.Waiters, patience).Should(Equal(1), "nothing waits once it is over, but for the end of the device's token")
}

// A failure of one device is no failure of the job.
func TestTwinJobOnDevicesThatRefuse(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHubWith(t, hubemulator.Options{Devices: []string{"full", "gone", "other", "right"}, QueryGhosts: time.Hour})
	h.ok(t, http.MethodPatch, "/twins/full", `{"tags":`+filler(8190)+`}`)
	g.Expect(h.server.RemoveDevice("gone")).To(Succeed())
	h.ok(t, http.MethodPatch, "/twins/other", `{"tags":{"b":1}}`)
	h.ok(t, http.MethodPatch, "/twins/other", `{"tags":{"b":1}}`)
	h.ok(t, http.MethodPatch, "/twins/right", `{"tags":{"b":1}}`)
	h.ok(t, http.MethodPut, "/jobs/v2/j", `{"type":"scheduleUpdateTwin","updateTwin":{"etag":"AAAAAAAAAAI=","tags":{"abc":1}},"queryCondition":"*"}`)
	job := h.ended(t, "j")
	g.Expect(job["status"]).To(Equal("completed"))
	g.Expect(job["deviceJobStatistics"]).To(Equal(statistics(4, 3, 1, 0, 0)))
	rows, _ := h.query(t, `SELECT * FROM devices.jobs WHERE status = 'failed'`)
	errors := map[any]any{}
	for _, row := range rows {
		g.Expect(row).NotTo(HaveKey("outcome"))
		errors[row["deviceId"]] = row["error"]
	}
	g.Expect(errors).To(Equal(map[any]any{
		"full":  object{"code": "DeviceModelMaxPropertiesExceeded", "description": "'Tags' size should be less than 8192 bytes."},
		"gone":  object{"code": "DeviceNotFound", "description": "gone"},
		"other": object{"code": "PreconditionFailed", "description": "ETag mismatch for device ID 'other'"},
	}))
	g.Expect(h.server.Counters().Operations["jobUpdateTwin"].Statuses).To(Equal(map[string]int64{"200": 1, "403": 1, "404": 1, "412": 1}))
}

func TestMethodJob(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "fails", "offline", "works")
	answers := map[string]string{"works": "200", "fails": "500"}
	seen := make(chan string, 10)
	for id, status := range answers {
		h.connect(t, id, "TCP").serve(status, func(m mqtt.Message) string {
			seen <- string(m.Payload())
			return `{"id":"` + id + `"}`
		})
	}
	created := h.ok(t, http.MethodPut, "/jobs/v2/call", fmt.Sprintf(methodJob, ""))
	g.Expect(created["cloudToDeviceMethod"]).To(Equal(decode[object](t, `{"methodName":"m","payload":{"a":1}}`)))
	g.Expect(created["maxExecutionTimeInSeconds"]).To(Equal(json.Number("3600")))
	job := h.ended(t, "call")
	g.Expect(job["status"]).To(Equal("completed"), "whatever the devices say, and whether they are there")
	g.Expect(job["deviceJobStatistics"]).To(Equal(statistics(3, 1, 2, 0, 0)))
	g.Expect([]string{<-seen, <-seen}).To(Equal([]string{`{"a":1}`, `{"a":1}`}))

	rows, header := h.query(t, `SELECT * FROM devices.jobs`)
	g.Expect(header.Get("x-ms-item-type")).To(Equal("DeviceJob"))
	row := func(id, status string, more string) object {
		return decode[object](t, `{"deviceId":"`+id+`","jobId":"call","jobType":"scheduleDeviceMethod","status":"`+status+`",
			"startTimeUtc":"2026-11-20T10:20:30.12345","endTimeUtc":"2026-11-20T11:20:30.12345",
			"createdDateTimeUtc":"`+startText+`","lastUpdatedDateTimeUtc":"`+startText+`",`+more+`}`)
	}
	g.Expect(rows).To(Equal([]object{
		row("fails", "completed", `"outcome":{"deviceMethodResponse":{"status":500,"payload":{"id":"fails"}}}`),
		row("offline", "failed", `"error":{"code":"DeviceNotOnline","description":"Timed out waiting for device to connect."}`),
		row("works", "completed", `"outcome":{"deviceMethodResponse":{"status":200,"payload":{"id":"works"}}}`),
	}))
	g.Expect(h.server.Counters().Operations["jobInvokeMethod"].Statuses).To(Equal(map[string]int64{"200": 2, "404": 1}))
}

func TestMethodJobWaitsForDevices(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "late", "silent")
	h.connect(t, "silent", "TCP").subscribe("$iothub/methods/POST/#")
	h.ok(t, http.MethodPut, "/jobs/v2/call", `{"type":"scheduleDeviceMethod","queryCondition":"*",
		"cloudToDeviceMethod":{"methodName":"m","responseTimeoutInSeconds":30,"connectTimeoutInSeconds":20}}`)
	g.Eventually(func() any { return h.job(t, "call")["deviceJobStatistics"] }, patience).Should(Equal(statistics(2, 0, 0, 2, 0)))
	g.Expect(h.job(t, "call")["status"]).To(Equal("running"))
	h.connect(t, "late", "TCP").serve("200", func(mqtt.Message) string { return "" })
	g.Eventually(func() any { return h.job(t, "call")["deviceJobStatistics"] }, patience).Should(Equal(statistics(2, 0, 1, 1, 0)))
	h.clock.Step(30 * time.Second)
	g.Expect(h.ended(t, "call")["deviceJobStatistics"]).To(Equal(statistics(2, 1, 1, 0, 0)))
	rows, _ := h.query(t, `SELECT * FROM devices.jobs WHERE deviceId = 'silent'`)
	g.Expect(rows[0]["error"]).To(Equal(object{"code": "GatewayTimeout", "description": "Timed out waiting for the response from device."}))
	g.Expect(rows[0]["lastUpdatedDateTimeUtc"]).To(Equal("2026-11-20T10:21:00.12345Z"))
}

func TestScheduledJob(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.ok(t, http.MethodPut, "/jobs/v2/later", fmt.Sprintf(updateJob, `,"startTime":"2026-11-20T12:20:30.12345+01:00"`))
	g.Eventually(h.status(t, "later"), patience).Should(Equal("scheduled"))
	g.Expect(h.job(t, "later")["startTime"]).To(Equal("2026-11-20T11:20:30.12345Z"))
	g.Expect(h.job(t, "later")).NotTo(HaveKey("deviceJobStatistics"), "its devices are not known yet")
	rows, _ := h.query(t, `SELECT * FROM devices.jobs`)
	g.Expect(rows).To(BeEmpty())
	g.Eventually(h.clock.HasWaiters, patience).Should(BeTrue())
	h.clock.Step(time.Hour - time.Nanosecond)
	h.client.token = h.policyToken(t, "iothubowner")
	g.Consistently(h.status(t, "later"), "50ms").Should(Equal("scheduled"))
	// What is there when the job starts takes part, not when it was made.
	_, err := h.server.AddDevice("d2")
	g.Expect(err).NotTo(HaveOccurred())
	h.clock.Step(time.Nanosecond)
	g.Expect(h.ended(t, "later")["deviceJobStatistics"]).To(Equal(statistics(2, 0, 2, 0, 0)))
	g.Expect(h.job(t, "later")["endTime"]).To(Equal("2026-11-20T11:20:30.12345Z"))
}

func TestJobStartTimes(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	for i, tt := range []struct{ given, start string }{
		{"0001-01-01T00:00:00Z", startText},
		{"", startText},
		{"2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"},
		{"2026-11-20T09:00:00.5", "2026-11-20T09:00:00.5Z"},
	} {
		id := fmt.Sprint("j", i)
		h.ok(t, http.MethodPut, "/jobs/v2/"+id, fmt.Sprintf(updateJob, `,"startTime":"`+tt.given+`"`))
		job := h.ended(t, id)
		g.Expect(job["startTime"]).To(Equal(tt.start), tt.given)
		g.Expect(job["deviceJobStatistics"]).To(Equal(statistics(0, 0, 0, 0, 0)))
	}
	week := startOfTime.Add(168 * time.Hour)
	h.ok(t, http.MethodPut, "/jobs/v2/week", fmt.Sprintf(updateJob, `,"startTime":"`+week.Format(time.RFC3339Nano)+`"`))
	tooLate := fmt.Sprintf(updateJob, `,"startTime":"`+week.Add(time.Nanosecond).Format(time.RFC3339Nano)+`"`)
	expectError(t, h.call(t, http.MethodPut, "/jobs/v2/more", tooLate), http.StatusBadRequest, "ArgumentInvalid", "'startTime' should be within 168 hours")
}

func TestRefusedJobs(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	const (
		argument = "ArgumentInvalid"
		badID    = "The job's id should be 1 to 64 lowercase letters, digits and hyphens"
	)
	update := fmt.Sprintf(updateJob, "")
	for _, tt := range []struct {
		id, body   string
		status     int
		code, text string
	}{
		{"Upper", update, 400, argument, badID},
		{"a_b", update, 400, argument, badID},
		{"a.b", update, 400, argument, badID},
		{strings.Repeat("a", 65), update, 400, argument, badID},
		{"j", fmt.Sprintf(updateJob, `,"jobId":"k"`), 400, argument, "'jobId' should be the id in the path"},
		{"j", `{"type":"scheduleTwinUpdate","updateTwin":{},"queryCondition":"*"}`, 400, "GenericBadRequest", "BadRequest"},
		{"j", `{"updateTwin":{},"queryCondition":"*"}`, 400, "GenericBadRequest", "BadRequest"},
		{"j", `{"type":"scheduleUpdateTwin","updateTwin":{"tags":{}}}`, 400, "ArgumentNull", "'queryCondition' should be the text behind WHERE, or * for all devices"},
		{"j", `{"type":"scheduleUpdateTwin","queryCondition":"*"}`, 400, argument, "'updateTwin' should be a partial twin, as the type scheduleUpdateTwin takes one"},
		{"j", `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":[]}`, 400, argument, "'updateTwin' should be a partial twin, and its 'etag' a string"},
		{"j", `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":{"etag":1}}`, 400, argument, "'updateTwin' should be a partial twin, and its 'etag' a string"},
		{"j", `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":{"desired":{"a":1}}}`, 400, argument, "The partial twin should have 'tags' or 'properties.desired'"},
		{"j", `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":{"tags":{"a b":1}}}`, 400, argument,
			"Property or Tag name has invalid characters. Error in Property/Tag a b. Must not contain Control Characters, '.', '$', '#', or ' '."},
		{"j", `{"type":"scheduleDeviceMethod","queryCondition":"*"}`, 400, argument, "'cloudToDeviceMethod' should be a method call, as the type scheduleDeviceMethod takes one"},
		{"j", `{"type":"scheduleDeviceMethod","queryCondition":"*","cloudToDeviceMethod":{}}`, 400, argument,
			"'methodName' should be a name that fits into an MQTT topic: not empty, and without / + # ?"},
		{"j", `{"type":"scheduleDeviceMethod","queryCondition":"*","cloudToDeviceMethod":{"methodName":"m","connectTimeoutInSeconds":31}}`, 400, argument,
			"Device connection timeout 31 seconds cannot be longer than an overall call timeout 30 seconds"},
		{"j", fmt.Sprintf(updateJob, `,"startTime":"tomorrow"`), 400, argument, "'startTime' should be a time such as 2026-11-20T10:00:00Z"},
		{"j", fmt.Sprintf(updateJob, `,"maxExecutionTimeInSeconds":-1`), 400, argument, "'maxExecutionTimeInSeconds' should be 0 to 2147483647"},
		{"j", fmt.Sprintf(updateJob, `,"queryCondition":"a = '`+strings.Repeat("é", 8187)+`'"`), 412, "PreconditionFailed",
			"The etag in the request does not match the etag of the existing resource, as per RFC7232"},
	} {
		expectError(t, h.call(t, http.MethodPut, "/jobs/v2/"+tt.id, tt.body), tt.status, tt.code, tt.text)
	}
	for _, body := range []string{"", "[]", `{"type":1}`, `{"maxExecutionTimeInSeconds":1.5}`, update + "x"} {
		answer := h.call(t, http.MethodPut, "/jobs/v2/j", body)
		NewWithT(t).Expect(answer.header.Get("iothub-errorcode")).To(Equal("IotHubFormatError"), body)
	}
	expectUnknown(t, h, "j")
	h.ok(t, http.MethodPut, "/jobs/v2/7", fmt.Sprintf(updateJob, `,"jobId":7,"queryCondition":"a = '`+strings.Repeat("é", 8186)+`'"`))
	h.ended(t, "7")
}

func expectUnknown(t *testing.T, h *hub, id string) {
	t.Helper()
	answer := h.call(t, http.MethodGet, "/jobs/v2/"+id, "")
	g := NewWithT(t)
	g.Expect(answer.status).To(Equal(http.StatusOK))
	g.Expect(answer.text).To(MatchJSON(`{"type":"unknown","status":"unknown"}`))
}

func TestJobWithABadQuery(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	for i, condition := range []string{"SELECT * FROM devices", "tags.a =", "FROM devices.modules WHERE moduleId = 'm'"} {
		id := fmt.Sprint("j", i)
		created := h.ok(t, http.MethodPut, "/jobs/v2/"+id, fmt.Sprintf(updateJob, `,"queryCondition":"`+condition+`"`))
		g.Expect(created["status"]).To(Equal("queued"), "it is accepted")
		job := h.ended(t, id)
		g.Expect(job["status"]).To(Equal("failed"))
		g.Expect(job["failureReason"]).To(HavePrefix("The query condition cannot be read: column "))
		g.Expect(job["endTime"]).To(Equal(startText))
		g.Expect(job).NotTo(HaveKey("deviceJobStatistics"))
	}
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")).NotTo(HaveKey("tags"))
}

func TestJobIDs(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	longest := strings.Repeat("a-0", 21) + "z"
	h.ok(t, http.MethodPut, "/jobs/v2/"+longest, fmt.Sprintf(updateJob, ""))
	expectError(t, h.call(t, http.MethodPut, "/jobs/v2/"+longest, fmt.Sprintf(methodJob, "")), http.StatusConflict, "JobAlreadyExists",
		"A job with ID '"+longest+"' already exists.")
	expectUnknown(t, h, "other")
	expectError(t, h.call(t, http.MethodPost, "/jobs/v2/other/cancel", ""), http.StatusNotFound, "JobNotFound", "There is no job with ID 'other'.")

	// The hub remembers a job for 30 days after its end, and its id.
	h.ended(t, longest)
	h.clock.Step(30*24*time.Hour - time.Nanosecond)
	h.client.token = h.policyToken(t, "iothubowner")
	h.job(t, longest)
	h.clock.Step(time.Nanosecond)
	expectUnknown(t, h, longest)
	h.ok(t, http.MethodPut, "/jobs/v2/"+longest, fmt.Sprintf(methodJob, ""))
}

func TestCancelJob(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	const later = `,"startTime":"2026-11-20T12:00:00Z"`
	h.ok(t, http.MethodPut, "/jobs/v2/j", fmt.Sprintf(updateJob, later))
	g.Eventually(h.clock.HasWaiters, patience).Should(BeTrue())
	h.clock.Step(time.Minute)
	cancelled := h.ok(t, http.MethodPost, "/jobs/v2/j/cancel", "")
	g.Expect(cancelled["status"]).To(Equal("cancelled"))
	g.Expect(cancelled["endTime"]).To(Equal("2026-11-20T10:21:30.12345Z"))
	g.Expect(h.job(t, "j")).To(Equal(cancelled))
	const text = "The job is %s; only a job that is queued or scheduled can be cancelled."
	cancel := func(id string) response { return h.call(t, http.MethodPost, "/jobs/v2/"+id+"/cancel", "") }
	expectError(t, cancel("j"), http.StatusMethodNotAllowed, "OperationNotAllowedInCurrentState", fmt.Sprintf(text, "cancelled"))
	g.Eventually(h.clock.HasWaiters, patience).Should(BeFalse())

	h.ok(t, http.MethodPut, "/jobs/v2/done", fmt.Sprintf(updateJob, ""))
	h.ended(t, "done")
	expectError(t, cancel("done"), http.StatusMethodNotAllowed, "OperationNotAllowedInCurrentState", fmt.Sprintf(text, "completed"))

	fault, err := h.server.AddFault(hubemulator.Fault{Operation: "jobUpdateTwin", Action: hubemulator.FaultHold})
	g.Expect(err).NotTo(HaveOccurred())
	h.ok(t, http.MethodPut, "/jobs/v2/held", fmt.Sprintf(updateJob, ""))
	g.Eventually(h.status(t, "held"), patience).Should(Equal("running"))
	expectError(t, cancel("held"), http.StatusMethodNotAllowed, "OperationNotAllowedInCurrentState", fmt.Sprintf(text, "running"))
	h.server.RemoveFault(fault)
	g.Expect(h.ended(t, "held")["deviceJobStatistics"]).To(Equal(statistics(1, 0, 1, 0, 0)))
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")["etag"]).To(Equal("AAAAAAAAAAM="), "what was cancelled did nothing")
}

func TestJobOutOfTime(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "a", "b")
	fault, err := h.server.AddFault(hubemulator.Fault{Operation: "jobUpdateTwin", DeviceID: "b", Action: hubemulator.FaultHold})
	g.Expect(err).NotTo(HaveOccurred())
	h.ok(t, http.MethodPut, "/jobs/v2/j", fmt.Sprintf(updateJob, `,"maxExecutionTimeInSeconds":60`))
	g.Eventually(func() any { return h.job(t, "j")["deviceJobStatistics"] }, patience).Should(Equal(statistics(2, 0, 1, 1, 0)))
	h.clock.Step(time.Minute)
	job := h.ended(t, "j")
	g.Expect(job["status"]).To(Equal("completed"))
	g.Expect(job["statusMessage"]).To(Equal("The maximum execution time of 60 seconds is over."))
	g.Expect(job["endTime"]).To(Equal("2026-11-20T10:21:30.12345Z"))
	g.Expect(job["deviceJobStatistics"]).To(Equal(statistics(2, 1, 1, 0, 0)))
	rows, _ := h.query(t, `SELECT * FROM devices.jobs WHERE status = 'failed'`)
	g.Expect(rows[0]["error"]).To(Equal(object{"code": "GenericTimeout", "description": "The job's maximum execution time was over first."}))
	h.server.RemoveFault(fault)
	g.Expect(h.ok(t, http.MethodGet, "/twins/b", "")).NotTo(HaveKey("tags"), "nothing comes late")
	g.Expect(h.server.Counters().Operations["jobUpdateTwin"].Statuses).To(Equal(map[string]int64{"200": 1, "0": 1}))
}

func TestRestartKeepsJobs(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir, Devices: []string{"a", "b"}})
	h.ok(t, http.MethodPut, "/jobs/v2/done", fmt.Sprintf(updateJob, ""))
	done := h.ended(t, "done")
	must(h.server.AddFault(hubemulator.Fault{Operation: "jobUpdateTwin", DeviceID: "b", Action: hubemulator.FaultHold}))
	h.ok(t, http.MethodPut, "/jobs/v2/working", fmt.Sprintf(updateJob, ""))
	h.ok(t, http.MethodPut, "/jobs/v2/later", fmt.Sprintf(updateJob, `,"startTime":"2026-11-20T11:00:00Z"`))
	g.Eventually(func() any { return h.job(t, "working")["deviceJobStatistics"] }, patience).Should(Equal(statistics(2, 0, 1, 1, 0)))
	g.Eventually(h.status(t, "later"), patience).Should(Equal("scheduled"))
	rows, _ := h.query(t, `SELECT * FROM devices.jobs WHERE jobId = 'done'`)

	h = h.restart(t, dir, nil)
	g.Expect(h.job(t, "done")).To(Equal(done))
	again, _ := h.query(t, `SELECT * FROM devices.jobs WHERE jobId = 'done'`)
	g.Expect(again).To(Equal(rows))
	g.Expect(h.ended(t, "working")["deviceJobStatistics"]).To(Equal(statistics(2, 0, 2, 0, 0)))
	for _, id := range []string{"a", "b"} {
		g.Expect(h.ok(t, http.MethodGet, "/twins/"+id, "")["etag"]).To(Equal("AAAAAAAAAAM="), "once by each job")
	}
	g.Eventually(h.clock.HasWaiters, patience).Should(BeTrue())
	h.clock.Step(time.Hour)
	h.client.token = h.policyToken(t, "iothubowner")
	g.Expect(h.ended(t, "later")["status"]).To(Equal("completed"))
	g.Expect(h.jobsInPages(t, "")).To(Equal([][]string{{"done", "working", "later"}}))
}
