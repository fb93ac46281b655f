package job

import (
	"bytes"
	"encoding/json"
	"iter"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// Position is where a row is among those of all jobs.
type Position struct {
	Sequence uint64 // of the job
	Device   string
}

// Row is what became of one job on one device.
type Row struct {
	Position
	job    Job // without its devices
	device Device
}

// scanned is how many rows are copied at a time, so that jobs never wait for a
// whole query.
const scanned = 256

// Rows yields what became of all jobs on all their devices, behind a position:
// by job in the order of creation, then by device. Jobs that have not started
// have none. No lock is held while the caller looks at a row.
func (j *Jobs) Rows(after Position) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for {
			rows := j.rows(after)
			for _, row := range rows {
				if !yield(row) {
					return
				}
			}
			if len(rows) == 0 {
				return
			}
			after = rows[len(rows)-1].Position
		}
	}
}

func (j *Jobs) rows(after Position) []Row {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forget(j.Clock.Now())
	var rows []Row
	for _, job := range j.behind(after.Sequence - min(1, after.Sequence)) {
		next, found := 0, false
		if job.Sequence == after.Sequence {
			next, found = job.findDevice(after.Device)
		}
		if found {
			next++
		}
		shown := job.header()
		for _, device := range job.Devices[next:min(len(job.Devices), next+scanned-len(rows))] {
			rows = append(rows, Row{Position{job.Sequence, device.ID}, shown, device})
		}
		if len(rows) == scanned {
			break
		}
	}
	return rows
}

// Document is the row as queries see it. The times of start and end are those
// of the job's time to run, and without a zone: that is how IoT Hub documents
// them.
func (r Row) Document() map[string]any {
	document := map[string]any{
		"deviceId":               r.device.ID,
		"jobId":                  r.job.ID,
		"jobType":                string(r.job.Type),
		"status":                 string(r.device.Status),
		"startTimeUtc":           withoutZone(r.job.Start),
		"endTimeUtc":             withoutZone(r.job.Start.Add(r.job.maxExecution())),
		"createdDateTimeUtc":     twindoc.FormatTime(r.device.Created),
		"lastUpdatedDateTimeUtc": twindoc.FormatTime(r.device.Updated),
	}
	if r.device.Error != nil {
		document["error"] = map[string]any{"code": r.device.Error.Code, "description": r.device.Error.Description}
	}
	if r.device.Status == DeviceCompleted {
		document["outcome"] = map[string]any{"deviceMethodResponse": r.device.Result.document()}
	}
	return document
}

// document is nil for what was no direct method.
func (r *Result) document() any {
	if r == nil {
		return nil
	}
	var payload any
	decoder := json.NewDecoder(bytes.NewReader(r.Payload))
	decoder.UseNumber()
	_ = decoder.Decode(&payload) // whatever becomes a Result is JSON
	return map[string]any{"status": r.Status, "payload": payload}
}

func withoutZone(t time.Time) string {
	text := twindoc.FormatTime(t)
	return text[:len(text)-len("Z")]
}
