package job

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/directmethod"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// What jobs do to one device, as counters and faults name it.
const (
	updateDeviceTwin   = "jobUpdateTwin"
	invokeDeviceMethod = "jobInvokeMethod"
)

// Operations returns what jobs do to one device.
func Operations() []fault.Operation {
	return []fault.Operation{{Name: updateDeviceTwin}, {Name: invokeDeviceMethod}}
}

// unanswered stands for the status of what was not finished.
const unanswered = 0

func (j *Job) operation() string {
	if j.Type == DeviceMethod {
		return invokeDeviceMethod
	}
	return updateDeviceTwin
}

// runDevice does to a device what the job is for.
func (j *Jobs) runDevice(ctx context.Context, job Job, deviceID string) {
	j.updateDevice(job.ID, deviceID, func(d *Device) { d.Status = DeviceRunning })
	counted := j.Counters.Begin(job.operation())
	result, err := j.apply(ctx, job, deviceID)
	if err != nil && ctx.Err() != nil {
		counted.End(unanswered)
		return
	}
	counted.End(statusOf(err))
	j.updateDevice(job.ID, deviceID, func(d *Device) {
		d.Status, d.Result = DeviceCompleted, result
		if err != nil {
			d.Status, d.Error = DeviceFailed, asError(err)
		}
	})
}

// apply takes the job through faults and the daily quota to a device.
func (j *Jobs) apply(ctx context.Context, job Job, deviceID string) (*Result, error) {
	verdict, err := j.Faults.Apply(ctx, job.operation(), deviceID)
	if err != nil {
		return nil, err
	}
	switch verdict.Action {
	case fault.Status:
		return nil, verdict.Refusal(throttle.JobDevice)
	case fault.MQTTDrop:
		j.Store.CutConnections(deviceID)
	default: // the others were applied by waiting, or are of requests
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := j.Limits.CheckQuota(); err != nil {
		return nil, err
	}
	if job.Type == DeviceMethod {
		return j.invoke(ctx, job, deviceID)
	}
	ifMatch, err := updateEtag(job.UpdateTwin)
	if err != nil {
		return nil, err
	}
	if _, err := j.Store.PatchTwin(store.ID{Device: deviceID}, ifMatch, job.UpdateTwin); err != nil {
		return nil, err
	}
	j.bill(job, len(job.UpdateTwin))
	return nil, nil //nolint:nilnil // an update has no result
}

func (j *Jobs) invoke(ctx context.Context, job Job, deviceID string) (*Result, error) {
	request, err := directmethod.Parse(job.Method)
	if err != nil {
		return nil, err
	}
	caller := directmethod.Caller{Store: j.Store, Clock: j.Clock}
	answer, err := caller.Call(ctx, store.ID{Device: deviceID}, request)
	if err != nil {
		return nil, err
	}
	result := Result(answer)
	text, err := json.Marshal(result)
	if err != nil {
		return nil, err
	}
	j.bill(job, len(job.Method), len(text))
	return &result, nil
}

// bill takes what a job cost on one device from the daily quota.
func (j *Jobs) bill(job Job, sizes ...int) {
	j.Counters.Bill(job.operation(), j.Limits.Bill(sizes...))
}

func statusOf(err error) int {
	if err == nil {
		return http.StatusOK
	}
	if refused, ok := errors.AsType[*store.Error](err); ok {
		return refused.Status
	}
	return http.StatusInternalServerError
}
