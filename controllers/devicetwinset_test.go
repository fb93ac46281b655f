package controllers_test

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// set makes a DeviceTwinSet that is not created yet, whose devices count as written.
func (w *world) set(name, where, tags, desired string) *v1alpha1.DeviceTwinSet {
	obj := &v1alpha1.DeviceTwinSet{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
	obj.Spec.HubRef.Name = "hub"
	obj.Spec.Selector.Where = where
	obj.Spec.MaxDevices = 1000
	obj.Spec.Template = v1alpha1.SetTemplate{Tags: raw(tags), Desired: raw(desired)}
	obj.Spec.Interval.Duration = 5 * time.Second
	obj.Spec.Rollout.Success.From = v1alpha1.SuccessFromWritten
	return obj
}

// fleet are devices of a plant.
func fleet(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("d%03d", i)
	}
	return names
}

// inPlant gives devices the tag that a set selects by.
func (w *world) inPlant(devices ...string) {
	w.Helper()
	for _, device := range devices {
		w.anotherWriter(device, map[string]any{"plant": "43"})
	}
	w.hub.ResetCounters()
}

const plant43 = "tags.plant = '43'"

// indexed is how many devices a query finds.
func (w *world) indexed(where string) int {
	w.Helper()
	n, err := w.otherSession().Count(w.Context(), hub.Devices, where)
	w.Expect(err).NotTo(HaveOccurred())
	return int(n)
}

// patches is how many PATCHes the hub has had.
func (w *world) patches() int { return int(w.hub.Counters().Operations["updateTwin"].Calls) }

// TestASetBringsItsDevicesToItsRevision with one PATCH for each, and leaves all others alone.
func TestASetBringsItsDevicesToItsRevision(t *testing.T) {
	t.Parallel()
	devices := fleet(250)
	w := newWorld(t, withHubOf(append(devices, "stranger")...))
	w.inPlant(devices...)
	w.awaitReady(w.connect())
	set := w.set("line-3", plant43, `{"ring":"stable"}`, `{"interval":30}`)
	w.create(set)
	w.awaitReady(set)
	w.Expect(set.Status.Phase).To(Equal(v1alpha1.SetComplete))
	w.Expect(set.Status.Counts).To(Equal(v1alpha1.SetCounts{Selected: 250, Written: 250, Acknowledged: 250}))
	w.Expect(set.Status.StableRevision).To(Equal(set.Status.Revision))
	w.Expect(w.tags("d007")).To(MatchJSON(fmt.Sprintf(
		`{"plant":"43","ring":"stable","deviceTwinSets":{"%s_line-3":{"revision":%q,"wave":"rest"}}}`, w.ns, set.Status.Revision)))
	w.Expect(w.desired("d007")).To(MatchJSON(`{"interval":30}`))
	w.Expect(w.tags("stranger")).To(MatchJSON(`{}`))
	w.Expect(w.patches()).To(Equal(250))
}

// TestAValueOfASetThatTheHubRespells is said of each device, and not written again and again.
func TestAValueOfASetThatTheHubRespells(t *testing.T) {
	t.Parallel()
	const declared, respelled = "2026-11-28T00:00:00.000Z", "2026-11-28T00:00:00Z"
	devices := fleet(3)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	tapped := w.tapRespelling(declared, respelled)
	w.awaitReady(w.connectThrough(tapped.host, tapped.ca))
	set := w.set("line-3", plant43, `{"ring":"stable"}`, `{"since":"`+declared+`"}`)
	w.create(set)
	w.Eventually(func() []v1alpha1.SetExample {
		w.Expect(w.client.Get(t.Context(), client.ObjectKeyFromObject(set), set)).To(Succeed())
		return set.Status.Examples
	}, patience).Should(HaveLen(3))
	for _, example := range set.Status.Examples {
		w.Expect(example.Reason).To(Equal(v1alpha1.ReasonNotConverging))
		w.Expect(example.Message).To(And(ContainSubstring(respelled), ContainSubstring(declared)))
	}
	queries := w.calls("query")
	w.Eventually(func() int { return w.calls("query") - queries }, patience).Should(BeNumerically(">", 10), "the set goes on to look")
	w.Expect(w.patches()).To(Equal(3))
	w.checkConditions()
}

// TestAnEditOfASetIsAnotherRevision that replaces the one before, down to the leaves that left it.
func TestAnEditOfASetIsAnotherRevision(t *testing.T) {
	t.Parallel()
	devices := fleet(20)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	w.awaitReady(w.connect())
	set := w.set("line-3", plant43, `{"ring":"stable","old":1}`, `{"interval":30}`)
	w.create(set)
	w.awaitReady(set)
	first := set.Status.Revision
	w.edit(set, func() { set.Spec.Suspend = true })
	w.await(set, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	w.anotherWriter("d003", map[string]any{"old": 2, "mine": true})
	w.hub.ResetCounters()
	w.edit(set, func() { set.Spec.Template.Tags, set.Spec.Suspend = raw(`{"ring":"next"}`), false })
	w.awaitReady(set)
	w.Expect(set.Status.Revision).NotTo(Equal(first))
	marker := fmt.Sprintf(`"deviceTwinSets":{"%s_line-3":{"revision":%q,"wave":"rest"}}`, w.ns, set.Status.Revision)
	w.Expect(w.tags("d007")).To(MatchJSON(`{"plant":"43","ring":"next",` + marker + `}`))
	w.Expect(w.tags("d003")).To(MatchJSON(`{"plant":"43","ring":"next","old":2,"mine":true,`+marker+`}`), "another writer's value stays")
	w.Expect(w.patches()).To(Equal(20))
}

// TestAWaveWaitsForItsApproval, and the rest for the wave.
func TestAWaveWaitsForItsApproval(t *testing.T) {
	t.Parallel()
	devices := fleet(60)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	for _, device := range devices[:5] {
		w.anotherWriter(device, map[string]any{"canary": true})
	}
	w.hub.ResetCounters()
	w.awaitReady(w.connect())
	set := w.set("line-3", plant43, "", `{"interval":30}`)
	set.Spec.Rollout.Waves = []v1alpha1.SetWave{
		{Name: "canary", Where: "tags.canary = true", Then: v1alpha1.AfterWaveApprove},
		{Name: "tenth", Percent: 20, Then: v1alpha1.AfterWaveApprove},
	}
	w.create(set)
	w.await(set, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
	w.Expect(set.Status.Wave).To(Equal("canary"))
	w.Expect(w.patches()).To(Equal(5))
	w.edit(set, func() {
		set.Annotations = map[string]string{v1alpha1.ApproveAnnotation: set.Status.Revision + "/canary"}
	})
	w.Eventually(func() string {
		w.await(set, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
		return set.Status.Wave
	}, patience, "50ms").Should(Equal("tenth"))
	tenth := w.patches() - 5
	w.Expect(tenth).To(BeNumerically(">", 2))
	w.Expect(tenth).To(BeNumerically("<", 25))
	w.Expect(set.Status.Waves[1].Written).To(BeEquivalentTo(tenth))
	w.edit(set, func() { set.Annotations[v1alpha1.ApproveAnnotation] = set.Status.Revision + "/tenth" })
	w.awaitReady(set)
	w.Expect(w.patches()).To(Equal(60))
}

// TestASetCorrectsDrift of the leaves that it declares, and of no others.
func TestASetCorrectsDrift(t *testing.T) {
	t.Parallel()
	devices := fleet(10)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	w.awaitReady(w.connect())
	set := w.set("line-3", plant43, `{"ring":"stable","list":[1,2]}`, "")
	w.create(set)
	w.awaitReady(set)
	w.hub.ResetCounters()
	w.anotherWriter("d001", map[string]any{"ring": "other", "mine": 1})
	w.anotherWriter("d002", map[string]any{"ring": nil})
	w.anotherWriter("d003", map[string]any{"list": []any{3}})
	for device, want := range map[string]string{"d001": `"ring":"stable","list":[1,2],"mine":1`, "d002": `"ring":"stable","list":[1,2]`, "d003": `"ring":"stable","list":[1,2]`} {
		w.Eventually(func() string { return w.tags(device) }, patience, "50ms").Should(MatchJSON(fmt.Sprintf(
			`{"plant":"43",%s,"deviceTwinSets":{"%s_line-3":{"revision":%q,"wave":"rest"}}}`, want, w.ns, set.Status.Revision)))
	}
	w.Expect(w.patches()).To(Equal(6))
}

// TestADeviceThatLeavesASet keeps its leaves, or loses them, by what the set says.
func TestADeviceThatLeavesASet(t *testing.T) {
	t.Parallel()
	for policy, left := range map[v1alpha1.SetPolicy]string{
		v1alpha1.SetRetain: `{"plant":"44","ring":"stable"}`, v1alpha1.SetClear: `{"plant":"44"}`,
	} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			devices := fleet(4)
			w := newWorld(t, withHubOf(devices...))
			w.inPlant(devices...)
			w.awaitReady(w.connect())
			set := w.set("line-3", plant43, `{"ring":"stable"}`, "")
			set.Spec.OnLeave = policy
			w.create(set)
			w.awaitReady(set)
			w.anotherWriter("d001", map[string]any{"plant": "44"})
			w.Eventually(func() string { return w.tags("d001") }, patience, "50ms").Should(MatchJSON(left))
			w.Expect(w.tags("d002")).To(ContainSubstring("deviceTwinSets"))
		})
	}
}

// TestASetThatGoesClearsItsDevices where it is to, of what holds a value of its own.
func TestASetThatGoesClearsItsDevices(t *testing.T) {
	t.Parallel()
	devices := fleet(30)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	w.awaitReady(w.connect())
	set := w.set("line-3", plant43, `{"ring":"stable"}`, `{"interval":30}`)
	set.Spec.DeletionPolicy = v1alpha1.SetClear
	w.create(set)
	w.awaitReady(set)
	w.edit(set, func() { set.Spec.Suspend = true })
	w.await(set, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	w.anotherWriterPatches("d001", hub.Patch{Desired: map[string]any{"interval": 31}})
	w.edit(set, func() { set.Spec.Suspend = false })
	w.delete(set)
	w.Eventually(func() error {
		return client.IgnoreNotFound(w.client.Get(w.Context(), client.ObjectKeyFromObject(set), set))
	}, patience, "50ms").Should(Succeed())
	w.Eventually(func() string { return w.tags("d029") }, patience, "50ms").Should(MatchJSON(`{"plant":"43"}`))
	w.Eventually(func() string { return w.desired("d029") }, patience, "50ms").Should(MatchJSON(`{}`))
}

// TestADeviceTwinComesBeforeASet on its own leaves, in both orders, and hands over when it goes.
func TestADeviceTwinComesBeforeASet(t *testing.T) {
	t.Parallel()
	devices := fleet(3)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	w.awaitReady(w.connect())
	before := w.twin("before", "d000", `{"ring":"own"}`, "")
	w.create(before)
	w.awaitReady(before)
	set := w.set("line-3", plant43, `{"ring":"stable","line":3}`, "")
	w.create(set)
	w.awaitReady(set)
	w.Expect(w.tags("d000")).To(And(ContainSubstring(`"ring":"own"`), ContainSubstring(`"line":3`)))
	after := w.twin("after", "d001", `{"ring":"own"}`, "")
	w.create(after)
	w.awaitReady(after)
	w.hub.ResetCounters()
	w.edit(set, func() { set.Annotations = map[string]string{v1alpha1.ReconcileAtAnnotation: "now"} })
	w.Eventually(func() int64 {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(set), set)).To(Succeed())
		return set.Status.Counts.Overridden
	}, patience, "50ms").Should(BeEquivalentTo(2))
	w.Expect(w.patches()).To(BeZero(), "no writer contends")
	w.delete(after)
	w.Eventually(func() string { return w.tags("d001") }, patience, "50ms").Should(ContainSubstring(`"ring":"stable"`))
	w.Expect(w.tags("d000")).To(ContainSubstring(`"ring":"own"`))
}

// TestASetOfTooManyDevicesWritesNothing and says both numbers.
func TestASetOfTooManyDevicesWritesNothing(t *testing.T) {
	t.Parallel()
	devices := fleet(12)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	w.awaitReady(w.connect())
	set := w.set("line-3", plant43, `{"ring":"stable"}`, "")
	set.Spec.MaxDevices = 11
	w.create(set)
	stalled := w.await(set, metav1.ConditionFalse, v1alpha1.ReasonTooManyDevices)
	w.Expect(stalled.Message).To(And(ContainSubstring("12 devices"), ContainSubstring("spec.maxDevices is 11")))
	w.Expect(w.patches()).To(BeZero())
	w.edit(set, func() { set.Spec.MaxDevices = 12 })
	w.awaitReady(set)
}

// TestASetStaysInItsScope: rows outside of it are never written, whatever the selector says.
func TestASetStaysInItsScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withHubOf("a-1", "a-2", "b-1"))
	w.inPlant("a-1", "a-2", "b-1")
	conn := w.connection("hub")
	conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: w.ns, DeviceIDPrefix: "a-"}}
	w.createSecret("hub", w.credential("service"))
	w.create(conn)
	w.awaitReady(conn)
	set := w.set("line-3", plant43+" OR deviceId = 'b-1'", `{"ring":"stable"}`, "")
	w.create(set)
	w.awaitReady(set)
	w.Expect(set.Status.Counts.Selected).To(BeEquivalentTo(2))
	w.Expect(w.tags("b-1")).To(MatchJSON(`{"plant":"43"}`))
	w.Expect(w.tags("a-2")).To(ContainSubstring(`"ring":"stable"`))
}

// TestASetInStepWritesNothing, neither the hub nor its status.
func TestASetInStepWritesNothing(t *testing.T) {
	t.Parallel()
	devices := fleet(120)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	w.awaitReady(w.connect())
	set := w.set("line-3", plant43, `{"ring":"stable"}`, `{"interval":30}`)
	set.Spec.RevisionHistoryLimit = ptr.To[int32](2)
	w.create(set)
	w.awaitReady(set)
	w.Eventually(func() string {
		version := set.ResourceVersion
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(set), set)).To(Succeed())
		return version
	}, patience, "1s").Should(Equal(set.ResourceVersion))
	w.hub.ResetCounters()
	version := set.ResourceVersion
	w.Consistently(func() string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(set), set)).To(Succeed())
		return set.ResourceVersion
	}, "12s", "500ms").Should(Equal(version))
	w.Expect(w.patches()).To(BeZero())
}

// judgedSet makes a set whose devices count by what they acknowledge.
func (w *world) judgedSet(name, where, desired string) *v1alpha1.DeviceTwinSet {
	obj := w.set(name, where, "", desired)
	obj.Spec.Rollout.Success = v1alpha1.RolloutSuccess{From: v1alpha1.SuccessFromAcknowledged, Percent: 95, Within: metav1.Duration{Duration: time.Minute}}
	obj.Spec.Rollout.Failure = v1alpha1.RolloutFailure{Percent: ptr.To[int32](5), MinSample: 3}
	return obj
}

// TestASetWaitsForItsDevices to acknowledge, a few at a time, and for none that is offline.
func TestASetWaitsForItsDevices(t *testing.T) {
	t.Parallel()
	devices := fleet(24)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	w.connectDevices(accepts, devices[:20]...)
	w.awaitReady(w.connect())
	set := w.judgedSet("line-3", plant43, `{"interval":30}`)
	set.Spec.Rollout.MaxInFlight = 5
	w.create(set)
	w.awaitReady(set)
	w.Expect(set.Status.Phase).To(Equal(v1alpha1.SetCompletedWithOffline))
	w.Expect(set.Status.Counts).To(Equal(v1alpha1.SetCounts{Selected: 24, Written: 24, Acknowledged: 20, Offline: 4}))
	w.Expect(set.Status.InFlight).To(BeEmpty())
	w.Expect(w.patches()).To(Equal(24))
}

// TestACanaryThatRefusesStopsTheRollout with no device beyond it written, and a rollback restores exactly.
func TestACanaryThatRefusesStopsTheRollout(t *testing.T) {
	t.Parallel()
	devices := fleet(40)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	for _, device := range devices[:4] {
		w.anotherWriter(device, map[string]any{"canary": true})
	}
	w.hub.ResetCounters()
	w.connectDevices(func(desired map[string]any, version float64) map[string]any {
		if desired["interval"] == 31.0 {
			return refuses(desired, version)
		}
		return desired
	}, devices...)
	w.awaitReady(w.connect())
	set := w.judgedSet("line-3", plant43, `{"interval":30}`)
	set.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "canary", Where: "tags.canary = true"}}
	w.create(set)
	w.awaitReady(set)
	good := set.Status.Revision
	w.hub.ResetCounters()
	w.edit(set, func() { set.Spec.Template.Desired = raw(`{"interval":31,"mode":"x"}`) })
	failed := w.await(set, metav1.ConditionFalse, v1alpha1.ReasonRolloutFailed)
	w.Expect(failed.Message).To(ContainSubstring("4 failed"))
	w.Expect(w.patches()).To(Equal(4), "the canary alone")
	w.Expect(set.Status.Examples).To(HaveLen(4))
	w.Expect(set.Status.Examples[0].Reason).To(Equal(v1alpha1.ReasonRejectedByDevice))
	w.Expect(w.desired("d001")).To(MatchJSON(`{"interval":31,"mode":"x"}`))
	w.edit(set, func() {
		set.Annotations = map[string]string{v1alpha1.RolloutAnnotation: set.Status.Revision + "/rollback"}
	})
	w.await(set, metav1.ConditionFalse, v1alpha1.ReasonRolledBack)
	w.Expect(set.Status.Revision).To(Equal(good))
	w.Expect(w.desired("d001")).To(MatchJSON(`{"interval":30}`))
	w.Expect(w.patches()).To(Equal(8))
	w.edit(set, func() { set.Spec.Template.Desired = raw(`{"interval":32}`) })
	w.awaitReady(set)
	w.Expect(w.desired("d039")).To(MatchJSON(`{"interval":32}`))
}

// TestADeviceThatSaysNothingFails once its time is over, and one that waits holds its place.
func TestADeviceThatSaysNothingFails(t *testing.T) {
	t.Parallel()
	devices := fleet(6)
	w := newWorld(t, withHubOf(devices...))
	w.inPlant(devices...)
	w.connectDevices(saysNothing, devices...)
	w.awaitReady(w.connect())
	set := w.judgedSet("line-3", plant43, `{"interval":30}`)
	set.Spec.Rollout.MaxInFlight = 2
	set.Spec.Rollout.Success.Within.Duration = 3 * time.Second
	set.Spec.Rollout.Failure.MinSample = 4
	w.create(set)
	failed := w.await(set, metav1.ConditionFalse, v1alpha1.ReasonRolloutFailed)
	w.Expect(failed.Message).To(ContainSubstring("4 failed"))
	w.Expect(set.Status.Examples[0].Reason).To(Equal(v1alpha1.ReasonNotAcknowledged))
	w.Expect(w.patches()).To(Equal(4), "two at a time")
}

// TestALateIndexCausesNoSecondWrite: rows that show a device as it was are known as late, in the process
// that wrote it, and are found out by a read in the next.
func TestALateIndexCausesNoSecondWrite(t *testing.T) {
	t.Parallel()
	devices := fleet(150)
	w := newWorld(t, withHubOf(devices...), func(w *world) { w.hubOptions.QueryLag = 3 * time.Second })
	w.inPlant(devices...)
	w.Eventually(func() int { return w.indexed(plant43) }, patience, "200ms").Should(Equal(150))
	w.awaitReady(w.connect())
	set := w.set("line-3", plant43, `{"ring":"stable"}`, "")
	w.create(set)
	w.Eventually(w.patches, patience, "10ms").Should(BeNumerically(">=", 100))
	w.stop()
	w.startManager()
	w.awaitReady(set)
	w.Eventually(func() int64 {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(set), set)).To(Succeed())
		return set.Status.Counts.Written
	}, patience, "100ms").Should(BeEquivalentTo(150))
	w.Expect(w.hub.Counters().Operations["updateTwin"].Statuses["200"]).To(BeEquivalentTo(150), "each is written once")
}

// TestMaxInFlightHoldsWithALateIndex, over a restart as well.
func TestMaxInFlightHoldsWithALateIndex(t *testing.T) {
	t.Parallel()
	devices := fleet(12)
	w := newWorld(t, withHubOf(devices...), func(w *world) { w.hubOptions.QueryLag = 2 * time.Second })
	w.inPlant(devices...)
	w.connectDevices(saysNothing, devices...)
	w.Eventually(func() int { return w.indexed(plant43 + " AND connectionState = 'Connected'") }, patience, "200ms").Should(Equal(12))
	w.awaitReady(w.connect())
	set := w.judgedSet("line-3", plant43, `{"interval":30}`)
	set.Spec.Rollout.MaxInFlight = 3
	w.create(set)
	w.Eventually(w.patches, patience, "1ms").Should(Equal(3))
	w.stop()
	w.startManager()
	w.Consistently(w.patches, "6s", "50ms").Should(Equal(3))
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(set), set)).To(Succeed())
	w.Expect(set.Status.InFlight).To(HaveLen(3))
}

// TestASetThatGoesInTheMiddleOfARollout clears what it has written until then.
func TestASetThatGoesInTheMiddleOfARollout(t *testing.T) {
	t.Parallel()
	devices := fleet(400)
	w := newWorld(t, withHubOf(devices...), func(w *world) { w.hubOptions.Tier = "S2" })
	w.inPlant(devices...)
	w.awaitReady(w.connect())
	set := w.set("line-3", plant43, `{"ring":"stable"}`, "")
	set.Spec.DeletionPolicy = v1alpha1.SetClear
	w.create(set)
	w.Eventually(w.patches, patience, "5ms").Should(BeNumerically(">=", 120))
	w.delete(set)
	w.Eventually(func() bool {
		return apierrors.IsNotFound(w.client.Get(w.Context(), client.ObjectKeyFromObject(set), set))
	}, 2*patience, "50ms").Should(BeTrue())
	for _, device := range devices {
		w.Expect(w.tags(device)).To(MatchJSON(`{"plant":"43"}`), device)
	}
}
