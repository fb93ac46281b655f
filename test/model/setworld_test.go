package model_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/revisions"
	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

const (
	// fleetSize is how many devices there are.
	fleetSize = 12
	// setsHub is the HubConnection of the sets. It signs in by another policy than that of the
	// DeviceTwins, which tells their changes apart.
	setsHub, setsPolicy = "sets", "iothubowner"
	// within is how long a device may take to answer: no sequence lasts so long.
	within = 700 * time.Hour
)

// setWorld is a sequence about DeviceTwinSets.
type setWorld struct {
	*world
	moved *movedClock
	fleet *reference.Fleet
	// events of the hub, each together with what the rules are told of it.
	hubEvents sync.Mutex
	// ids of the devices, and what each is like.
	ids       []string
	connected map[string]paho.Client
	refuses   map[string]bool
	sets      []*declaredSet
	twins     map[string]*declaredTwin // by device
	made      int
	still     string // index fault in force; "" for none
	// traps are what happens to the next changes that the sets make.
	traps traps
	// wrong is what the sets have done that they may not.
	wrong []error
}

// declaredSet is a DeviceTwinSet as it was applied last.
type declaredSet struct {
	name, key string
	spec      v1alpha1.DeviceTwinSetSpec
	rules     reference.SetSpec
	leaving   bool
	deleted   bool
}

// declaredTwin is the DeviceTwin of a device.
type declaredTwin struct {
	name    string
	leaves  reference.Leaves
	leaving bool
}

// movedClock is the real one, put forward.
type movedClock struct{ forward atomic.Int64 }

func (c *movedClock) Now() time.Time                  { return time.Now().Add(time.Duration(c.forward.Load())) }
func (c *movedClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
func (c *movedClock) pass(by time.Duration)           { c.forward.Add(int64(by)) }

func newSetWorld(t *rapid.T) *setWorld {
	w := &setWorld{
		world: &world{WithT: *NewWithT(t), t: t, client: suite.client, began: time.Now()}, moved: &movedClock{},
		connected: map[string]paho.Client{}, refuses: map[string]bool{}, twins: map[string]*declaredTwin{},
	}
	w.timer, w.fleet = w.moved, reference.NewFleet(w.content)
	for i := range fleetSize {
		w.ids = append(w.ids, fmt.Sprintf("d%02d", i+1))
	}
	var err error
	w.hub, err = hubemulator.Start(w.context(), hubemulator.Options{Devices: w.ids})
	w.Expect(err).NotTo(HaveOccurred())
	w.kept = w.http()
	w.kept.Transport.(*http.Transport).DisableKeepAlives = false
	w.front = w.frontHub()
	w.front.patch = w.patch
	w.ns = w.newNamespace()
	w.tenant = &tenant{ns: w.ns}
	w.connect()
	w.connectSets()
	for _, id := range w.ids {
		w.fleet.Register(id)
	}
	w.populate()
	w.startManager()
	w.addSet(w.t, true)
	w.note("a hub with %d devices, a manager and a set: %s", fleetSize, w.sets[0])
	return w
}

// connectSets declares the hub a second time, for the sets.
func (w *setWorld) connectSets() {
	text, err := w.hub.ServiceConnectionString(setsPolicy)
	w.Expect(err).NotTo(HaveOccurred())
	_, rest, _ := strings.Cut(text, ";")
	secret := &corev1.Secret{ObjectMeta: w.meta(setsHub), StringData: map[string]string{"connectionString": "HostName=" + w.front.host(w.world) + ";" + rest}}
	w.Expect(w.client.Create(w.context(), secret)).To(Succeed())
	conn := w.connection(w.ns)
	conn.Name = setsHub
	conn.Spec.Auth.ConnectionStringSecretRef.Name = setsHub
	w.Expect(w.client.Create(w.context(), conn)).To(Succeed())
}

// populate gives the devices their tags, and connects some.
func (w *setWorld) populate() {
	for i, id := range w.ids {
		tags := reference.Leaves{tagPlant: `"43"`, tagLine: fmt.Sprintf("%q", []string{"a", "b"}[i%2])}
		if i%4 == 3 {
			tags[tagPlant] = `"44"`
		}
		if i%5 == 0 {
			tags[tagRing] = `"canary"`
		}
		w.writeAs(id, reference.Patch{Set: tags})
		if i%3 != 2 {
			w.setConnected(id, true)
		}
	}
}

// addSet creates a set.
func (w *setWorld) addSet(t *rapid.T, first bool) {
	w.made++
	s := &declaredSet{name: fmt.Sprintf("s%d", w.made)}
	s.key = w.ns + "_" + s.name
	s.draw(t, someSetLeaves().Draw(t, "template"))
	s.rules.Where = reference.Where{Path: tagPlant, Value: `"43"`}
	if !first && rapid.Bool().Draw(t, "by line") {
		s.rules.Where = reference.Where{Path: tagLine, Value: `"a"`}
	}
	obj := &v1alpha1.DeviceTwinSet{ObjectMeta: w.meta(s.name), Spec: *s.apply()}
	w.Expect(w.client.Create(w.context(), obj)).To(Succeed())
	w.sets = append(w.sets, s)
	w.hubEvents.Lock()
	defer w.hubEvents.Unlock()
	w.fleet.Declare(s.key, fmt.Sprintf("%d %s", obj.CreationTimestamp.Unix(), obj.UID), s.rules)
}

// content is what the managers keep as a revision of a set.
func (w *setWorld) content(key, revision string) (reference.Leaves, bool) {
	var list appsv1.ControllerRevisionList
	if err := w.client.List(w.context(), &list, client.InNamespace(w.ns), client.MatchingLabels{revisions.RevisionLabel: revision}); err != nil {
		return nil, false
	}
	for i := range list.Items {
		object := &list.Items[i]
		var kept struct{ Tags, Desired json.RawMessage }
		if w.ns+"_"+object.Labels[revisions.SetLabel] != key || json.Unmarshal(object.Data.Raw, &kept) != nil {
			continue
		}
		tags, err := reference.Parse("tags", kept.Tags)
		desired, wrong := reference.Parse("desired", kept.Desired)
		return reference.Join(tags, desired), err == nil && wrong == nil
	}
	return nil, false
}

// apply is the set's spec as a manifest has it.
func (s *declaredSet) apply() *v1alpha1.DeviceTwinSetSpec {
	spec := &s.spec
	spec.HubRef.Name = setsHub
	spec.Selector.Where = s.rules.Where.Path.String() + " = " + strings.ReplaceAll(s.rules.Where.Value, `"`, "'")
	spec.MaxDevices = 100
	spec.Interval.Duration = 5 * time.Second
	spec.Template = v1alpha1.SetTemplate{Tags: rawSection(s.rules.Leaves, "tags"), Desired: rawSection(s.rules.Leaves, "desired")}
	spec.Rollout.MaxInFlight = int32(s.rules.MaxInFlight)
	spec.Rollout.Success = v1alpha1.RolloutSuccess{From: v1alpha1.SuccessFromWritten, Percent: 50, Within: metav1.Duration{Duration: within}}
	if s.rules.Judged {
		spec.Rollout.Success.From = v1alpha1.SuccessFromAcknowledged
	}
	spec.Rollout.Waves = nil
	for _, wave := range s.rules.Waves {
		out := v1alpha1.SetWave{Name: wave.Name, MaxInFlight: int32(wave.MaxInFlight), Then: v1alpha1.AfterWaveContinue}
		if wave.Where != nil {
			out.Where = wave.Where.Path.String() + " = " + strings.ReplaceAll(wave.Where.Value, `"`, "'")
		} else {
			out.Percent = 40
		}
		if wave.Approve {
			out.Then = v1alpha1.AfterWaveApprove
		}
		spec.Rollout.Waves = append(spec.Rollout.Waves, out)
	}
	s.rules.Still = spec.Suspend || spec.Rollout.Paused
	s.rules.TakesBack = s.rules.TakesBack || spec.Rollout.Failure.Action == v1alpha1.FailureRollBack
	s.rules.JoinersAtOnce = spec.Rollout.Joiners == v1alpha1.JoinersAtOnce
	s.rules.JoinersWait = spec.Rollout.Joiners != v1alpha1.JoinersAfterTheirWave
	s.rules.ClearsLeavers = spec.OnLeave == v1alpha1.SetClear
	return spec
}

// editSet replaces what a set declares.
func (w *setWorld) editSet(s *declaredSet, what string) {
	patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec", "value": s.apply()}})
	w.Expect(err).NotTo(HaveOccurred())
	w.declareSet(s)
	w.Expect(w.client.Patch(w.context(), &v1alpha1.DeviceTwinSet{ObjectMeta: w.meta(s.name)}, client.RawPatch(types.JSONPatchType, patch))).To(Succeed())
	w.note("%s: %s", what, s)
}

// declareSet tells the rules what a set declares.
func (w *setWorld) declareSet(s *declaredSet) {
	w.hubEvents.Lock()
	defer w.hubEvents.Unlock()
	w.fleet.Declare(s.key, "", s.rules)
}

// annotate sets an annotation of a set.
func (w *setWorld) annotate(s *declaredSet, name, value string) {
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, name, value))
	w.Expect(w.client.Patch(w.context(), &v1alpha1.DeviceTwinSet{ObjectMeta: w.meta(s.name)}, patch)).To(Succeed())
}

// deleteSet deletes a set, which clears its devices or leaves them as they are.
func (w *setWorld) deleteSet(s *declaredSet) {
	s.rules.Leaving = s.spec.DeletionPolicy == v1alpha1.SetClear
	s.rules.Gone, s.leaving = !s.rules.Leaving, true
	w.declareSet(s)
	w.Expect(w.client.Delete(w.context(), &v1alpha1.DeviceTwinSet{ObjectMeta: w.meta(s.name)})).To(Succeed())
	w.note("delete %s", s)
}

// staying are the sets that are not deleted.
func (w *setWorld) staying() []*declaredSet {
	var out []*declaredSet
	for _, s := range w.sets {
		if !s.leaving {
			out = append(out, s)
		}
	}
	return out
}

func (s *declaredSet) String() string {
	waves := make([]string, 0, len(s.rules.Waves))
	for _, wave := range s.rules.Waves {
		waves = append(waves, fmt.Sprintf("%s(where %t, approve %t)", wave.Name, wave.Where != nil, wave.Approve))
	}
	return fmt.Sprintf("%s %s of %s, waves %v, maxInFlight %d, judged %t, paused %t, suspended %t, %s %d%%, joiners %s, onLeave %s, deletion %s, history %d",
		s.name, s.rules.Leaves, s.spec.Selector.Where, waves, s.rules.MaxInFlight, s.rules.Judged, s.spec.Rollout.Paused, s.spec.Suspend,
		s.spec.Rollout.Failure.Action, ptr.Deref(s.spec.Rollout.Failure.Percent, 0), s.spec.Rollout.Joiners, s.spec.OnLeave, s.spec.DeletionPolicy,
		ptr.Deref(s.spec.RevisionHistoryLimit, 0))
}

// judged fails the sequence if the sets have done what they may not.
func (w *setWorld) judged() {
	w.hubEvents.Lock()
	wrong := errors.Join(w.wrong...)
	w.hubEvents.Unlock()
	if wrong != nil {
		w.fail(wrong)
	}
}

// close stops everything, whatever happened before.
func (w *setWorld) close() {
	w.traps.openAll()
	w.kept.CloseIdleConnections()
	for _, connection := range w.connected {
		connection.Disconnect(0)
	}
	w.world.close()
}
