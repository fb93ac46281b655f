package job

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/directmethod"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// maxConcurrent is on how many devices a job works at the same time, at most:
// enough that slow devices hardly delay the others.
const maxConcurrent = 100

// Run starts jobs when it is their time, until ctx ends; then it leaves the
// unfinished ones as they are and returns once nothing works on them any more.
func (j *Jobs) Run(ctx context.Context) {
	var working sync.WaitGroup
	defer working.Wait()
	for ctx.Err() == nil {
		due, next := j.due()
		for _, id := range due {
			working.Go(func() { j.run(ctx, id) })
		}
		j.await(ctx, next)
	}
}

// due marks the jobs running whose time has come and returns their ids, and
// when the next one is due; zero when none is. A job that was running when the
// hub was last saved is among them.
func (j *Jobs) due() (ids []string, next time.Time) {
	now := j.Clock.Now().UTC()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, job := range j.inOrder {
		switch {
		case j.working[job.ID], !job.Status.active():
			continue
		case job.Status.waiting() && job.Start.After(now):
			job.Status = Scheduled
			if next.IsZero() || job.Start.Before(next) {
				next = job.Start
			}
			continue
		case job.Status.waiting():
			job.Status, job.Began = Running, now
		}
		j.working[job.ID] = true
		j.revision++
		ids = append(ids, job.ID)
	}
	return ids, next
}

// await returns when a job may be due: at a time, unless it is zero, and after
// every change.
func (j *Jobs) await(ctx context.Context, next time.Time) {
	var over <-chan time.Time
	if !next.IsZero() {
		timer := j.Clock.NewTimer(next.Sub(j.Clock.Now()))
		defer timer.Stop()
		if over = timer.C(); !j.Clock.Now().Before(next) {
			return // the clock went on before the timer was there
		}
	}
	select {
	case <-over:
	case <-j.changed:
	case <-ctx.Done():
	}
}

// run works on a job until it has ended, or ctx has.
func (j *Jobs) run(ctx context.Context, id string) {
	job := j.snapshot(id)
	bounded, cancel := directmethod.Within(ctx, j.Clock, job.Began.Add(job.maxExecution()).Sub(j.Clock.Now()))
	defer cancel()
	if !job.Targeted {
		condition, err := j.parseCondition(job.QueryCondition)
		if err != nil {
			j.update(id, func(job *Job) {
				job.Status, job.FailureReason = Failed, fmt.Sprintf("The query condition cannot be read: %v", err)
			})
			return
		}
		j.target(id, condition)
		job = j.snapshot(id)
	}
	var devices errgroup.Group
	devices.SetLimit(maxConcurrent)
	for _, device := range job.Devices {
		if device.Status == DeviceCompleted || device.Status == DeviceFailed {
			continue
		}
		if err := j.Limits.Wait(bounded, throttle.JobDevice); err != nil || bounded.Err() != nil {
			break // the time is over
		}
		devices.Go(func() error {
			j.runDevice(bounded, job, device.ID)
			return nil
		})
	}
	_ = devices.Wait() // what became of a device is in the job
	if ctx.Err() == nil {
		j.finish(id)
	}
}

// parseCondition returns nil for all devices.
func (j *Jobs) parseCondition(text string) (*query.Condition, error) {
	if text == "*" {
		return nil, nil //nolint:nilnil // nil takes everything
	}
	return j.Dialect.ParseCondition(text)
}

// target finds the devices that a job is for, as queries see them now.
func (j *Jobs) target(id string, condition *query.Condition) {
	now := j.Clock.Now().UTC()
	var devices []Device
	for found, twin := range j.Store.Scan(store.Devices, store.ID{}) {
		if condition == nil || condition.Selects(twin) {
			devices = append(devices, Device{ID: found.Device, Status: DevicePending, Created: now, Updated: now})
		}
	}
	j.update(id, func(job *Job) { job.Targeted, job.Devices = true, devices })
}

// finish ends a job that was worked on for long enough. What it did not get
// done has failed.
func (j *Jobs) finish(id string) {
	now := j.Clock.Now().UTC()
	j.update(id, func(job *Job) {
		job.Status = Completed
		for i := range job.Devices {
			device := &job.Devices[i]
			if device.Status == DevicePending || device.Status == DeviceRunning {
				device.Status, device.Updated = DeviceFailed, now
				device.Error = &Error{Code: "GenericTimeout", Description: "The job's maximum execution time was over first."}
				job.StatusMessage = fmt.Sprintf("The maximum execution time of %d seconds is over.", job.MaxSeconds)
			}
		}
	})
}

// snapshot copies a job as it is now.
func (j *Jobs) snapshot(id string) Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.byID[id].clone()
}

// update changes a running job.
func (j *Jobs) update(id string, change func(*Job)) {
	now := j.Clock.Now().UTC()
	j.mu.Lock()
	defer j.mu.Unlock()
	job := j.byID[id]
	change(job)
	if !job.Status.active() {
		job.End = now
		delete(j.working, id)
	}
	j.revision++
}

// updateDevice notes what became of a running job on a device.
func (j *Jobs) updateDevice(id, deviceID string, change func(*Device)) {
	now := j.Clock.Now().UTC()
	j.update(id, func(job *Job) {
		i, _ := job.findDevice(deviceID) // it is one of the job's own
		change(&job.Devices[i])
		job.Devices[i].Updated = now
	})
}

// asError words why a job failed on a device.
func asError(err error) *Error {
	if refused, ok := errors.AsType[*store.Error](err); ok {
		return &Error{Code: refused.Code, Description: refused.Text}
	}
	return &Error{Code: "ServerError", Description: err.Error()}
}
