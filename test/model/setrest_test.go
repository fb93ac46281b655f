package model_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

const (
	// maxSetRounds is how many visits to everything it takes at the most until the sets have nothing
	// to do: a device at a time, and two sets.
	maxSetRounds = 80
	// roundTime is more than the longest wait for an index, or for a device that could not be written.
	roundTime = 15 * time.Minute
)

// statusOf is the status of a set.
func (w *setWorld) statusOf(s *declaredSet) v1alpha1.DeviceTwinSetStatus {
	var obj v1alpha1.DeviceTwinSet
	w.Expect(client.IgnoreNotFound(w.client.Get(w.context(), client.ObjectKey{Namespace: w.ns, Name: s.name}, &obj))).To(Succeed())
	return obj.Status
}

// nudge asks for a visit to every set, and lets some time pass.
func (w *setWorld) nudge() string {
	w.moved.pass(pulse)
	w.nonce++
	nonce := fmt.Sprint(w.nonce)
	for _, s := range w.staying() {
		w.annotate(s, v1alpha1.ReconcileAtAnnotation, nonce)
	}
	return nonce
}

// visit has each set make a step, and tells whether all did within a time: what was declared before is
// known to them then.
func (w *setWorld) visit(atMost time.Duration) (all bool) {
	w.give(atMost, func() bool { return w.known() == "" })
	known := w.known() == ""
	nonce := w.nudge()
	visited := ""
	w.give(atMost, func() bool {
		visited = w.unvisited(nonce)
		return visited == ""
	})
	if !known || visited != "" {
		return false
	}
	w.hubEvents.Lock()
	defer w.hubEvents.Unlock()
	w.fleet.Acknowledged()
	return true
}

// visitTwins has each DeviceTwin read its twin at the hub: what another writer has changed may not have come
// to its notice while the sets do nothing any more.
func (w *setWorld) visitTwins() {
	w.nonce++
	nonce := fmt.Sprint(w.nonce)
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.ReconcileAtAnnotation, nonce))
	for _, twin := range w.twins {
		if !twin.leaving {
			w.Expect(w.client.Patch(w.context(), &v1alpha1.DeviceTwin{ObjectMeta: w.meta(twin.name)}, patch)).To(Succeed())
		}
	}
	for _, twin := range w.twins {
		if !twin.leaving {
			w.Eventually(func() (string, error) {
				var obj v1alpha1.DeviceTwin
				err := w.client.Get(w.context(), client.ObjectKey{Namespace: w.ns, Name: twin.name}, &obj)
				return obj.Status.LastHandledReconcileAt, err
			}, patience, poll).Should(Equal(nonce))
		}
	}
}

// known says of what the managers do not know yet, sets aside; "" for nothing.
func (w *setWorld) known() string {
	var conn v1alpha1.HubConnection
	w.Expect(client.IgnoreNotFound(suite.cache.Get(w.context(), client.ObjectKey{Namespace: w.ns, Name: setsHub}, &conn))).To(Succeed())
	ready := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionReady)
	mode := map[bool]v1alpha1.HubMode{true: v1alpha1.ModeReadOnly, false: v1alpha1.ModeReadWrite}[w.readOnly]
	if ready == nil || ready.ObservedGeneration != conn.Generation || conn.Spec.Mode != mode {
		return "the HubConnection"
	}
	for device, twin := range w.twins {
		var obj v1alpha1.DeviceTwin
		err := w.client.Get(w.context(), client.ObjectKey{Namespace: w.ns, Name: twin.name}, &obj)
		switch {
		case apierrors.IsNotFound(err) && twin.leaving:
			delete(w.twins, device)
		case err != nil || twin.leaving || obj.Status.ObservedGeneration != obj.Generation:
			return twin.name
		}
	}
	return ""
}

// noteDeleted notes which sets are gone.
func (w *setWorld) noteDeleted() {
	for _, s := range w.sets {
		var obj v1alpha1.DeviceTwinSet
		err := w.client.Get(w.context(), client.ObjectKey{Namespace: w.ns, Name: s.name}, &obj)
		s.deleted = s.leaving && apierrors.IsNotFound(err)
	}
}

// unvisited says which set has not made a step that was asked for; "" for none.
func (w *setWorld) unvisited(nonce string) string {
	for _, s := range w.sets {
		var obj v1alpha1.DeviceTwinSet
		err := suite.cache.Get(w.context(), client.ObjectKey{Namespace: w.ns, Name: s.name}, &obj)
		switch {
		case s.leaving && s.rules.Gone && !apierrors.IsNotFound(err):
			return s.name + " is not gone"
		case !s.leaving && (err != nil || obj.Status.LastHandledReconcileAt != nonce):
			return fmt.Sprintf("%s: %v %+v", s.name, err, obj.Status)
		}
	}
	return ""
}

// rest ends all disturbances, has the devices answer, and lets time pass until nothing changes any more.
// Then it holds what is there against the rules.
func (w *setWorld) rest() {
	w.traps.openAll()
	if w.still != "" {
		w.actIndex(w.t)
	}
	if w.readOnly && w.setsLeaving() != "" {
		w.setMode(false)
	}
	w.moved.pass(longEnough)
	w.Eventually(func() string {
		w.moved.pass(pulse)
		w.noteDeleted()
		return w.setsLeaving()
	}, patience, "100ms").Should(BeEmpty())
	before := ""
	for range maxSetRounds {
		patches := w.calls(updateTwin)
		for id := range w.connected {
			w.report(id)
		}
		w.moved.pass(roundTime)
		w.visitTwins()
		visited := w.visit(patience)
		w.judged()
		now := w.restPrint()
		if visited && now == before && w.calls(updateTwin) == patches && w.settledSets() {
			w.note("-- at rest")
			w.compareSets()
			return
		}
		before = now
	}
	w.fail(fmt.Errorf("it does not come to rest: %s", before))
}

// settledSets tells whether no set is at work.
func (w *setWorld) settledSets() bool {
	for _, s := range w.staying() {
		//exhaustive:ignore
		switch w.statusOf(s).Phase {
		case v1alpha1.SetProgressing, v1alpha1.SetSoaking, v1alpha1.SetRollingBack:
			if !s.rules.Still && !w.readOnly {
				return false
			}
		}
	}
	return true
}

// setsLeaving says which sets are deleted and not gone; "" for none.
func (w *setWorld) setsLeaving() string {
	out := ""
	for _, s := range w.sets {
		if s.leaving && !s.deleted {
			out += fmt.Sprintf("%s: %+v", s.name, w.statusOf(s))
		}
	}
	return out
}

// restPrint is all that may not change any more at rest.
func (w *setWorld) restPrint() string {
	out := ""
	for _, id := range w.ids {
		out += fmt.Sprintf("\n    %s %s", id, w.onHub(id))
	}
	for _, s := range w.staying() {
		status := w.statusOf(s)
		status.LastHandledReconcileAt, status.ETA, status.ObservedAt = "", nil, nil
		text, err := json.Marshal(status)
		w.Expect(err).NotTo(HaveOccurred())
		out += "\n    " + s.name + " " + string(text)
	}
	return out
}

// compareSets holds what is there against the rules.
func (w *setWorld) compareSets() {
	w.hubEvents.Lock()
	defer w.hubEvents.Unlock()
	twins := map[string]reference.Leaves{}
	for _, id := range w.ids {
		twins[id] = w.onHub(id)
	}
	var errs []error
	for _, s := range w.sets {
		if s.deleted {
			errs = append(errs, w.checkGone(s, twins))
			w.fleet.Forget(s.key)
			continue
		}
		errs = append(errs, w.checkSet(s, twins))
	}
	for device, twin := range w.twins {
		for path, value := range twin.leaves {
			if held := twins[device][path]; held != value {
				errs = append(errs, fmt.Errorf("%s of %s declares %s=%s, and the hub holds %q", twin.name, device, path, value, held))
			}
		}
	}
	var left []*declaredSet
	for _, s := range w.sets {
		if !s.deleted {
			left = append(left, s)
		}
	}
	w.sets = left
	if err := errors.Join(errs...); err != nil {
		w.fail(fmt.Errorf("%w%s", err, w.restPrint()))
	}
}

// checkGone wants no marker of a set that has cleared its devices.
func (w *setWorld) checkGone(s *declaredSet, twins map[string]reference.Leaves) error {
	for id, hub := range twins {
		if _, marked := reference.MarkerOf(hub, s.key); marked && s.rules.Leaving {
			return fmt.Errorf("%s has cleared its devices, and %s has its marker", s.name, id)
		}
	}
	return nil
}

func (w *setWorld) checkSet(s *declaredSet, twins map[string]reference.Leaves) error {
	var obj v1alpha1.DeviceTwinSet
	w.Expect(w.client.Get(w.context(), client.ObjectKey{Namespace: w.ns, Name: s.name}, &obj)).To(Succeed())
	status := &obj.Status
	w.note("   %s: %s, revision %s, wave %q, %+v", s.name, status.Phase, status.Revision, status.Wave, status.Counts)
	return errors.Join(kstatus.Check(&obj), w.fleet.Rest(s.key, reference.SetSeen{
		Phase: string(status.Phase), Revision: status.Revision, Wave: status.Wave,
		Selected: status.Counts.Selected, Written: status.Counts.Written, InFlight: status.InFlight,
	}, twins))
}

// finish lets every set bring one more revision to all devices, which take it, and then has all go.
func (w *setWorld) finish() {
	w.rest()
	if w.readOnly {
		w.setMode(false)
	}
	clear(w.refuses)
	for i, s := range w.staying() {
		s.rules.Leaves = reference.Leaves{reference.At("desired", "last"): fmt.Sprint(100 + i), reference.At("tags", "b", "x"): "7"}
		s.rules.Waves, s.rules.TakesBack = nil, false
		s.spec.Suspend, s.spec.Rollout.Paused = false, false
		s.spec.Rollout.Failure.Percent = ptr.To[int32](100)
		s.spec.DeletionPolicy = v1alpha1.SetClear
		w.editSet(s, "the last revision")
	}
	w.rest()
	for _, s := range w.staying() {
		if phase := w.statusOf(s).Phase; phase != v1alpha1.SetComplete && phase != v1alpha1.SetCompletedWithOffline {
			w.fail(fmt.Errorf("%s has nothing to wait for, and is %s:%s", s.name, phase, w.restPrint()))
		}
	}
	for _, s := range w.staying() {
		w.deleteSet(s)
	}
	w.rest()
	for _, id := range w.ids {
		if value, held := w.onHub(id)[reference.At("desired", "last")]; held {
			w.fail(fmt.Errorf("%s still holds last=%s, and all sets have gone", id, value))
		}
	}
}
