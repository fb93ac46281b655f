package crash_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// fleetEnd is what a scenario about a set must come to.
type fleetEnd struct {
	// twins by device, with MARK where the set's marker stands.
	twins map[string]string
	// phase of the set; "" where it must be gone.
	phase v1alpha1.SetPhase
	// revisions that are kept of it.
	revisions int
}

// line are the devices of the sets.
var line = []string{"d1", "d2"}

// sets are what users and other back ends do to DeviceTwinSets. Their devices are not connected: those are
// noted in flight before they are written, and are waited for no longer than until they are read.
var sets = []scenario{
	{
		name: "set: create", exists: line, policy: "service",
		prepare: func(c *cell) { c.onLine() },
		act: func(c *cell) {
			c.create(c.set(func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.DeletionPolicy = v1alpha1.SetClear }))
		},
		fleet: &fleetEnd{phase: v1alpha1.SetCompletedWithOffline, revisions: 1, twins: bothHold(`"old":1,"ring":"a"`, `"interval":30`)},
	},
	{ // the revision before is deleted once no device holds it
		name: "set: edit", exists: line, policy: "service",
		prepare: func(c *cell) { c.settledSet(nil) },
		act:     func(c *cell) { c.editSet(nextRevision) },
		fleet:   &fleetEnd{phase: v1alpha1.SetCompletedWithOffline, revisions: 1, twins: bothHold(`"ring":"b"`, `"interval":31`)},
	},
	{
		name: "set: roll back", exists: line, policy: "service",
		prepare: func(c *cell) {
			c.settledSet(func(obj *v1alpha1.DeviceTwinSet) {
				obj.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "canary", Where: "deviceId = 'd1'", Then: v1alpha1.AfterWaveApprove}}
			})
			c.editSet(nextRevision)
			c.awaitSet(v1alpha1.ReasonAwaitingApproval)
		},
		act: func(c *cell) {
			c.editSet(func(obj *v1alpha1.DeviceTwinSet) {
				metav1.SetMetaDataAnnotation(&obj.ObjectMeta, v1alpha1.RolloutAnnotation, obj.Status.Revision+"/rollback")
			})
		},
		fleet: &fleetEnd{phase: v1alpha1.SetRolledBack, revisions: 2, twins: bothHold(`"old":1,"ring":"a"`, `"interval":30`)},
	},
	{
		name: "set: leave", exists: line, policy: "service",
		prepare: func(c *cell) {
			c.settledSet(func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.OnLeave = v1alpha1.SetClear })
		},
		act: func(c *cell) { c.anotherWriter("d2", map[string]any{"line": 4}) },
		fleet: &fleetEnd{phase: v1alpha1.SetCompletedWithOffline, revisions: 1, twins: map[string]string{
			"d1": `[{"deviceTwinSets":MARK,"line":3,"old":1,"ring":"a","theirs":1},{"interval":30}]`, "d2": `[{"line":4,"theirs":1},{}]`,
		}},
	},
	{
		name: "set: clear", exists: line, policy: "service",
		prepare: func(c *cell) {
			c.settledSet(func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.DeletionPolicy = v1alpha1.SetClear })
		},
		act: func(c *cell) { c.Expect(c.client.Delete(c.Context(), c.setObject())).To(Succeed()) },
		fleet: &fleetEnd{revisions: -1, twins: map[string]string{
			"d1": `[{"line":3,"theirs":1},{}]`, "d2": `[{"line":3,"theirs":1},{}]`,
		}},
	},
}

func bothHold(tags, desired string) map[string]string {
	both := fmt.Sprintf(`[{"deviceTwinSets":MARK,"line":3,%s,"theirs":1},{%s}]`, tags, desired)
	return map[string]string{"d1": both, "d2": both}
}

// onLine gives the devices what the set selects by, beside another writer's values.
func (c *cell) onLine() {
	c.Helper()
	for _, device := range line {
		c.anotherWriter(device, map[string]any{"line": 3, "theirs": 1})
	}
}

// set makes a DeviceTwinSet that is not created yet.
func (c *cell) set(also func(*v1alpha1.DeviceTwinSet)) *v1alpha1.DeviceTwinSet {
	obj := &v1alpha1.DeviceTwinSet{ObjectMeta: metav1.ObjectMeta{Namespace: c.ns, Name: "s1"}}
	obj.Spec.HubRef.Name = "hub"
	obj.Spec.Selector.Where = "tags.line = 3"
	obj.Spec.MaxDevices = 10
	obj.Spec.Template = v1alpha1.SetTemplate{Tags: raw(`{"ring":"a","old":1}`), Desired: raw(`{"interval":30}`)}
	obj.Spec.Interval.Duration = 5 * time.Second
	obj.Spec.RevisionHistoryLimit = ptr.To[int32](0)
	if also != nil {
		also(obj)
	}
	return obj
}

func nextRevision(obj *v1alpha1.DeviceTwinSet) {
	obj.Spec.Template = v1alpha1.SetTemplate{Tags: raw(`{"ring":"b"}`), Desired: raw(`{"interval":31}`)}
}

// settledSet has a set in step for long enough. Its waves are approved.
func (c *cell) settledSet(also func(*v1alpha1.DeviceTwinSet)) {
	c.Helper()
	c.onLine()
	obj := c.set(also)
	c.create(obj)
	if len(obj.Spec.Rollout.Waves) > 0 {
		c.awaitSet(v1alpha1.ReasonAwaitingApproval)
		c.editSet(func(obj *v1alpha1.DeviceTwinSet) {
			metav1.SetMetaDataAnnotation(&obj.ObjectMeta, v1alpha1.ApproveAnnotation, obj.Status.Revision+"/canary")
		})
	}
	c.awaitReady(obj)
	c.visitSet()
}

// setObject is the DeviceTwinSet as it is now, nil when it is gone.
func (c *cell) setObject() *v1alpha1.DeviceTwinSet {
	c.Helper()
	obj := &v1alpha1.DeviceTwinSet{}
	err := c.client.Get(c.Context(), client.ObjectKey{Namespace: c.ns, Name: "s1"}, obj)
	if apierrors.IsNotFound(err) {
		return nil
	}
	c.Expect(err).NotTo(HaveOccurred())
	return obj
}

func (c *cell) editSet(change func(*v1alpha1.DeviceTwinSet)) {
	c.Helper()
	c.Eventually(func() error {
		obj := c.setObject()
		change(obj)
		return c.client.Update(c.Context(), obj)
	}, patience, poll).Should(Succeed())
}

func (c *cell) awaitSet(reason string) {
	c.Helper()
	c.Eventually(func() string {
		obj := c.setObject()
		ready := kstatus.Current(obj, v1alpha1.ConditionReady)
		if ready == nil {
			return ""
		}
		return ready.Reason
	}, patience, poll).Should(Equal(reason))
}

// visitSet has the set make a step, long after the one before.
func (c *cell) visitSet() {
	c.Helper()
	c.putForward(time.Minute)
	at := time.Now().Format(time.RFC3339Nano)
	c.editSet(func(obj *v1alpha1.DeviceTwinSet) {
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, v1alpha1.ReconcileAtAnnotation, at)
	})
	c.Eventually(func() string { return c.setObject().Status.LastHandledReconcileAt }, patience, poll).Should(Equal(at))
}

// fleetDiffers says what is not as a scenario about a set wants it; "" for nothing.
func (c *cell) fleetDiffers(end *fleetEnd) string {
	c.Helper()
	obj := c.setObject()
	switch {
	case end.phase == "" && obj != nil:
		return "the set is not gone"
	case end.phase != "" && obj.Status.Phase != end.phase:
		return fmt.Sprintf("%+v", obj.Status)
	}
	return c.twinsDiffer(end)
}

// awaitFleet waits for what a scenario about a set wants.
func (c *cell) awaitFleet(end *fleetEnd) {
	c.Helper()
	c.Eventually(func() string {
		c.putForward(time.Second)
		return c.fleetDiffers(end)
	}, patience, "100ms").Should(BeEmpty())
}

// checkFleet waits for it, and wants it to stay like that.
func (c *cell) checkFleet(end *fleetEnd) {
	c.Helper()
	c.awaitFleet(end)
	if end.phase == "" {
		return
	}
	applied := c.applied()
	c.Eventually(func() int { // what was found last may not be shown yet
		written := len(c.gate.written())
		c.visitSet()
		return len(c.gate.written()) - written
	}, patience, poll).Should(BeNumerically("<=", 1), "in steady state nothing is written but the answer to a request")
	c.Expect(c.applied()).To(Equal(applied), "nor is any twin")
	c.Expect(c.fleetDiffers(end)).To(BeEmpty())
	obj := c.setObject()
	c.Expect(obj.Status.InFlight).To(BeEmpty())
	c.Expect(kstatus.Check(obj)).To(Succeed())
	c.Expect(meta.IsStatusConditionTrue(obj.Status.Conditions, v1alpha1.ConditionReady)).To(Equal(end.phase != v1alpha1.SetRolledBack))
	c.checkRevisions(end)
}

// twinsDiffer says which twin is not as it should be; "" for none.
func (c *cell) twinsDiffer(end *fleetEnd) string {
	c.Helper()
	for device, want := range end.twins {
		if obj := c.setObject(); obj != nil {
			wave := "rest"
			if len(obj.Spec.Rollout.Waves) > 0 && device == "d1" && end.phase != v1alpha1.SetRolledBack {
				wave = "canary"
			}
			want = strings.ReplaceAll(want, "MARK", fmt.Sprintf(`{"%s_s1":{"revision":%q,"wave":%q}}`, c.ns, obj.Status.Revision, wave))
		}
		if held := c.twinOnHub(device); held != want {
			return device + " holds " + held + " in place of " + want
		}
	}
	return ""
}

// checkRevisions wants no revision to be kept that no device needs, and none to be missing.
func (c *cell) checkRevisions(end *fleetEnd) {
	c.Helper()
	var list appsv1.ControllerRevisionList
	c.Expect(c.client.List(c.Context(), &list, client.InNamespace(c.ns))).To(Succeed())
	c.Expect(list.Items).To(HaveLen(end.revisions))
}
