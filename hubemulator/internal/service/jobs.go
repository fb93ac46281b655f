package service

import (
	"encoding/json"
	"net/http"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/job"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// jobDocument is a job as it goes over the wire.
type jobDocument struct {
	JobID          string          `json:"jobId"`
	QueryCondition string          `json:"queryCondition"`
	CreatedTime    string          `json:"createdTime"`
	StartTime      string          `json:"startTime"`
	EndTime        string          `json:"endTime"`
	MaxSeconds     int64           `json:"maxExecutionTimeInSeconds"`
	Type           job.Type        `json:"type"`
	Method         json.RawMessage `json:"cloudToDeviceMethod,omitempty"`
	UpdateTwin     json.RawMessage `json:"updateTwin,omitempty"`
	Status         job.Status      `json:"status"`
	FailureReason  string          `json:"failureReason,omitempty"`
	StatusMessage  string          `json:"statusMessage,omitempty"`
	Statistics     *job.Statistics `json:"deviceJobStatistics,omitempty"`
}

// endless is how .NET, and with it the hub, writes a time that never comes. A
// job that has not ended has it for its end.
const endless = "9999-12-31T23:59:59.9999999Z"

func documentOf(view job.View) jobDocument {
	document := jobDocument{
		JobID: view.ID, QueryCondition: view.QueryCondition,
		CreatedTime: twindoc.FormatTime(view.Created), StartTime: twindoc.FormatTime(view.Start), EndTime: endless,
		MaxSeconds: view.MaxSeconds, Type: view.Type, Method: view.Method, UpdateTwin: view.UpdateTwin,
		Status: view.Status, FailureReason: view.FailureReason, StatusMessage: view.StatusMessage,
		Statistics: view.Statistics,
	}
	if !view.End.IsZero() {
		document.EndTime = twindoc.FormatTime(view.End)
	}
	return document
}

func (h *handler) createJob(c call) (answer, error) {
	view, err := h.Jobs.Create(c.parameters["job"], c.body)
	return answer{status: http.StatusOK, body: documentOf(view)}, err
}

// getJob has an answer for jobs that there are not: it is no failure.
func (h *handler) getJob(c call) (answer, error) {
	view, found := h.Jobs.Get(c.parameters["job"])
	if !found {
		return answer{status: http.StatusOK, body: map[string]string{"type": "unknown", "status": "unknown"}}, nil
	}
	return answer{status: http.StatusOK, body: documentOf(view)}, nil
}

func (h *handler) cancelJob(c call) (answer, error) {
	view, err := h.Jobs.Cancel(c.parameters["job"])
	return answer{status: http.StatusOK, body: documentOf(view)}, err
}

func (h *handler) queryJobs(c call) (answer, error) {
	wanted, err := job.ParseFilter(c.query("jobType"), c.query("jobStatus"))
	if err != nil {
		return answer{}, err
	}
	size, err := pageSize(c.header.Get("x-ms-max-item-count"))
	if err != nil {
		return answer{}, err
	}
	text := "jobs of type " + string(wanted.Type) + " that are " + string(wanted.Status)
	start, err := h.openPosition(c.header.Get("x-ms-continuation"), text)
	if err != nil {
		return answer{}, err
	}
	found := h.Jobs.List(wanted, start.Job, size+1)
	result := answer{status: http.StatusOK, header: map[string]string{"x-ms-item-type": itemJob}}
	if len(found) > size {
		found = found[:size]
		result.header["x-ms-continuation"] = h.sealPosition(position{Job: found[size-1].Sequence}, text)
	}
	documents := make([]jobDocument, 0, len(found))
	for _, view := range found {
		documents = append(documents, documentOf(view))
	}
	result.body = documents
	return result, nil
}

// listImportJobs has nothing to list, as there are no import and export jobs
// here; tools ask for them beside scheduled jobs.
func (h *handler) listImportJobs(call) (answer, error) {
	return answer{status: http.StatusOK, body: []any{}}, nil
}
