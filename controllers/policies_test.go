package controllers_test

import (
	"encoding/json"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// condition is one of an object's conditions as it is now, nil if it is absent.
func (w *world) condition(obj kstatus.Object, kind string) *metav1.Condition {
	w.Helper()
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
	return meta.FindStatusCondition(*obj.GetConditions(), kind)
}

// awaitCondition waits until a condition has a reason; "" until it is absent.
func (w *world) awaitCondition(obj kstatus.Object, kind, reason string) *metav1.Condition {
	w.Helper()
	var found *metav1.Condition
	w.Eventually(func() string {
		if found = w.condition(obj, kind); found == nil {
			return ""
		}
		return found.Reason
	}, patience, "20ms").Should(Equal(reason), func() string { return ptr.Deref(found, metav1.Condition{}).Message })
	return found
}

// reconcileNow asks for a reconcile at once and waits until it was made.
func (w *world) reconcileNow(obj client.Object, handled func() string) {
	w.Helper()
	asked := time.Now().Format(time.RFC3339Nano)
	w.edit(obj, func() {
		annotations := obj.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[v1alpha1.ReconcileAtAnnotation] = asked
		obj.SetAnnotations(annotations)
	})
	w.Eventually(func() string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		return handled()
	}, patience, "20ms").Should(Equal(asked))
}

func (w *world) visitTwin(obj *v1alpha1.DeviceTwin) {
	w.Helper()
	w.reconcileNow(obj, func() string { return obj.Status.LastHandledReconcileAt })
}

func (w *world) plannedPatch(obj *v1alpha1.DeviceTwin) string {
	w.Helper()
	w.Expect(obj.Status.Plan).NotTo(BeNil())
	return string(obj.Status.Plan.Patch.Raw)
}

func TestObserveShowsThePlanAndWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	w.anotherWriter("d1", map[string]any{"plant": "Elsewhere"})
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, `{"level":1}`)
	obj.Spec.Policy = v1alpha1.PolicyObserve
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(w.plannedPatch(obj)).To(Equal(`{"properties":{"desired":{"level":1}},"tags":{"plant":"Redmond43"}}`))
	w.Expect(obj.Status.Plan.Changes).To(BeEquivalentTo(2))
	drifted := w.awaitCondition(obj, v1alpha1.ConditionDrifted, v1alpha1.ReasonObserved)
	w.Expect(drifted.Message).To(ContainSubstring(`tags.plant (declared "Redmond43", held "Elsewhere")`))
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Elsewhere"}`))
	w.Expect(w.calls("updateTwin")).To(Equal(1), "that of another writer")
	w.Expect(obj.Status.Record).To(BeEmpty(), "nothing is claimed")

	w.edit(obj, func() { obj.Spec.Policy = v1alpha1.PolicyEnforce })
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Redmond43"}`))
	w.Expect(obj.Status.Plan).To(BeNil())
	w.awaitCondition(obj, v1alpha1.ConditionDrifted, "")
}

func TestYieldLeavesAnothersValueAndWritesAnEditOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"plant":"Redmond43","owner":"us"}`, "")
	obj.Spec.Policies = []v1alpha1.PathPolicy{{Path: "tags.owner", Policy: v1alpha1.PolicyYield}}
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"owner":"us","plant":"Redmond43"}`))
	w.anotherWriter("d1", map[string]any{"owner": "them", "plant": "Elsewhere"})
	w.awaitCondition(obj, v1alpha1.ConditionDrifted, v1alpha1.ReasonYielded)
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"owner":"them","plant":"Redmond43"}`))

	w.edit(obj, func() { obj.Spec.Tags = raw(`{"plant":"Redmond43","owner":"us again"}`) })
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"owner":"us again","plant":"Redmond43"}`))
	w.awaitCondition(obj, v1alpha1.ConditionDrifted, "")
	w.anotherWriter("d1", map[string]any{"owner": "them"})
	w.awaitCondition(obj, v1alpha1.ConditionDrifted, v1alpha1.ReasonYielded)
	writes := w.calls("updateTwin")
	w.awaitReadBacks(2)
	w.Expect(w.calls("updateTwin")).To(Equal(writes))
	w.Expect(w.tags("d1")).To(ContainSubstring(`"owner":"them"`))
}

func TestALeafThatIsFoughtOverIsRestoredEverMoreSlowly(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, withClock(fake))
	w.connect()
	obj := w.twin("t1", "d1", `{"plant":"Redmond43","quiet":1}`, "")
	w.create(obj)
	w.awaitReady(obj)
	theirs := map[string]any{"plant": "Elsewhere"}
	for range 2 {
		w.anotherWriter("d1", theirs)
		w.Eventually(func() string { return w.tags("d1") }, patience, "20ms").Should(Equal(`{"plant":"Redmond43","quiet":1}`))
	}
	w.visitTwin(obj)
	w.Expect(w.condition(obj, v1alpha1.ConditionContended)).To(BeNil(), "twice is no war")
	w.anotherWriter("d1", map[string]any{"plant": "Elsewhere", "quiet": 2})
	contended := w.awaitCondition(obj, v1alpha1.ConditionContended, v1alpha1.ReasonContended)
	w.Expect(contended.Message).To(ContainSubstring(`tags.plant (declared "Redmond43", held "Elsewhere")`))
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonContended)
	w.awaitCondition(obj, v1alpha1.ConditionDrifted, v1alpha1.ReasonContended)
	w.checkConditions()
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Elsewhere","quiet":1}`), "the quiet leaf is restored at once")
	w.Expect(w.plannedPatch(obj)).To(Equal(`{"tags":{"plant":"Redmond43"}}`))
	writes := w.calls("updateTwin")
	w.visitTwin(obj)
	w.Expect(w.calls("updateTwin")).To(Equal(writes), "not again within a minute")

	fake.SetTime(fake.Now().Add(61 * time.Second))
	w.visitTwin(obj)
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Redmond43","quiet":1}`))
	w.awaitCondition(obj, v1alpha1.ConditionContended, v1alpha1.ReasonContended) // it is not over yet
	w.anotherWriter("d1", theirs)
	fake.SetTime(fake.Now().Add(61 * time.Second))
	w.visitTwin(obj)
	w.Expect(w.tags("d1")).To(ContainSubstring("Elsewhere"), "two minutes now")
	fake.SetTime(fake.Now().Add(60 * time.Second))
	w.visitTwin(obj)
	w.Expect(w.tags("d1")).To(ContainSubstring("Redmond43"))
	fake.SetTime(fake.Now().Add(3 * time.Hour))
	w.visitTwin(obj)
	w.awaitCondition(obj, v1alpha1.ConditionContended, "")
}

func TestAReadOnlyHubShowsWhatItWouldWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	w.awaitReady(conn)
	w.edit(conn, func() { conn.Spec.Mode = v1alpha1.ModeReadOnly })
	w.awaitReady(conn)
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubReadOnly)
	w.Expect(w.plannedPatch(obj)).To(Equal(`{"tags":{"plant":"Redmond43"}}`))
	w.Expect(w.calls("updateTwin")).To(BeZero())
	w.Expect(obj.Status.Record).To(BeEmpty())
	w.checkConditions()
	w.edit(conn, func() { conn.Spec.Mode = v1alpha1.ModeReadWrite })
	w.awaitReady(obj)
	w.Expect(w.tags("d1")).To(Equal(`{"plant":"Redmond43"}`))
}

func TestTheGuardStopsABadCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	w.edit(conn, func() { conn.Spec.Guard = &v1alpha1.Guard{MaxChangesPerHour: 2} })
	w.awaitReady(conn)
	var twins []*v1alpha1.DeviceTwin
	for _, name := range []string{"g1", "g2", "g3", "g4"} {
		_, err := w.hub.AddDevice(name)
		w.Expect(err).NotTo(HaveOccurred())
		obj := w.twin(name, name, `{"bad":true}`, "")
		w.create(obj)
		twins = append(twins, obj)
	}
	changed := func() int {
		n := 0
		for _, obj := range twins {
			if w.tags(obj.Spec.DeviceID) != "{}" {
				n++
			}
		}
		return n
	}
	paused := w.awaitCondition(conn, v1alpha1.ConditionPaused, v1alpha1.ReasonGuardTripped)
	w.Eventually(func() int32 {
		paused = w.condition(conn, v1alpha1.ConditionPaused)
		return conn.Status.Guard.Waiting
	}, patience, "50ms").Should(BeEquivalentTo(2))
	w.Expect(paused.Message).To(And(HavePrefix("2 twins were changed within an hour"), ContainSubstring("2 more wait")))
	w.Eventually(w.eventReasons, patience).Should(ContainElement(HavePrefix("GuardTripped")))
	w.Expect(changed()).To(Equal(2))
	// A restart lets nothing through.
	w.stop()
	w.startManager()
	w.awaitReadBacks(4)
	w.Expect(changed()).To(Equal(2))
	waiting := 0
	for _, obj := range twins {
		if w.condition(obj, v1alpha1.ConditionReady).Reason == v1alpha1.ReasonHubPaused {
			waiting++
		}
	}
	w.Expect(waiting).To(Equal(2))
	w.checkConditions()

	w.edit(conn, func() { conn.Annotations = map[string]string{v1alpha1.GuardResetAnnotation: "now"} })
	for _, obj := range twins {
		w.awaitReady(obj)
	}
	w.Expect(changed()).To(Equal(4))
	w.awaitCondition(conn, v1alpha1.ConditionPaused, "")
	w.Expect(conn.Status.Guard.LastHandledReset).To(Equal("now"))
}

func TestADeletedTwinDoesNotWaitForTheGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	w.edit(conn, func() { conn.Spec.Guard = &v1alpha1.Guard{MaxChangesPerHour: 1} })
	w.awaitReady(conn)
	_, err := w.hub.AddDevice("d2")
	w.Expect(err).NotTo(HaveOccurred())
	first, second := w.twin("t1", "d1", `{"a":1}`, ""), w.twin("t2", "d2", `{"a":1}`, "")
	w.create(first)
	w.awaitReady(first)
	w.create(second)
	w.await(second, metav1.ConditionFalse, v1alpha1.ReasonHubPaused)
	waiting := func() int32 {
		w.Expect(w.condition(conn, v1alpha1.ConditionReady)).NotTo(BeNil())
		return ptr.Deref(conn.Status.Guard, v1alpha1.GuardStatus{}).Waiting
	}
	w.Eventually(waiting, patience, "50ms").Should(BeEquivalentTo(1))
	w.delete(second)
	w.Eventually(waiting, patience, "50ms").Should(BeEquivalentTo(0))
}

func TestAcknowledgedFollowsTheDevice(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, withClock(fake))
	w.connect()
	obj := w.twin("t1", "d1", "", `{"level":1,"mode":{"fan":"low"}}`)
	obj.Spec.AcknowledgeTimeout.Duration = time.Hour
	w.create(obj)
	w.awaitReady(obj)
	unknown := w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, v1alpha1.ReasonNeverReported)
	w.Expect(unknown.Status).To(Equal(metav1.ConditionUnknown))
	w.report("d1", `{"level":1}`)
	awaiting := w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, v1alpha1.ReasonAwaitingDevice)
	w.Expect(awaiting.Message).To(HaveSuffix("desired.mode.fan"))
	w.report("d1", `{"mode":{"fan":{"value":"low","ac":200,"av":2}}}`)
	w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, v1alpha1.ReasonAcknowledged)
	w.Expect(w.condition(obj, v1alpha1.ConditionReady).Status).To(Equal(metav1.ConditionTrue))

	w.edit(obj, func() { obj.Spec.Desired = raw(`{"level":1,"mode":{"fan":"high"}}`) })
	w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, v1alpha1.ReasonAwaitingDevice) // the ack is of an older version
	w.report("d1", `{"mode":{"fan":{"ac":406,"av":3,"ad":"too loud"}}}`)
	refused := w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, v1alpha1.ReasonRejectedByDevice)
	w.Expect(refused.Message).To(ContainSubstring(`desired.mode.fan with code 406 ("too loud")`))
	w.edit(obj, func() { obj.Spec.Desired = raw(`{"level":2,"mode":{"fan":"low"}}`) })
	w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, v1alpha1.ReasonAwaitingDevice)
	w.report("d1", `{"mode":{"fan":{"ac":202,"av":4,"ad":"spinning down"}}}`)
	w.Eventually(func() string { return w.condition(obj, v1alpha1.ConditionAcknowledged).Message }, patience, "20ms").Should(
		HaveSuffix(`the device is at work on desired.mode.fan with code 202 ("spinning down")`))
	w.Expect(w.condition(obj, v1alpha1.ConditionAcknowledged).Reason).To(Equal(v1alpha1.ReasonAwaitingDevice))
	fake.SetTime(fake.Now().Add(2 * time.Hour))
	w.visitTwin(obj) // as its time does, by the real clock
	late := w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, v1alpha1.ReasonNotAcknowledged)
	w.Expect(late.Message).To(And(ContainSubstring("within 1h0m0s"), HaveSuffix(`code 202 ("spinning down")`)))
	w.edit(obj, func() { obj.Spec.Desired = nil })
	w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, "")
}

// The time that a device has passes for a whole fleet at once: its twins are read from
// the index, many with one query.
func TestALateDeviceCostsNoReadOfItsTwin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", "", `{"level":1}`)
	obj.Spec.AcknowledgeTimeout.Duration = 2 * time.Second
	w.create(obj)
	w.awaitReady(obj)
	w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, v1alpha1.ReasonNeverReported)
	w.report("d1", `{"level":0}`)
	w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, v1alpha1.ReasonAwaitingDevice)
	before := w.calls("getTwin")
	late := w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, v1alpha1.ReasonNotAcknowledged)
	w.Expect(late.Message).To(HaveSuffix("within 2s: desired.level"))
	w.Expect(w.calls("getTwin")).To(Equal(before))
	written := w.writes()
	w.awaitReadBacks(3)
	w.Expect(w.writes()).To(Equal(written), "said once")
	w.awaitReady(obj)
}

// TestADeviceThatReportsNoSettingsIsNeverLate: many sensors do not.
func TestADeviceThatReportsNoSettingsIsNeverLate(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, withClock(fake))
	w.connect()
	w.report("d1", `{"battery":80}`)
	obj := w.twin("t1", "d1", "", `{"level":1}`)
	w.create(obj)
	w.awaitReady(obj)
	w.awaitCondition(obj, v1alpha1.ConditionAcknowledged, v1alpha1.ReasonNeverReported)
	fake.SetTime(fake.Now().Add(time.Hour))
	w.visitTwin(obj)
	silent := w.condition(obj, v1alpha1.ConditionAcknowledged)
	w.Expect(silent.Status).To(Equal(metav1.ConditionUnknown))
	w.Expect(silent.Reason).To(Equal(v1alpha1.ReasonNeverReported))
}

func TestTheMirrorShowsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	w.report("d1", `{"a":{"b":1,"c":2},"d":3,"e":"x"}`)
	obj := w.twin("t1", "d1", "", "")
	obj.Spec.Mirror.Paths = []string{"a.b", "d", "d.none", "nothing"}
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(string(obj.Status.Reported.Raw)).To(Equal(`{"a":{"b":1},"d":3}`))
	w.edit(obj, func() { obj.Spec.Mirror = v1alpha1.Mirror{MaxBytes: ptr.To[int32](0)} })
	w.awaitReady(obj)
	w.Expect(obj.Status.Reported).To(BeNil())
}

func TestModuleTwins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	_, err := w.hub.AddModule("d1", "m1")
	w.Expect(err).NotTo(HaveOccurred())
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, `{"level":1}`)
	obj.Spec.ModuleID = "m1"
	w.create(obj)
	devices, modules := w.query("devices", "tags.plant = 'Redmond43'"), w.query("modules", "tags.plant = 'Redmond43'")
	modules.Spec.From = "devices.modules"
	w.create(devices)
	w.create(modules)
	w.awaitReady(obj)
	text, err := w.hub.ModuleTwinJSON("d1", "m1")
	w.Expect(err).NotTo(HaveOccurred())
	var held struct{ Tags map[string]any }
	w.Expect(json.Unmarshal(text, &held)).To(Succeed())
	w.Expect(held.Tags).To(Equal(map[string]any{"plant": "Redmond43"}))
	w.Expect(w.tags("d1")).To(Equal("{}"))
	w.Eventually(w.memberships(obj), patience).Should(Equal([]string{"modules"}))
	w.awaitReady(modules)
	w.awaitDevices(modules, "d1/m1")

	for _, change := range []string{"", "m2"} {
		changed := obj.DeepCopy()
		changed.Spec.ModuleID = change
		w.Expect(w.client.Update(w.Context(), changed)).To(MatchError(ContainSubstring("moduleId is immutable")))
	}
	missing := w.twin("t2", "d1", "", "")
	missing.Spec.ModuleID = "absent"
	w.create(missing)
	w.await(missing, metav1.ConditionFalse, v1alpha1.ReasonDeviceNotFound)
}

func TestARestoredObjectDeletesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"plant":"Redmond43","extra":1}`, "")
	w.create(obj)
	w.awaitReady(obj)
	backup := obj.Annotations
	w.delete(obj)
	restored := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	restored.Annotations = backup
	w.create(restored)
	w.awaitReady(restored)
	w.awaitReadBacks(2)
	w.Expect(w.tags("d1")).To(Equal(`{"extra":1,"plant":"Redmond43"}`))
}

func TestEachKindIsVisitedOnRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	w.awaitReady(conn)
	w.reconcileNow(conn, func() string { return conn.Status.LastHandledReconcileAt })
	query := w.query("q", "tags.a = 1")
	query.Spec.Interval.Duration = time.Hour
	w.create(query)
	w.awaitReady(query)
	before := w.calls("query")
	w.reconcileNow(query, func() string { return query.Status.LastHandledReconcileAt })
	w.Expect(w.calls("query")).To(BeNumerically(">", before))
}

func TestAPlannedRemovalIsShownAndWrittenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	obj := w.twin("t1", "d1", `{"plant":"Redmond43","floor":1}`, "")
	w.create(obj)
	w.awaitReady(obj)
	w.edit(conn, func() { conn.Spec.Mode = v1alpha1.ModeReadOnly })
	w.awaitReady(conn)
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"plant":"Redmond43"}`) })
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubReadOnly)
	w.Expect(w.plannedPatch(obj)).To(Equal(`{"tags":{"floor":null}}`))
	w.awaitReadBacks(1)
	before := w.writes()
	w.awaitReadBacks(3)
	w.Expect(w.writes()).To(HaveLen(len(before)), "at rest nothing is written")
}
