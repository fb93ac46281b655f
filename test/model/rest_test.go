package model_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

const (
	// longEnough is when no write can be on its way any more, and no fight over a
	// leaf is remembered.
	longEnough = 3 * time.Hour
	// maxRounds is how many visits to everything it takes at the most until there is
	// nothing to do: hand-overs take some.
	maxRounds = 12
)

// rest ends all disturbances, lets time pass, and triggers all objects until
// nothing changes any more. Then it holds what is there against the rules.
func (w *world) rest() {
	if w.events == 0 {
		return // nothing has happened since
	}
	defer func() { w.events = 0 }()
	for _, f := range w.hub.Faults() {
		w.calm(f)
	}
	if len(w.managers) == 0 {
		w.startManager()
	}
	for len(w.managers) > 1 {
		w.stopManager()
	}
	if w.readOnly && w.anyLeaving() {
		w.setReadOnly(false)
	}
	w.awaitGone()
	w.pass(longEnough)
	before := ""
	for range maxRounds {
		now := w.round()
		if before == "" { // what a manager finds on its way counts from its own first visits
			w.pass(longEnough)
		}
		if now.quiet && now.fingerprint == before {
			w.note("-- at rest")
			w.compare(now.objects)
			return
		}
		before = now.fingerprint
		w.note("   not at rest yet: %d patches; %s", now.patches, strings.Join(now.writes, ", "))
	}
	w.fail(fmt.Errorf("it does not come to rest: %s", before))
}

// pass puts the managers' clock forward.
func (w *world) pass(by time.Duration) { w.clock.SetTime(w.clock.Now().Add(by)) }

// round is a visit to everything.
type round struct {
	objects     map[string]*v1alpha1.DeviceTwin
	fingerprint string
	patches     int64
	writes      []string
	// quiet is true when nothing was written but the echo of the request for the visit.
	quiet bool
}

func (w *world) round() round {
	made := w.managers[0].writes
	before, patches := len(made.after(0)), w.calls(updateTwin)
	out := round{objects: w.visitAll()}
	var echoes []string
	for name := range out.objects {
		echoes = append(echoes, "PATCH devicetwins/"+name+"/status")
	}
	w.Eventually(func() bool { // what is seen may not have been answered yet
		return !slices.ContainsFunc(echoes, func(echo string) bool { return !slices.Contains(made.after(before), echo) })
	}, patience, poll).Should(BeTrue())
	out.writes, out.patches = made.after(before), w.calls(updateTwin)-patches
	out.quiet = slices.Equal(sorted(echoes), sorted(slices.Clone(out.writes))) && out.patches == 0
	out.fingerprint = w.fingerprint(out.objects)
	return out
}

func (w *world) anyLeaving() bool {
	for _, d := range w.devices {
		for _, o := range d.objects {
			if o.leaving {
				return true
			}
		}
	}
	return false
}

// visitAll asks for a visit to every object, and waits until each has had it, and
// until those that are to go have gone. Each visit writes one status: the echo.
func (w *world) visitAll() map[string]*v1alpha1.DeviceTwin {
	w.nonce++
	nonce := fmt.Sprint(w.nonce)
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.ReconcileAtAnnotation, nonce))
	for _, d := range w.devices {
		for _, o := range d.objects {
			if !o.leaving {
				w.Expect(w.client.Patch(w.context(), &v1alpha1.DeviceTwin{ObjectMeta: w.meta(o.name)}, patch)).To(Succeed())
			}
		}
	}
	var objects map[string]*v1alpha1.DeviceTwin
	w.Eventually(func() string {
		objects = w.list()
		pending := w.pending(objects, nonce)
		if strings.Contains(pending, "may still be on its way") {
			w.pass(longEnough) // for a manager that began to act after it was put forward
		}
		return pending
	}, patience, poll).Should(BeEmpty())
	return objects
}

func (w *world) list() map[string]*v1alpha1.DeviceTwin {
	var list v1alpha1.DeviceTwinList
	w.Expect(suite.cache.List(w.context(), &list, client.InNamespace(w.ns))).To(Succeed())
	out := map[string]*v1alpha1.DeviceTwin{}
	for i := range list.Items {
		out[list.Items[i].Name] = &list.Items[i]
	}
	return out
}

// pending says what is not up to date yet; "" when all is.
func (w *world) pending(objects map[string]*v1alpha1.DeviceTwin, nonce string) string {
	var conn v1alpha1.HubConnection
	w.Expect(client.IgnoreNotFound(suite.cache.Get(w.context(), client.ObjectKey{Namespace: w.ns, Name: "hub"}, &conn))).To(Succeed())
	if ready := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionReady); ready == nil || ready.ObservedGeneration != conn.Generation {
		return "the HubConnection"
	}
	for _, d := range w.devices {
		for name := range d.objects {
			if objects[name] == nil && !d.objects[name].leaving {
				return name + " is not seen yet"
			}
		}
	}
	for _, obj := range objects {
		if obj.Status.LastHandledReconcileAt != nonce || obj.Status.ObservedGeneration != obj.Generation {
			return fmt.Sprintf("%s: %+v", obj.Name, obj.Status)
		}
	}
	return ""
}

// fingerprint is all that may not change any more at rest.
func (w *world) fingerprint(objects map[string]*v1alpha1.DeviceTwin) string {
	var parts []string
	for _, d := range w.devices {
		leaves, etag, _ := w.held(d.id)
		parts = append(parts, d.id+" "+etag+" "+leaves.String())
		for name := range d.objects {
			obj := objects[name]
			if obj == nil {
				continue
			}
			status := obj.Status.DeepCopy()
			status.LastHandledReconcileAt = ""
			text, err := json.Marshal(status)
			w.Expect(err).NotTo(HaveOccurred())
			parts = append(parts, name+" "+string(text)+" "+strings.Join(obj.Finalizers, " "))
		}
	}
	return strings.Join(sorted(parts), "\n")
}

// compare holds what is there against the rules.
func (w *world) compare(objects map[string]*v1alpha1.DeviceTwin) {
	var errs []error
	for _, d := range w.devices {
		for name, o := range d.objects {
			if !o.leaving {
				errs = append(errs, kstatus.Check(objects[name]))
				o.saved = objects[name].Status.Record
			}
		}
		seen := w.seen(d, objects)
		if err := d.reference.Rest(seen); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.id, err))
		}
		w.note("   %s holds %s (%d states)", d.id, seen.Hub, d.reference.States())
	}
	if err := errors.Join(errs...); err != nil {
		w.fail(err)
	}
	w.dropLeft()
	w.checkTenant()
	w.takeSnapshot()
}

// seen is all that there is to be seen of a device and its objects.
func (w *world) seen(d *device, objects map[string]*v1alpha1.DeviceTwin) reference.Seen {
	seen := reference.Seen{Reasons: map[string]string{}, Drifted: map[string]bool{}, Kept: map[string]bool{}}
	seen.Hub, _, seen.Registered = w.held(d.id)
	for name, o := range d.objects {
		if !o.leaving {
			see(&seen, o, objects[name])
		}
	}
	return seen
}

func see(seen *reference.Seen, o *declared, obj *v1alpha1.DeviceTwin) {
	if obj.Status.Target != "" {
		seen.Holder = o.uid
	}
	if controllerutil.ContainsFinalizer(obj, v1alpha1.CleanupFinalizer) {
		seen.Kept[o.uid] = true
	}
	if ready := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		seen.Reasons[o.uid] = ready.Reason
	}
	switch seen.Reasons[o.uid] {
	case reference.Succeeded, reference.Conflict, reference.HubReadOnly: // the twin was read
		if meta.IsStatusConditionTrue(obj.Status.Conditions, v1alpha1.ConditionDrifted) {
			seen.Drifted[o.uid] = true
		}
	}
}

// dropLeft forgets objects that have gone.
func (w *world) dropLeft() {
	for _, d := range w.devices {
		for name, o := range d.objects {
			if o.leaving {
				delete(d.objects, name)
			}
		}
	}
}

// finish empties all declarations: exactly what is ours goes. Then nothing is
// written any more, however often the twins are read.
func (w *world) finish() {
	w.rest()
	w.release()
	w.rest()
	for _, d := range w.devices {
		for _, o := range d.staying() {
			w.edit(d, o, reference.Leaves{}, func(spec *v1alpha1.DeviceTwinSpec) { spec.Policy, spec.Policies = v1alpha1.PolicyEnforce, nil })
		}
	}
	w.rest()
	made := w.managers[0].writes
	before, patches, asked := len(made.after(0)), w.calls(updateTwin), w.calls(query)
	if !w.anySynced() {
		return
	}
	w.Eventually(func() int64 { return w.calls(query) - asked }, patience, poll).Should(BeNumerically(">=", 2))
	if written := made.after(before); w.calls(updateTwin) != patches || len(written) > 0 {
		w.fail(fmt.Errorf("at rest %d PATCHes, and to the API server: %s", w.calls(updateTwin)-patches, strings.Join(written, ", ")))
	}
}

// release lets everything be written that is kept from it.
func (w *world) release() {
	if w.readOnly {
		w.setReadOnly(false)
	}
	for _, d := range w.devices {
		for _, o := range d.staying() {
			if o.spec.Suspend {
				w.edit(d, o, o.leaves, func(spec *v1alpha1.DeviceTwinSpec) { spec.Suspend = false })
			}
		}
	}
}

func (w *world) anySynced() bool {
	for _, obj := range w.list() {
		if meta.IsStatusConditionTrue(obj.Status.Conditions, v1alpha1.ConditionSynced) {
			return true
		}
	}
	return false
}
