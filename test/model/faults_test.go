package model_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/wait"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// moment is how long a step gives managers to get somewhere. Whether they do is not
// checked: it only makes it likelier that they are met half-way.
const moment = 300 * time.Millisecond

const (
	updateTwin = "updateTwin"
	getTwin    = "getTwin"
	query      = "query"
)

// someFault disturbs what managers do to a device.
func someFault(t *rapid.T, deviceID string) hubemulator.Fault {
	f := hubemulator.Fault{
		Operation: updateTwin, DeviceID: deviceID, Count: rapid.IntRange(1, 3).Draw(t, "count"),
		Action: rapid.SampledFrom([]string{
			hubemulator.FaultDropAnswer, hubemulator.FaultDropAnswer, hubemulator.FaultTruncated, hubemulator.FaultReset,
			hubemulator.FaultStatus, hubemulator.FaultStatus, hubemulator.FaultHold, hubemulator.FaultQueue,
		}).Draw(t, "action"),
	}
	statuses := []int{http.StatusPreconditionFailed, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
	if rapid.IntRange(0, 3).Draw(t, "reads") == 0 {
		f.Operation, statuses = getTwin, statuses[1:]
		if f.Action == hubemulator.FaultQueue {
			f.Action = hubemulator.FaultHold
		}
	}
	if f.Action == hubemulator.FaultStatus {
		f.Status = rapid.SampledFrom(statuses).Draw(t, "status")
	}
	return f
}

func (w *world) disturb(f hubemulator.Fault) string {
	id, err := w.hub.AddFault(f)
	w.Expect(err).NotTo(HaveOccurred())
	if f.Action == hubemulator.FaultQueue {
		w.deviceOf(f.DeviceID).reference.SetQueues(true)
	}
	times := "all"
	if f.Count > 0 {
		times = fmt.Sprint(f.Count)
	}
	w.note("fault: %s %s of %s %s, %d (%s)", f.Action, times, f.Operation, f.DeviceID, f.Status, id)
	return id
}

// calm ends a fault, and waits until what it held has arrived or was dropped.
func (w *world) calm(f hubemulator.FaultState) {
	before := w.calls(f.Operation)
	held := int64(0)
	for _, now := range w.hub.Faults() {
		if now.ID == f.ID {
			held = int64(now.Held)
		}
	}
	w.hub.RemoveFault(f.ID)
	w.Eventually(func() int64 { return w.calls(f.Operation) }, patience, poll).Should(BeNumerically(">=", before+held))
	if f.Action == hubemulator.FaultQueue && !w.queues(f.DeviceID) {
		w.deviceOf(f.DeviceID).reference.SetQueues(false)
	}
	w.note("end of fault %s (%s, hits %d, held %d)", f.ID, f.Action, f.Hits, held)
}

func (w *world) queues(deviceID string) bool {
	for _, f := range w.hub.Faults() {
		if f.Action == hubemulator.FaultQueue && f.DeviceID == deviceID {
			return true
		}
	}
	return false
}

func (w *world) deviceOf(id string) *device {
	for _, d := range w.devices {
		if d.id == id {
			return d
		}
	}
	panic("no device " + id)
}

// awaitHit gives managers a moment to run into a fault.
func (w *world) awaitHit(id string) (hit bool) {
	w.giveMoment(func() bool {
		for _, f := range w.hub.Faults() {
			if f.ID == id && f.Hits == 0 {
				return false
			}
		}
		hit = true // once it is used up it is not listed any more
		return true
	})
	w.note("... hit: %t", hit)
	return hit
}

func (w *world) giveMoment(reached func() bool) { w.give(moment, reached) }

// give waits for something that may as well not come about.
func (w *world) give(atMost time.Duration, reached func() bool) {
	err := wait.PollUntilContextTimeout(w.context(), poll, atMost, true, func(context.Context) (bool, error) { return reached(), nil })
	if err != nil && !wait.Interrupted(err) {
		w.fail(err)
	}
}
