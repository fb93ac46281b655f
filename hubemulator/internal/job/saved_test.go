package job

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testclock "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/count"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

const patience = 10 * time.Second

// hub is a registry with a clock that stands still, and faults.
type hub struct {
	clock *testclock.FakeClock
	store *store.Store
}

func newHub(t *testing.T, devices ...string) hub {
	t.Helper()
	clock := testclock.NewFakeClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	h := hub{clock: clock, store: store.New(store.Options{Clock: clock})}
	for _, id := range devices {
		if _, err := h.store.PutIdentity(store.ID{Device: id}, "", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h hub) jobs(faults *fault.Set) *Jobs {
	return New(Config{Store: h.store, Counters: &count.Set{}, Faults: faults, Clock: h.clock})
}

// start runs jobs until the function that it returns is called.
func start(t *testing.T, jobs *Jobs) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		jobs.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (h hub) etag(t *testing.T, id string) any {
	t.Helper()
	twin, err := h.store.Twin(store.ID{Device: id})
	if err != nil {
		t.Fatal(err)
	}
	return twin.Document()["etag"]
}

const update = `{"type":"scheduleUpdateTwin","updateTwin":{"tags":{"a":1}},"queryCondition":"*"}`

func TestRestoredJobsGoOn(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "a", "b", "c")
	faults := &fault.Set{}
	_, err := faults.Add(fault.Rule{Operation: updateDeviceTwin, DeviceID: "b", Action: fault.Hold}, Operations())
	g.Expect(err).NotTo(HaveOccurred())
	before := h.jobs(faults)
	create := func(id, body string) {
		t.Helper()
		_, err := before.Create(id, []byte(body))
		g.Expect(err).NotTo(HaveOccurred())
	}
	create("cancelled", update)
	_, err = before.Cancel("cancelled")
	g.Expect(err).NotTo(HaveOccurred())
	create("running", update)
	create("later", update[:len(update)-1]+`,"startTime":"2026-11-20T11:00:00Z"}`)
	revision := before.Revision()
	stop := start(t, before)
	g.Eventually(func() any { view, _ := before.Get("running"); return view.Statistics }, patience).Should(
		Equal(&Statistics{Devices: 3, Succeeded: 2, Running: 1}))
	stop()
	g.Expect(before.Revision()).To(BeNumerically(">", revision))

	after := h.jobs(&fault.Set{})
	saved := slices.Collect(before.Saved())
	g.Expect(saved).To(HaveLen(3))
	for _, job := range saved {
		text, err := json.Marshal(job)
		g.Expect(err).NotTo(HaveOccurred())
		var decoded Job
		g.Expect(json.Unmarshal(text, &decoded)).To(Succeed())
		g.Expect(decoded).To(Equal(job), "it is plain data")
		g.Expect(after.Restore(decoded)).To(Succeed())
	}
	g.Expect(after.Restore(saved[2])).To(MatchError(ContainSubstring(`job "later" is out of order, or there twice`)))
	g.Expect(slices.Collect(after.Saved())).To(Equal(saved))

	h.clock.Step(time.Minute)
	defer start(t, after)()
	status := func(id string) func() Status {
		return func() Status { view, _ := after.Get(id); return view.Status }
	}
	g.Eventually(status("running"), patience).Should(Equal(Completed))
	g.Expect(status("cancelled")()).To(Equal(Cancelled))
	g.Expect([]any{h.etag(t, "a"), h.etag(t, "b"), h.etag(t, "c")}).To(Equal([]any{"AAAAAAAAAAI=", "AAAAAAAAAAI=", "AAAAAAAAAAI="}),
		"each device once")
	g.Expect(status("later")()).To(Equal(Scheduled))
	g.Eventually(h.clock.HasWaiters, patience).Should(BeTrue())
	h.clock.Step(time.Hour)
	g.Eventually(status("later"), patience).Should(Equal(Completed))
	view, err := after.Create("next", []byte(update))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(view.Sequence).To(Equal(uint64(4)))
}

// The time that a job may run is counted from when it began, in whichever hub.
func TestRestoredJobIsOutOfTime(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "a")
	jobs := h.jobs(&fault.Set{})
	began := h.clock.Now().Add(-time.Minute)
	g.Expect(jobs.Restore(Job{
		Sequence: 7, ID: "j", Type: UpdateTwin, Status: Running, QueryCondition: "*", UpdateTwin: json.RawMessage(`{"tags":{"a":1}}`),
		Created: began, Start: began, Began: began, MaxSeconds: 60,
		Targeted: true, Devices: []Device{{ID: "a", Status: DevicePending, Created: began, Updated: began}},
	})).To(Succeed())
	defer start(t, jobs)()
	g.Eventually(func() Status { view, _ := jobs.Get("j"); return view.Status }, patience).Should(Equal(Completed))
	view, _ := jobs.Get("j")
	g.Expect(view.Statistics).To(Equal(&Statistics{Devices: 1, Failed: 1}))
	g.Expect(h.etag(t, "a")).To(Equal("AAAAAAAAAAE="))
	g.Expect(jobs.Counters.Snapshot()).To(BeEmpty(), "it was not even tried")
}
