package hubemulator_test

import (
	"fmt"
	"net/http"
	"testing"

	. "github.com/onsi/gomega"
)

// jobsInPages follows a list of jobs to its end and returns the ids of each page.
func (h *hub) jobsInPages(t *testing.T, parameters string, headers ...string) [][]string {
	t.Helper()
	var pages [][]string
	for token := ""; len(pages) < 10; {
		answer, err := h.do(t.Context(), http.MethodGet, "/jobs/v2/query"+version+parameters, "",
			append([]string{"x-ms-continuation", token}, headers...)...)
		if err != nil || answer.status != http.StatusOK {
			t.Fatalf("%s: %v %d %s", parameters, err, answer.status, answer.text)
		}
		ids := []string{}
		for _, job := range decode[[]object](t, answer.text) {
			ids = append(ids, job["jobId"].(string))
		}
		pages = append(pages, ids)
		if token = answer.header.Get("x-ms-continuation"); token == "" {
			break
		}
	}
	return pages
}

func TestListJobs(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	g.Expect(h.call(t, http.MethodGet, "/jobs/v2/query", "").text).To(Equal("[]"))
	for _, id := range []string{"c", "a", "b"} {
		h.ok(t, http.MethodPut, "/jobs/v2/"+id, fmt.Sprintf(updateJob, ""))
		h.ended(t, id)
	}
	h.ok(t, http.MethodPut, "/jobs/v2/later", fmt.Sprintf(methodJob, `,"startTime":"2026-11-20T12:00:00Z"`))
	g.Eventually(h.status(t, "later"), patience).Should(Equal("scheduled"))

	answer := h.call(t, http.MethodGet, "/jobs/v2/query", "")
	g.Expect(answer.header.Get("x-ms-item-type")).To(Equal("JobResponse"))
	g.Expect(decode[[]object](t, answer.text)[1]).To(Equal(h.job(t, "a")))
	for _, tt := range []struct {
		parameters string
		headers    []string
		pages      [][]string
	}{
		{"", nil, [][]string{{"c", "a", "b", "later"}}},
		{"", []string{"x-ms-max-item-count", "3"}, [][]string{{"c", "a", "b"}, {"later"}}},
		{"", []string{"x-ms-max-item-count", "1000"}, [][]string{{"c", "a", "b", "later"}}},
		{"", []string{"x-ms-max-item-count", "2"}, [][]string{{"c", "a"}, {"b", "later"}}},
		{"&jobType=scheduleUpdateTwin", []string{"x-ms-max-item-count", "2"}, [][]string{{"c", "a"}, {"b"}}},
		{"&jobType=ScheduleDeviceMethod", nil, [][]string{{"later"}}},
		{"&jobStatus=completed", []string{"x-ms-max-item-count", "1"}, [][]string{{"c"}, {"a"}, {"b"}}},
		{"&jobStatus=Scheduled&jobType=scheduleUpdateTwin", nil, [][]string{{}}},
	} {
		g.Expect(h.jobsInPages(t, tt.parameters, tt.headers...)).To(Equal(tt.pages), tt.parameters)
	}
}

func TestRefusedListsOfJobs(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	for _, id := range []string{"a", "b"} {
		h.ok(t, http.MethodPut, "/jobs/v2/"+id, fmt.Sprintf(updateJob, ""))
	}
	list := func(parameters string, headers ...string) response {
		return must(h.do(t.Context(), http.MethodGet, "/jobs/v2/query"+version+parameters, "", headers...))
	}
	token := list("", "x-ms-max-item-count", "1").header.Get("x-ms-continuation")
	g.Expect(token).NotTo(BeEmpty())
	expectError(t, list("&jobType=import"), http.StatusBadRequest, "ArgumentInvalid",
		`'jobType' should be one of ["scheduleUpdateTwin" "scheduleDeviceMethod"]`)
	expectError(t, list("&jobStatus=finished"), http.StatusBadRequest, "ArgumentInvalid",
		`'jobStatus' should be one of ["queued" "scheduled" "running" "completed" "failed" "cancelled"]`)
	expectError(t, list("", "x-ms-max-item-count", "0"), http.StatusBadRequest, "ArgumentInvalid", "BadRequest")
	expectError(t, list("&jobStatus=running", "x-ms-continuation", token), http.StatusBadRequest, "ArgumentInvalid",
		"The continuation token is not one of this query")
	answer := h.call(t, http.MethodPost, "/devices/query", queryBody("SELECT * FROM devices.jobs"), "x-ms-continuation", token)
	g.Expect(answer.status).To(Equal(http.StatusBadRequest))
}

func TestQueryDeviceJobs(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2", "d3")
	for id, condition := range map[string]string{"all": "*", "one": "deviceId = 'd2'"} {
		h.ok(t, http.MethodPut, "/jobs/v2/"+id, fmt.Sprintf(updateJob, `,"maxExecutionTimeInSeconds":90,"queryCondition":"`+condition+`"`))
		h.ended(t, id)
	}
	rows, header := h.query(t, `SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'one'`)
	g.Expect(header.Get("x-ms-item-type")).To(Equal("DeviceJob"))
	g.Expect(rows).To(Equal([]object{decode[object](t, `{"deviceId":"d2","jobId":"one","jobType":"scheduleUpdateTwin","status":"completed",
		"startTimeUtc":"2026-11-20T10:20:30.12345","endTimeUtc":"2026-11-20T10:22:00.12345",
		"createdDateTimeUtc":"`+startText+`","lastUpdatedDateTimeUtc":"`+startText+`","outcome":{"deviceMethodResponse":null}}`)}))

	for _, tt := range []struct {
		condition string
		rows      int
	}{
		{`deviceId = 'd2'`, 2},
		{`devices.jobs.DEVICEID != 'd2' AND jobType = 'scheduleUpdateTwin'`, 2},
		{`createdDateTimeUtc > '2026-11-20' AND lastUpdatedDateTimeUtc < '2026-11-21'`, 4},
		{`outcome.deviceMethodResponse = null`, 4},
		{`NOT IS_DEFINED(error) AND status IN ['completed']`, 4},
		{`tags.a = 1`, 0},
	} {
		rows, _ := h.query(t, `SELECT * FROM devices.jobs WHERE `+tt.condition)
		g.Expect(rows).To(HaveLen(tt.rows), tt.condition)
	}
	for _, text := range []string{
		`SELECT deviceId FROM devices.jobs`, `SELECT COUNT() AS n FROM devices.jobs`, `SELECT * FROM devices.jobs GROUP BY deviceId`,
	} {
		expectError(t, h.call(t, http.MethodPost, "/devices/query", queryBody(text)), http.StatusBadRequest, "ArgumentInvalid", "BadRequest")
	}
	twins, _ := h.query(t, `SELECT * FROM devices`)
	g.Expect(twins[0]).NotTo(HaveKey("jobs"))
}

func TestDeviceJobsInPages(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var devices []string
	for i := range 301 {
		devices = append(devices, fmt.Sprintf("d%03d", i))
	}
	h := startHub(t, devices...)
	for _, id := range []string{"first", "second"} {
		h.ok(t, http.MethodPut, "/jobs/v2/"+id, fmt.Sprintf(updateJob, ""))
		h.ended(t, id)
	}
	for _, tt := range []struct {
		text, size string
		pages      []int
	}{
		{`SELECT * FROM devices.jobs`, "", []int{100, 100, 100, 100, 100, 100, 2}},
		{`SELECT * FROM devices.jobs WHERE deviceId IN ['d000', 'd256', 'd300']`, "2", []int{2, 2, 2}},
		{`SELECT TOP 302 * FROM devices.jobs`, "", []int{100, 100, 100, 2}},
	} {
		var pages []int
		var seen []string
		for token := ""; len(pages) < 10; {
			rows, header := h.query(t, tt.text, "x-ms-continuation", token, "x-ms-max-item-count", tt.size)
			pages = append(pages, len(rows))
			for _, row := range rows {
				seen = append(seen, row["jobId"].(string)+" "+row["deviceId"].(string))
			}
			if token = header.Get("x-ms-continuation"); token == "" {
				break
			}
		}
		g.Expect(pages).To(Equal(tt.pages), tt.text)
		for i := range len(seen) - 1 {
			g.Expect(seen[i] < seen[i+1]).To(BeTrue(), "in order, each once: %s, %s", seen[i], seen[i+1])
		}
	}
}
