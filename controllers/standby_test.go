package controllers_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// TestAStandbyWaitsForWhatItsPredecessorSent, however long it has been there itself.
func TestAStandbyWaitsForWhatItsPredecessorSent(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, withClock(fake))
	elect := w.standBy()
	w.connect()
	obj := w.twin("t1", "d1", `{"a":1}`, "")
	w.create(obj)
	w.awaitReady(obj)
	fake.SetTime(fake.Now().Add(time.Hour))
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: hubemulator.FaultQueue, Count: 1})
	w.Expect(err).NotTo(HaveOccurred())
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"a":1,"b":2}`) })
	w.awaitHeld(1)
	w.stop()
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"a":1}`) })
	elect()
	w.awaitReady(obj)
	w.letArrive(fault, "updateTwin")
	fake.SetTime(fake.Now().Add(3 * time.Minute))
	w.visitTwin(obj)
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"a":1}`), "its record still says who wrote the other")
}
