package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func TestATwinIsPushedAndMirrored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"location":{"region":"US","plant":"Redmond43"}}`, `{"power_level":1}`)
	w.create(obj)
	w.awaitReady(obj)

	w.Expect(w.tags("d1")).To(Equal(`{"location":{"plant":"Redmond43","region":"US"}}`))
	w.Expect(w.desired("d1")).To(Equal(`{"power_level":1}`))
	w.Expect(w.calls("updateTwin")).To(Equal(1))
	w.Expect(obj.Status.ETag).To(Equal(w.held("d1")["etag"]))
	w.Expect(obj.Status.DesiredVersion).To(BeEquivalentTo(2))
	w.Expect(obj.Status.Connection.State).To(Equal(v1alpha1.Disconnected))
	w.Expect(obj.Status.Record).NotTo(BeEmpty())
	synced := *obj.GetConditions()
	w.Expect(synced).To(ContainElement(And(HaveField("Type", v1alpha1.ConditionSynced), HaveField("Status", metav1.ConditionTrue))))
}

func TestTheRecordIsWrittenBeforeTheHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: "hold"})
	w.Expect(err).NotTo(HaveOccurred())
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.Eventually(func() string { return w.record(obj) }, patience).ShouldNot(BeEmpty())
	w.Expect(w.tags("d1")).To(Equal("{}"))
	w.hub.RemoveFault(fault)
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Redmond43"}`))
}

func TestDriftOfOwnLeavesIsCorrectedAndOthersStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"location":{"region":"US","plant":"Redmond43"}}`, "")
	w.create(obj)
	w.awaitReady(obj)
	w.anotherWriter("d1", map[string]any{"location": map[string]any{"plant": "Elsewhere", "floor": 2}, "theirs": true})
	w.Eventually(func() string { return w.tags("d1") }, patience, "20ms").
		Should(Equal(`{"location":{"floor":2,"plant":"Redmond43","region":"US"},"theirs":true}`))
	w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix("DriftCorrected restored on the hub: tags.location.plant")))
}

// eventReasons are the events in the test's namespace: reason and note.
func (w *world) eventReasons() []string {
	w.Helper()
	return w.eventsIn(w.ns)
}

func (w *world) eventsIn(namespace string) []string {
	w.Helper()
	var out []string
	for _, e := range w.events(namespace) {
		out = append(out, e.Reason+" "+e.Note)
	}
	return out
}

func (w *world) events(namespace string) []eventsv1.Event {
	w.Helper()
	var events eventsv1.EventList
	w.Expect(w.client.List(w.Context(), &events, client.InNamespace(namespace))).To(Succeed())
	return events.Items
}

func TestALeafThatLeavesTheManifestLeavesTheHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"location":{"region":"US","plant":"Redmond43"},"taken":1}`, `{"limits":{"high":2}}`)
	w.create(obj)
	w.awaitReady(obj)
	w.edit(obj, func() { obj.Spec.Suspend = true })
	w.await(obj, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	w.anotherWriter("d1", map[string]any{"taken": "by another", "theirs": true})
	w.edit(obj, func() {
		obj.Spec.Suspend = false
		obj.Spec.Tags, obj.Spec.Desired = raw(`{"location":{"plant":"Redmond43"}}`), nil
	})
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"location":{"plant":"Redmond43"},"taken":"by another","theirs":true}`))
	w.Expect(w.desired("d1")).To(Equal(`{}`))
	w.Eventually(w.eventReasons, patience).Should(ContainElement(And(HavePrefix("LeftBehind"), HaveSuffix("tags.taken"))))
}

func TestAWriteInBetweenIsReadAndPlannedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awaitReady(w.connect())
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: "hold", Count: 1})
	w.Expect(err).NotTo(HaveOccurred())
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.awaitHeld(1)
	w.anotherWriter("d1", map[string]any{"theirs": 1})
	w.hub.RemoveFault(fault)
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Redmond43","theirs":1}`))
	w.Expect(w.hub.Counters().Operations["updateTwin"].Statuses).To(HaveKeyWithValue("412", BeEquivalentTo(1)))
	// Events arrive when they like.
	writes := slices.DeleteFunc(w.writes(), func(write string) bool { return strings.Contains(write, " events ") })
	w.Expect(writes).To(ConsistOf("patch hubconnections status hub", "patch devicetwins status t1", "patch devicetwins status t1", "patch devicetwins status t1"),
		"one visit, with no status in between; the record is stored before each attempt")
}

func TestATwinThatOthersKeepChangingIsTriedAgainLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: "status", Status: 412, ErrorCode: "PreconditionFailed"})
	w.Expect(err).NotTo(HaveOccurred())
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonContended)
	w.Expect(ready.Message).To(ContainSubstring("each of 4 attempts"))
	w.checkConditions()
	w.hub.RemoveFault(fault)
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Redmond43"}`))
}

// awaitHeld waits until the hub holds so many requests back.
func (w *world) awaitHeld(n int) {
	w.Helper()
	w.Eventually(func() int {
		held := 0
		for _, rule := range w.hub.Faults() {
			held += rule.Held
		}
		return held
	}, patience, "10ms").Should(Equal(n))
}

// letArrive ends a fault that queued a request, and waits until the hub is through with it.
func (w *world) letArrive(fault, operation string) {
	w.Helper()
	before := w.calls(operation) // what is held is not counted yet
	w.hub.RemoveFault(fault)
	w.Eventually(func() int { return w.calls(operation) }, patience, "10ms").Should(BeNumerically(">", before))
}

func TestALostAnswerIsNotWrittenTwice(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, withClock(fake))
	w.connect()
	obj := w.twin("t1", "d1", `{"level":1}`, "")
	w.create(obj)
	w.awaitReady(obj)
	fake.SetTime(fake.Now().Add(3 * time.Minute)) // what a manager before this one sent has arrived
	_, err := w.hub.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: "dropAnswer", Count: 1})
	w.Expect(err).NotTo(HaveOccurred())
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"level":2}`) })
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"level":2}`))
	w.Expect(w.calls("updateTwin")).To(Equal(2))

	// The lost write could still arrive, so the record keeps both values ...
	both := w.record(obj)
	w.awaitReadBacks(2)
	w.Expect(w.record(obj)).To(Equal(both))
	// ... until it cannot any more.
	fake.SetTime(fake.Now().Add(3 * time.Minute))
	w.visitTwin(obj) // as its time does, by the real clock
	w.Eventually(func() int { return len(w.record(obj)) }, patience).Should(Equal(len(both) - 6))
}

func TestALeafLeftBehindIsSaidOnce(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, withClock(fake))
	w.connect()
	obj := w.twin("t1", "d1", `{"taken":1}`, "")
	w.create(obj)
	w.awaitReady(obj)
	w.edit(obj, func() { obj.Spec.Suspend = true })
	w.await(obj, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	w.anotherWriter("d1", map[string]any{"taken": "by another"})
	w.edit(obj, func() { obj.Spec.Suspend, obj.Spec.Tags = false, nil })
	w.awaitReady(obj)
	// A manager before this one may still write the leaf, so it is not given up yet.
	writes := func() int {
		return len(slices.DeleteFunc(w.writes(), func(s string) bool { return !strings.Contains(s, " events ") }))
	}
	w.awaitReadBacks(1)
	before := writes()
	w.awaitReadBacks(3)
	w.Expect(writes()).To(Equal(before), "an event for each read-back")
	fake.SetTime(fake.Now().Add(3 * time.Minute))
	w.visitTwin(obj) // as its time does, by the real clock
	w.Eventually(w.eventReasons, patience).Should(ContainElement(And(HavePrefix("LeftBehind"), HaveSuffix("tags.taken"))))
	w.Expect(w.tags("d1")).To(Equal(`{"taken":"by another"}`))
}

func (w *world) record(obj *v1alpha1.DeviceTwin) string {
	w.Helper()
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
	return obj.Status.Record
}

func TestSteadyStateWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	query := w.query("q", "tags.plant = 'Redmond43'")
	w.create(query)
	// Spelled so that neither the API server nor the hub stores it as written.
	obj := w.twin("t1", "d1", `{ "plant" : "Redmond43", "number": 1.50, "empty": {}, "list": [1.0, {"b":2,"a":1}] }`, `{"z":1e2,"a":{"deep":{}}}`)
	w.create(obj)
	w.awaitReady(obj)
	w.Eventually(w.memberships(obj), patience).Should(ConsistOf("q"))
	w.awaitDevices(query, "d1")
	w.awaitReadBacks(2) // what the story still had to write is written
	patches, writes := w.calls("updateTwin"), w.writes()
	w.awaitReadBacks(5)
	w.Expect(w.calls("updateTwin")).To(Equal(patches))
	w.Expect(w.writes()).To(Equal(writes))
}

func TestARestartWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	query := w.query("q", "tags.plant = 'Redmond43'")
	w.create(query)
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, `{"level":1}`)
	w.create(obj)
	w.awaitReady(obj)
	w.awaitReady(query)
	w.awaitReady(conn)
	w.Eventually(w.memberships(obj), patience).Should(ConsistOf("q"))
	w.awaitDevices(query, "d1")
	w.awaitReadBacks(2)
	w.stop()
	patches, writes := w.calls("updateTwin"), w.writes()
	w.startManager()
	w.awaitReadBacks(3)
	w.Expect(w.calls("updateTwin")).To(Equal(patches))
	w.Expect(w.writes()).To(Equal(writes))
}

func TestDeletingATwinLeavesTheHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(obj.Finalizers).To(BeEmpty())
	w.delete(obj)
	w.Eventually(func() error { return w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj) }, patience).ShouldNot(Succeed())
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Redmond43"}`))
	w.Expect(w.calls("updateTwin")).To(Equal(1))
}

func TestSuspendStopsReadsAndWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	obj.Spec.Suspend = true
	w.create(obj)
	w.await(obj, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	_, err := w.hub.AddDevice("d2")
	w.Expect(err).NotTo(HaveOccurred())
	other := w.twin("t2", "d2", `{"other":1}`, "")
	w.create(other)
	w.awaitReady(other)
	w.awaitReadBacks(3)
	w.Expect(w.tags("d1")).To(Equal(`{}`))
	w.edit(obj, func() { obj.Spec.Suspend = false })
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Redmond43"}`))
}

func TestAConflictIsNamedAndTheRestIsKeptInStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	w.anotherWriter("d1", map[string]any{"location": map[string]any{"building": 7}})
	obj := w.twin("t1", "d1", `{"location":"Redmond","plant":"43"}`, "")
	w.create(obj)
	ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonConflict)
	const named = "tags.location is declared as a value, and the hub holds another writer's tags.location.building below it " +
		`(declared "Redmond", held {"building":7})`
	w.Expect(ready.Message).To(HavePrefix(named))
	w.Expect(w.tags("d1")).To(Equal(`{"location":{"building":7},"plant":"43"}`))
	w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix("Conflict " + named)))

	// What is in step otherwise is restored with a word, and another conflict is said.
	w.anotherWriter("d1", map[string]any{"plant": "44"})
	w.Eventually(w.eventReasons, patience).Should(ContainElement(`DriftCorrected restored on the hub: tags.plant (declared "43", held "44")`))
	w.anotherWriter("d1", map[string]any{"location": map[string]any{"floor": 3}})
	w.Eventually(w.eventReasons, patience).Should(ContainElement(And(
		HavePrefix("Conflict "), ContainSubstring(`another writer's tags.location.building, tags.location.floor below it`))))
	w.anotherWriter("d1", map[string]any{"location": nil})
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"location":"Redmond","plant":"43"}`))
}

// TestEventsAreBoundedAndShowNoCredentials: what people put into a twin does not
// come out in events and conditions when it may be a credential.
func TestEventsAreBoundedAndShowNoCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	theirs := w.credential("iothubowner")
	key := secretPart.FindStringSubmatch(theirs)[1]
	w.anotherWriter("d1", map[string]any{"location": map[string]any{"uplink": theirs}})
	obj := w.twin("t1", "d1", `{"a":"`+theirs+`","b":"`+strings.Repeat("v", 4000)+`","c":{"wifiPassword":"hunter2"},"d":4,"e":5,"f":6,"location":1}`, "")
	w.create(obj)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonConflict)
	w.anotherWriter("d1", map[string]any{"a": key, "b": 1, "c": map[string]any{"wifiPassword": "hunter3"}, "d": 1, "e": 1, "f": 1})
	const hidden = "a value that looks like a credential"
	w.Eventually(w.eventReasons, patience).Should(ContainElements(
		And(HavePrefix("Conflict tags.location is declared as a value"), ContainSubstring("(declared 1, held "+hidden+")")),
		And(HavePrefix("DriftCorrected restored on the hub: tags.a (declared "+hidden+", held "+hidden+"), tags.b (declared \"vvv"),
			ContainSubstring("…, held 1), tags.c.wifiPassword (declared "+hidden+", held "+hidden+"), tags.d (declared 4, held 1), and 2 more")),
	))
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
	told := fmt.Sprint(w.eventReasons(), obj.Status.Conditions)
	for _, secret := range []string{"SharedAccess", key, "hunter"} {
		w.Expect(told).NotTo(ContainSubstring(secret))
	}
	for _, text := range w.eventReasons() {
		w.Expect(len(text)).To(BeNumerically("<=", 1024))
	}
	w.edit(obj, func() { obj.Spec.Tags = nil }) // what the test's end looks for is not a leak here
	w.awaitReady(obj)
}

func TestACopiedRecordAuthorisesNoDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	_, err := w.hub.AddDevice("d2")
	w.Expect(err).NotTo(HaveOccurred())
	first := w.twin("t1", "d1", `{"plant":"Redmond43","extra":1}`, "")
	w.create(first)
	w.awaitReady(first)
	w.anotherWriter("d2", map[string]any{"extra": 1})
	second := w.twin("t2", "d2", `{"plant":"Redmond43"}`, "")
	w.create(second)
	w.setStatus(second, func() { second.Status.Record = first.Status.Record })
	w.awaitReady(second)
	w.Expect(w.tags("d2")).To(Equal(`{"extra":1,"plant":"Redmond43"}`))
}

func TestTheTargetOfATwinIsImmutable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj := w.twin("t1", "d1", "", "")
	w.create(obj)
	for field, change := range map[string]func(*v1alpha1.DeviceTwin){
		"spec.deviceId": func(o *v1alpha1.DeviceTwin) { o.Spec.DeviceID = "d2" },
		"spec.hubRef":   func(o *v1alpha1.DeviceTwin) { o.Spec.HubRef.Namespace = "elsewhere" },
	} {
		changed := obj.DeepCopy()
		change(changed)
		// Not an update: the manager's status may be newer.
		w.Expect(w.client.Patch(w.Context(), changed, client.MergeFrom(obj))).To(MatchError(ContainSubstring(field)))
	}
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotFound)
}

func TestReportedPropertiesAreMirroredWithinBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", "", "")
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(obj.Status.Record).To(BeEmpty(), "nothing is owned")
	big := strings.Repeat("x", 4000)
	w.report("d1", fmt.Sprintf(`{"connectivity":"cellular","a":%q,"b":%q}`, big, big))
	w.Eventually(func() string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		return obj.Status.Connectivity
	}, patience).Should(Equal("cellular"))
	w.Expect(obj.Status.ReportedTruncated).To(ContainSubstring("1 of 3 top-level keys are left out"))
	w.Expect(len(obj.Status.Reported.Raw)).To(BeNumerically("<=", 4096))
	w.Expect(string(obj.Status.Reported.Raw)).To(And(ContainSubstring(`"connectivity":"cellular"`), Not(ContainSubstring("$"))))
}

func TestMembershipsFollowTheHubsAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	plant := w.query("plant", "tags.plant = 'Redmond43'")
	cellular := w.query("plant-cellular", "tags.plant = 'Redmond43' AND properties.reported.connectivity = 'cellular'")
	w.create(plant)
	w.create(cellular)
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	memberships := w.memberships(obj)
	w.Eventually(memberships, patience).Should(Equal([]string{"plant"}))
	w.report("d1", `{"connectivity":"cellular"}`)
	w.Eventually(memberships, patience).Should(Equal([]string{"plant", "plant-cellular"}))
	w.awaitDevices(cellular, "d1")
	w.Expect(*cellular.Status.Count).To(BeEquivalentTo(1))
	w.delete(plant)
	w.Eventually(memberships, patience).Should(Equal([]string{"plant-cellular"}))
	w.edit(cellular, func() { cellular.Spec.Where = "tags.plant =" })
	w.await(cellular, metav1.ConditionFalse, v1alpha1.ReasonInvalidQuery)
	w.Eventually(memberships, patience).Should(BeEmpty())
}

func TestAQueryOverSeveralPagesCountsEachDeviceOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	var ids []string
	for i := range 250 {
		id := fmt.Sprintf("page-%03d", i)
		_, err := w.hub.AddDevice(id)
		w.Expect(err).NotTo(HaveOccurred())
		ids = append(ids, id)
	}
	query := w.query("pages", "STARTSWITH(deviceId, 'page-')")
	w.create(query)
	w.awaitReady(query)
	w.Expect(*query.Status.Count).To(BeEquivalentTo(250))
	w.Expect(query.Status.Devices).To(Equal(ids[:100]))
	w.Expect(slices.IsSorted(query.Status.Devices)).To(BeTrue())
	w.Expect(w.calls("query")).To(BeNumerically(">=", 3))
}

// report plays the device over the hub's own store.
func (w *world) report(device, patch string) {
	w.Helper()
	_, err := w.hub.Report(device, []byte(patch))
	w.Expect(err).NotTo(HaveOccurred())
}

func TestARecordIsLookedAtAgainBeforeASecondAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"a":1}`, "")
	w.create(obj)
	w.awaitReady(obj)
	settled := obj.Status.Record
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: hubemulator.FaultHold, Count: 1})
	w.Expect(err).NotTo(HaveOccurred())
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"a":1,"b":2}`) })
	w.awaitHeld(1)
	w.anotherWriter("d1", map[string]any{"c": 3})
	// And a manager that runs at the same time settles it.
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"a":1}`) })
	w.setStatus(obj, func() { obj.Status.Record = settled })
	w.hub.RemoveFault(fault)
	w.awaitReady(obj)
	w.awaitReadBacks(2)
	w.Expect(w.tags("d1")).To(Equal(`{"a":1,"c":3}`), "nothing is left that no record knows of")
}
