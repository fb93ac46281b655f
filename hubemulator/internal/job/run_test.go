package job

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
)

func TestDevicesAtTheSameTime(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	devices := make([]string, 130)
	for i := range devices {
		devices[i] = fmt.Sprintf("d%03d", i)
	}
	h := newHub(t, devices...)
	faults := &fault.Set{}
	held, err := faults.Add(fault.Rule{Operation: updateDeviceTwin, Action: fault.Hold}, Operations())
	g.Expect(err).NotTo(HaveOccurred())
	jobs := h.jobs(faults)
	_, err = jobs.Create("j", []byte(update))
	g.Expect(err).NotTo(HaveOccurred())
	defer start(t, jobs)()
	statistics := func() *Statistics { view, _ := jobs.Get("j"); return view.Statistics }
	g.Eventually(statistics, patience).Should(Equal(&Statistics{Devices: 130, Running: 100, Pending: 30}))
	g.Consistently(statistics, "50ms").Should(Equal(&Statistics{Devices: 130, Running: 100, Pending: 30}))
	faults.Remove(held)
	g.Eventually(statistics, patience).Should(Equal(&Statistics{Devices: 130, Succeeded: 130}))
}

// A device that waits for one of the others to be done with is not begun with
// when the time is over.
func TestDeviceThatComesTooLate(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	devices := make([]string, 101)
	for i := range devices {
		devices[i] = fmt.Sprintf("d%03d", i)
	}
	h := newHub(t, devices...)
	faults := &fault.Set{}
	_, err := faults.Add(fault.Rule{Operation: updateDeviceTwin, Count: 100, Action: fault.Hold}, Operations())
	g.Expect(err).NotTo(HaveOccurred())
	jobs := h.jobs(faults)
	_, err = jobs.Create("j", []byte(update))
	g.Expect(err).NotTo(HaveOccurred())
	defer start(t, jobs)()
	statistics := func() *Statistics { view, _ := jobs.Get("j"); return view.Statistics }
	g.Eventually(statistics, patience).Should(Equal(&Statistics{Devices: 101, Running: 100, Pending: 1}))
	h.clock.Step(defaultSeconds * time.Second)
	g.Eventually(statistics, patience).Should(Equal(&Statistics{Devices: 101, Failed: 101}))
	g.Expect(h.etag(t, "d100")).To(Equal("AAAAAAAAAAE="))
}
