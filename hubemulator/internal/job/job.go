// Package job schedules and runs the jobs of an emulated hub: updates of many
// twins, and direct methods of many devices.
package job

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Type is what a job does to each device.
type Type string

// The types of scheduled jobs.
const (
	UpdateTwin   Type = "scheduleUpdateTwin"
	DeviceMethod Type = "scheduleDeviceMethod"
)

// Status is how far a job is.
type Status string

// The states of a job. Queued is a job that was just created, and scheduled one
// that waits for its start time.
const (
	Queued    Status = "queued"
	Scheduled Status = "scheduled"
	Running   Status = "running"
	Completed Status = "completed"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// waiting tells the states before a job has started.
func (s Status) waiting() bool { return s == Queued || s == Scheduled }

// active tells the states in which a job counts against the hub's limit.
func (s Status) active() bool { return s.waiting() || s == Running }

// DeviceStatus is how far a job is with one device.
type DeviceStatus string

// The states of a job on one device.
const (
	DevicePending   DeviceStatus = "pending"
	DeviceRunning   DeviceStatus = "running"
	DeviceCompleted DeviceStatus = "completed"
	DeviceFailed    DeviceStatus = "failed"
)

// Job is all that the hub knows of one job. It is plain data.
type Job struct {
	// Sequence orders the jobs of a hub by their creation, from 1.
	Sequence       uint64 `json:"sequence"`
	ID             string `json:"jobId"`
	Type           Type   `json:"type"`
	Status         Status `json:"status"`
	QueryCondition string `json:"queryCondition"`
	// UpdateTwin and Method are the job's content as it was sent; one of them
	// is set.
	UpdateTwin json.RawMessage `json:"updateTwin,omitempty"`
	Method     json.RawMessage `json:"cloudToDeviceMethod,omitempty"`
	// Start is when the job was to begin, and Began when it did.
	Created time.Time `json:"created"`
	Start   time.Time `json:"start"`
	Began   time.Time `json:"began,omitzero"`
	End     time.Time `json:"end,omitzero"`
	// MaxSeconds is how long the job may run.
	MaxSeconds    int64  `json:"maxExecutionTimeInSeconds"`
	FailureReason string `json:"failureReason,omitempty"`
	StatusMessage string `json:"statusMessage,omitempty"`
	// Targeted says that Devices are all the devices that the job is for, in
	// the order of their ids.
	Targeted bool     `json:"targeted,omitempty"`
	Devices  []Device `json:"devices,omitempty"`
}

// Device is what became of a job on one device.
type Device struct {
	ID      string       `json:"deviceId"`
	Status  DeviceStatus `json:"status"`
	Created time.Time    `json:"created"`
	Updated time.Time    `json:"updated"`
	// Result is what the device answered to a direct method.
	Result *Result `json:"result,omitempty"`
	// Error is why it failed.
	Error *Error `json:"error,omitempty"`
}

// Result is a device's answer to a direct method.
type Result struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

// Error is why a job failed on a device.
type Error struct {
	Code        string `json:"code"`
	Description string `json:"description"`
}

// Statistics counts a job's devices by what became of them.
type Statistics struct {
	Devices   int `json:"deviceCount"`
	Failed    int `json:"failedCount"`
	Succeeded int `json:"succeededCount"`
	Running   int `json:"runningCount"`
	Pending   int `json:"pendingCount"`
}

func (j *Job) statistics() Statistics {
	counted := Statistics{Devices: len(j.Devices)}
	for i := range j.Devices {
		switch j.Devices[i].Status {
		case DeviceFailed:
			counted.Failed++
		case DeviceCompleted:
			counted.Succeeded++
		case DeviceRunning:
			counted.Running++
		case DevicePending:
			counted.Pending++
		}
	}
	return counted
}

// header is the job without its devices.
func (j *Job) header() Job {
	header := *j
	header.Devices = nil
	return header
}

// clone is a copy that changes of the job leave alone.
func (j *Job) clone() Job {
	cloned := *j
	cloned.Devices = slices.Clone(j.Devices)
	return cloned
}

// maxExecution is how long the job may run.
func (j *Job) maxExecution() time.Duration { return time.Duration(j.MaxSeconds) * time.Second }

// findDevice returns where a device is, or belongs, among the job's.
func (j *Job) findDevice(id string) (int, bool) {
	return slices.BinarySearchFunc(j.Devices, id, func(d Device, id string) int { return strings.Compare(d.ID, id) })
}
