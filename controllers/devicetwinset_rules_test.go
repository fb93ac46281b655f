package controllers_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	rollouts "github.com/devicetwin-io/devicetwin-operator/internal/fleet"
)

// The ten rules of DeviceTwinSets, a test for each.

// line is a plant's devices on a hub that works, all but some of them connected.
func line(t *testing.T, n int, does behaviour, offline int, settings ...setting) (w *world, devices []string) {
	t.Helper()
	devices = fleet(n)
	w = newWorld(t, append([]setting{withHubOf(devices...)}, settings...)...)
	w.inPlant(devices...)
	w.connectDevices(does, devices[offline:]...)
	w.awaitReady(w.connect())
	return w, devices
}

// tag gives devices one more tag, and counts no PATCH of it.
func (w *world) tag(name string, value any, devices ...string) {
	w.Helper()
	for _, device := range devices {
		w.anotherWriter(device, map[string]any{name: value})
	}
	w.hub.ResetCounters()
}

// annotateSet is what a user says about a rollout.
func (w *world) annotateSet(set *v1alpha1.DeviceTwinSet, name, value string) {
	w.Helper()
	w.edit(set, func() { metav1.SetMetaDataAnnotation(&set.ObjectMeta, name, value) })
}

// holding are the devices that hold a revision of a set.
func (w *world) holding(set *v1alpha1.DeviceTwinSet, revision string, devices []string) []string {
	w.Helper()
	return slices.DeleteFunc(slices.Clone(devices), func(device string) bool {
		tags, _ := w.held(device)["tags"].(map[string]any)
		marker, ok := rollouts.MarkerOf(tags, client.ObjectKeyFromObject(set))
		return !ok || marker.Revision != revision
	})
}

// visits has a set make a few steps that a user asks for.
func (w *world) visits(set *v1alpha1.DeviceTwinSet, n int) {
	w.Helper()
	for i := range n {
		at := fmt.Sprint(time.Now().UnixNano(), i)
		w.annotateSet(set, v1alpha1.ReconcileAtAnnotation, at)
		w.Eventually(func() string {
			w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(set), set)).To(Succeed())
			return set.Status.LastHandledReconcileAt
		}, patience, "20ms").Should(Equal(at))
	}
}

// TestRule1TheRestIsAWave: what no wave takes is written last, and a wave of no devices is said.
func TestRule1TheRestIsAWave(t *testing.T) {
	t.Parallel()
	w, _ := line(t, 6, accepts, 0)
	set := w.judgedSet("line-3", plant43, `{"interval":30}`)
	set.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "empty", Where: "tags.ring = 'none'", Then: v1alpha1.AfterWaveApprove}}
	w.create(set)
	waiting := w.await(set, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
	w.Expect(waiting.Message).To(HavePrefix("wave empty has no devices"))
	w.Expect(w.patches()).To(BeZero())
	w.annotateSet(set, v1alpha1.ApproveAnnotation, set.Status.Revision+"/empty")
	w.awaitReady(set)
	w.Expect(w.patches()).To(Equal(6))
	w.Expect(set.Status.Waves).To(HaveLen(2))
	w.Expect(set.Status.Waves[1].Name).To(Equal("rest"))
	w.Expect(set.Status.Waves[1].Written).To(BeEquivalentTo(6))
}

// TestRule2APlaceInAWaveStays over a join, a restart and another replica, and is another with the next revision.
func TestRule2APlaceInAWaveStays(t *testing.T) {
	t.Parallel()
	w, devices := line(t, 40, accepts, 0)
	w.tag("plant", "44", devices[30:]...)
	set := w.judgedSet("line-3", plant43, `{"interval":30}`)
	set.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "third", Percent: 33, Then: v1alpha1.AfterWaveApprove}}
	w.create(set)
	w.await(set, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
	taken := w.holding(set, set.Status.Revision, devices)
	w.Expect(taken).NotTo(BeEmpty())
	w.stop()
	w.tag("plant", "43", devices[30:]...)
	w.startManager()
	w.visits(set, 3)
	w.await(set, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
	grown := w.holding(set, set.Status.Revision, devices)
	w.Expect(grown).To(ContainElements(taken), "a device keeps its place")
	w.Expect(slices.DeleteFunc(slices.Clone(grown), func(device string) bool { return slices.Contains(devices[30:], device) })).
		To(Equal(taken), "and takes none from another")
	w.edit(set, func() { set.Spec.Template.Desired = raw(`{"interval":31}`) })
	first := set.Status.Revision
	w.Eventually(func() string {
		w.await(set, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
		return set.Status.Revision
	}, patience, "20ms").ShouldNot(Equal(first))
	w.Expect(w.holding(set, set.Status.Revision, devices)).NotTo(Equal(grown), "not the same devices first each time")
}

// TestRule3OfflineDevicesAreWritten and fail no rollout.
func TestRule3OfflineDevicesAreWritten(t *testing.T) {
	t.Parallel()
	w, devices := line(t, 10, accepts, 4)
	set := w.judgedSet("line-3", plant43, `{"interval":30}`)
	set.Spec.Rollout.MaxInFlight = 1
	set.Spec.Rollout.Failure.Percent, set.Spec.Rollout.Failure.MinSample = ptr.To[int32](0), 1
	w.create(set)
	w.awaitReady(set)
	w.Expect(set.Status.Phase).To(Equal(v1alpha1.SetCompletedWithOffline))
	w.visits(set, 1)
	w.Expect(set.Status.Counts.Offline).To(BeEquivalentTo(4))
	w.Expect(w.holding(set, set.Status.Revision, devices)).To(Equal(devices))
	w.connectDevices(saysNothing, devices[:4]...)
	for _, device := range devices[:4] {
		w.answer(device, accepts, []byte(`{"interval":30,"$version":2}`))
	}
	w.visits(set, 2)
	w.Eventually(func() v1alpha1.SetPhase {
		w.visits(set, 1)
		return set.Status.Phase
	}, patience, "20ms").Should(Equal(v1alpha1.SetComplete))
}

// TestRule4AnEditLeavesNoDeviceHalfWay: each holds a revision as a whole at any time, and the last one at the end.
func TestRule4AnEditLeavesNoDeviceHalfWay(t *testing.T) {
	t.Parallel()
	w, devices := line(t, 12, saysNothing, 0)
	set := w.judgedSet("line-3", plant43, `{"one":1,"both":1}`)
	set.Spec.Rollout.MaxInFlight = 3
	w.create(set)
	w.Eventually(w.patches, patience, "20ms").Should(Equal(3))
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(set), set)).To(Succeed())
	first := set.Status.Revision
	w.hub.ResetCounters()
	w.edit(set, func() { set.Spec.Template.Desired = raw(`{"two":2,"both":2}`) })
	for answered := 0; answered < len(devices); {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(set), set)).To(Succeed())
		for _, device := range devices {
			w.Expect(w.desired(device)).To(BeElementOf(`{}`, `{"both":1,"one":1}`, `{"both":2,"two":2}`))
		}
		answered = 0
		if second := set.Status.Revision; second != first {
			for _, device := range w.holding(set, second, devices) {
				w.answer(device, accepts, []byte(w.desired(device)))
				answered++
			}
		}
	}
	w.awaitReady(set)
	w.Expect(w.holding(set, set.Status.Revision, devices)).To(Equal(devices))
	w.Expect(w.patches()).To(Equal(12), "none was written twice of the second revision, and none once more of the first")
}

// TestRule5ARollbackMayFailToo and stops then.
func TestRule5ARollbackMayFailToo(t *testing.T) {
	t.Parallel()
	refusing := make(chan struct{})
	w, devices := line(t, 6, func(desired map[string]any, version float64) map[string]any {
		select {
		case <-refusing:
			return refuses(desired, version)
		default:
			return desired
		}
	}, 0)
	set := w.judgedSet("line-3", plant43, `{"interval":30}`)
	set.Spec.Rollout.Failure.Action = v1alpha1.FailureRollBack
	set.Spec.Rollout.MaxInFlight = 3
	w.create(set)
	w.awaitReady(set)
	stable := set.Status.Revision
	close(refusing)
	w.hub.ResetCounters()
	w.edit(set, func() { set.Spec.Template.Desired = raw(`{"interval":31}`) })
	failed := w.await(set, metav1.ConditionFalse, v1alpha1.ReasonRolloutFailed)
	w.Expect(failed.Message).To(ContainSubstring("revision " + stable))
	w.Expect(set.Status.Revision).To(Equal(stable))
	w.Expect(set.Status.FailedRevision).NotTo(BeEmpty())
	w.Expect(w.patches()).To(BeNumerically("<=", 6), "of three that were written, three were taken back")
	w.Expect(len(w.holding(set, stable, devices))).To(BeNumerically(">=", 3))
}

// TestRule6ATemplateDoesNotSelect: nothing is written of one that writes what a condition reads.
func TestRule6ATemplateDoesNotSelect(t *testing.T) {
	t.Parallel()
	w, _ := line(t, 2, accepts, 0)
	set := w.set("line-3", plant43, `{"plant":"44"}`, "")
	w.create(set)
	stalled := w.await(set, metav1.ConditionFalse, v1alpha1.ReasonInvalidSet)
	w.Expect(stalled.Message).To(ContainSubstring("reads tags.plant, and the set writes tags.plant"))
	w.Expect(w.patches()).To(BeZero())
}

// TestRule7TheOlderSetKeepsALeaf, also one that it has only on the devices by now, and a DeviceTwin comes before both.
func TestRule7TheOlderSetKeepsALeaf(t *testing.T) {
	t.Parallel()
	w, devices := line(t, 4, accepts, 0)
	twin := w.twin("own", devices[0], `{"ring":"own"}`, "")
	w.create(twin)
	w.awaitReady(twin)
	older := w.set("older", plant43, `{"ring":"older"}`, "")
	w.create(older)
	w.awaitReady(older)
	w.Eventually(func() bool { return time.Now().Unix() > older.CreationTimestamp.Unix() }, patience, "50ms").Should(BeTrue())
	younger := w.set("younger", plant43, `{"ring":"younger","line":3}`, "")
	w.create(younger)
	w.awaitReady(younger)
	w.Expect(w.tags(devices[0])).To(And(ContainSubstring(`"ring":"own"`), ContainSubstring(`"line":3`)))
	w.Expect(w.tags(devices[1])).To(And(ContainSubstring(`"ring":"older"`), ContainSubstring(`"line":3`)))
	w.Expect(younger.Status.Counts.Conflicting).To(BeEquivalentTo(4))
	w.Expect(younger.Status.Counts.Overridden).To(BeEquivalentTo(1))
	w.Expect(younger.Status.Examples[0].Reason).To(Equal(v1alpha1.ReasonConflict))
	// The devices still hold the older one's revision while it waits with the next.
	w.edit(older, func() {
		older.Spec.Template.Tags = raw(`{"other":1}`)
		older.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "none", Where: "tags.canary = true", Then: v1alpha1.AfterWaveApprove}}
	})
	w.await(older, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
	w.hub.ResetCounters()
	w.visits(younger, 3)
	w.visits(older, 3)
	w.Expect(w.patches()).To(BeZero(), "the sets do not write in turn")
	w.Expect(w.tags(devices[1])).To(ContainSubstring(`"ring":"older"`))
	w.annotateSet(older, v1alpha1.ApproveAnnotation, older.Status.Revision+"/none")
	w.awaitReady(older)
	w.Eventually(func() string { return w.tags(devices[1]) }, patience, "50ms").Should(ContainSubstring(`"ring":"younger"`))
	w.Expect(w.tags(devices[0])).To(ContainSubstring(`"ring":"own"`))
}

// TestRule8NoMoreThanMaxInFlight, not by one, over a restart, with a write whose answer was lost.
func TestRule8NoMoreThanMaxInFlight(t *testing.T) {
	t.Parallel()
	w, devices := line(t, 11, saysNothing, 0)
	_, err := w.hub.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: hubemulator.FaultDropAnswer, Count: 1})
	w.Expect(err).NotTo(HaveOccurred())
	set := w.judgedSet("line-3", plant43, `{"interval":30}`)
	set.Spec.Rollout.MaxInFlight = 4
	set.Spec.Rollout.Success.Within.Duration = time.Hour
	w.create(set)
	answered := []string{}
	for len(answered) < len(devices) {
		w.Eventually(w.patches, patience, "20ms").Should(Equal(min(len(answered)+4, len(devices))))
		w.visits(set, 1)
		if len(answered) == 2 {
			w.stop()
			w.startManager()
		}
		w.visits(set, 2)
		w.Expect(w.patches()).To(Equal(min(len(answered)+4, len(devices))))
		for _, device := range w.holding(set, set.Status.Revision, devices) {
			if !slices.Contains(answered, device) {
				w.answer(device, accepts, []byte(`{"interval":30,"$version":2}`))
				answered = append(answered, device)
				break
			}
		}
	}
	w.awaitReady(set)
}

// TestRule8NothingIsWrittenUnbidden while the set is paused or suspended, or its hub read only.
func TestRule8NothingIsWrittenUnbidden(t *testing.T) {
	t.Parallel()
	w, devices := line(t, 5, accepts, 0)
	set := w.set("line-3", plant43, `{"ring":"a"}`, "")
	w.create(set)
	w.awaitReady(set)
	var conn v1alpha1.HubConnection
	w.Expect(w.client.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: "hub"}, &conn)).To(Succeed())
	for name, still := range map[string]func(on bool){
		"paused":    func(on bool) { w.edit(set, func() { set.Spec.Rollout.Paused = on }) },
		"suspended": func(on bool) { w.edit(set, func() { set.Spec.Suspend = on }) },
		"read only": func(on bool) {
			w.edit(&conn, func() {
				if conn.Spec.Mode = v1alpha1.ModeReadWrite; on {
					conn.Spec.Mode = v1alpha1.ModeReadOnly
				}
			})
			w.awaitReady(&conn)
		},
	} {
		still(true)
		w.visits(set, 1)
		w.tag("ring", name, devices[0])
		w.edit(set, func() { set.Spec.Template.Tags = raw(fmt.Sprintf(`{"ring":"a","state":%q}`, name)) })
		w.visits(set, 3)
		w.Expect(w.patches()).To(BeZero(), name)
		w.Expect(w.tags(devices[0])).To(ContainSubstring(fmt.Sprintf(`"ring":%q`, name)))
		still(false)
		w.Eventually(func() string { return w.tags(devices[0]) }, patience, "50ms").Should(ContainSubstring(fmt.Sprintf(`"state":%q`, name)))
		w.awaitReady(set)
	}
}

// TestRule9AnApprovalNamesRevisionAndWave, and is none for another of either.
func TestRule9AnApprovalNamesRevisionAndWave(t *testing.T) {
	t.Parallel()
	w, devices := line(t, 4, accepts, 0)
	w.tag("canary", true, devices[0])
	set := w.judgedSet("line-3", plant43, `{"interval":30}`)
	set.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "canary", Where: "tags.canary = true", Then: v1alpha1.AfterWaveApprove}}
	w.create(set)
	w.await(set, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
	for _, other := range []string{"canary", set.Status.Revision, set.Status.Revision + "/rest", "0123456789/canary", set.Status.Revision + "/canary/"} {
		w.annotateSet(set, v1alpha1.ApproveAnnotation, other)
		w.visits(set, 2)
		w.await(set, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
		w.Expect(w.patches()).To(Equal(1), other)
	}
	w.annotateSet(set, v1alpha1.ApproveAnnotation, set.Status.Revision+"/canary")
	w.awaitReady(set)
	w.hub.ResetCounters()
	w.edit(set, func() { set.Spec.Template.Desired = raw(`{"interval":31}`) })
	w.await(set, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
	w.Expect(w.patches()).To(Equal(1), "the next revision needs its own")
}

// TestRule10AStatusNamesTwentyDevices at most, however many fail.
func TestRule10AStatusNamesTwentyDevices(t *testing.T) {
	t.Parallel()
	w, _ := line(t, 30, refuses, 0)
	set := w.judgedSet("line-3", plant43, `{"interval":30}`)
	set.Spec.Rollout.Failure.Percent = ptr.To[int32](100)
	w.create(set)
	w.await(set, metav1.ConditionFalse, v1alpha1.ReasonRolloutFailed)
	w.Expect(set.Status.Examples).To(HaveLen(20))
	w.Expect(set.Status.Waves[0].Failed).To(BeEquivalentTo(30))
	w.Expect(set.Status.InFlight).To(BeEmpty())
}
