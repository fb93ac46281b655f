package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/directmethod"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

const (
	// maxAhead is how far in the future a job may start, as IoT Hub was seen to
	// refuse anything later.
	maxAhead = 168 * time.Hour
	// defaultSeconds is how long a job may run that does not say it: what IoT
	// Hub's own SDKs ask for. Which default the hub has is not established.
	defaultSeconds = 3600
)

// ids are the ids that IoT Hub accepts for jobs.
var ids = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// request is a job as a client asks for it.
type request struct {
	JobID          json.RawMessage `json:"jobId"`
	Type           Type            `json:"type"`
	UpdateTwin     json.RawMessage `json:"updateTwin"`
	Method         json.RawMessage `json:"cloudToDeviceMethod"`
	QueryCondition string          `json:"queryCondition"`
	StartTime      string          `json:"startTime"`
	MaxSeconds     int64           `json:"maxExecutionTimeInSeconds"`
}

// parse reads what a client wants a job to be. A query that makes no sense is
// no reason to refuse it: the hub finds that out when the job starts.
func (j *Jobs) parse(id string, body []byte, now time.Time) (Job, error) {
	var wanted request
	if err := json.Unmarshal(body, &wanted); err != nil {
		return Job{}, &store.Error{Status: http.StatusBadRequest, Number: 400006, Code: "IotHubFormatError",
			Text: fmt.Sprintf("The body is not the JSON that is expected: %v", err)}
	}
	switch {
	case !ids.MatchString(id):
		return Job{}, invalid("The job's id should be 1 to 64 lowercase letters, digits and hyphens")
	case !names(wanted.JobID, id):
		return Job{}, invalid("'jobId' should be the id in the path")
	case wanted.QueryCondition == "":
		return Job{}, &store.Error{Status: http.StatusBadRequest, Number: 400005, Code: "ArgumentNull",
			Text: "'queryCondition' should be the text behind WHERE, or * for all devices"}
	case utf8.RuneCountInString(wanted.QueryCondition) > query.MaxLength:
		// The hub has this answer for a condition that is too long for it.
		return Job{}, &store.Error{Status: http.StatusPreconditionFailed, Number: 412001, Code: "PreconditionFailed",
			Text: "The etag in the request does not match the etag of the existing resource, as per RFC7232"}
	case wanted.MaxSeconds < 0 || wanted.MaxSeconds > math.MaxInt32:
		return Job{}, invalid(fmt.Sprintf("'maxExecutionTimeInSeconds' should be 0 to %d", math.MaxInt32))
	}
	start, err := parseStart(wanted.StartTime, now)
	if err != nil {
		return Job{}, err
	}
	job := Job{
		ID: id, Type: wanted.Type, Status: Queued, QueryCondition: wanted.QueryCondition,
		Created: now, Start: start, MaxSeconds: wanted.MaxSeconds,
	}
	if job.MaxSeconds == 0 {
		job.MaxSeconds = defaultSeconds
	}
	return job, j.takeContent(&job, wanted)
}

// takeContent takes over what the job does, once it is known to make sense.
func (j *Jobs) takeContent(job *Job, wanted request) error {
	switch {
	case job.Type == UpdateTwin && isSet(wanted.UpdateTwin):
		job.UpdateTwin = wanted.UpdateTwin
		_, err := updateEtag(wanted.UpdateTwin)
		if err == nil {
			err = j.Store.CheckTwinPatch(wanted.UpdateTwin)
		}
		return err
	case job.Type == UpdateTwin:
		return invalid("'updateTwin' should be a partial twin, as the type " + string(UpdateTwin) + " takes one")
	case job.Type == DeviceMethod && isSet(wanted.Method):
		job.Method = wanted.Method
		_, err := directmethod.Parse(wanted.Method)
		if refused, ok := errors.AsType[*directmethod.Error](err); ok {
			return refused.Refusal // in a job's own envelope
		}
		return err
	case job.Type == DeviceMethod:
		return invalid("'cloudToDeviceMethod' should be a method call, as the type " + string(DeviceMethod) + " takes one")
	}
	// The hub says no more about a type that it does not know.
	return &store.Error{Status: http.StatusBadRequest, Number: 400000, Code: "GenericBadRequest", Text: "BadRequest"}
}

// updateEtag is the If-Match value of an update of twins: none, or the etag
// that each twin has to have.
func updateEtag(update json.RawMessage) (string, error) {
	var condition struct {
		Etag string `json:"etag"`
	}
	if err := json.Unmarshal(update, &condition); err != nil {
		return "", invalid("'updateTwin' should be a partial twin, and its 'etag' a string")
	}
	if condition.Etag == "" || condition.Etag == "*" {
		return "", nil
	}
	return `"` + condition.Etag + `"`, nil
}

func isSet(value json.RawMessage) bool { return len(value) > 0 && string(value) != "null" }

// names reports whether a body's jobId, if there is one, is the id. Some
// clients have numbers for ids.
func names(value json.RawMessage, id string) bool {
	if !isSet(value) || string(value) == id {
		return true
	}
	var text string
	return json.Unmarshal(value, &text) == nil && text == id
}

// parseStart reads a start time. Some clients leave it out to mean now, others
// send the first moment of the year 1.
func parseStart(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return now, nil
	}
	start, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		// Without a zone it is UTC.
		start, err = time.Parse("2006-01-02T15:04:05", text)
	}
	switch {
	case err != nil:
		return time.Time{}, invalid("'startTime' should be a time such as 2026-11-20T10:00:00Z")
	case start.Year() <= 1:
		return now, nil
	case start.Sub(now) > maxAhead:
		return time.Time{}, invalid("'startTime' should be within 168 hours")
	}
	return start.UTC(), nil
}

var (
	types    = [...]Type{UpdateTwin, DeviceMethod}
	statuses = [...]Status{Queued, Scheduled, Running, Completed, Failed, Cancelled}
)

// ParseFilter reads which jobs a client wants listed; SDKs differ in upper and
// lower case. Refusals are of type *store.Error.
func ParseFilter(jobType, jobStatus string) (Filter, error) {
	var wanted Filter
	for _, known := range types {
		if strings.EqualFold(string(known), jobType) {
			wanted.Type = known
		}
	}
	for _, known := range statuses {
		if strings.EqualFold(string(known), jobStatus) {
			wanted.Status = known
		}
	}
	switch {
	case wanted.Type == "" && jobType != "":
		return Filter{}, invalid(fmt.Sprintf("'jobType' should be one of %q", types))
	case wanted.Status == "" && jobStatus != "":
		return Filter{}, invalid(fmt.Sprintf("'jobStatus' should be one of %q", statuses))
	}
	return wanted, nil
}

func invalid(text string) *store.Error {
	return &store.Error{Status: http.StatusBadRequest, Number: 400004, Code: "ArgumentInvalid", Text: text}
}
