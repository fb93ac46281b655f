package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

const shardLabel = "iothub.devicetwin.io/shard"

// withShard has the manager keep what has a label.
func withShard(name string) setting {
	return func(w *world) { w.options.Shard = shardOf(w, name) }
}

func shardOf(w *world, name string) shard.Shard {
	part, err := shard.Parse(shardLabel + "=" + name)
	w.Expect(err).NotTo(HaveOccurred())
	return part
}

// beside starts another manager of the same namespaces, for another shard.
func (w *world) beside(name string) *world {
	w.Helper()
	other := *w
	other.account += "-" + name
	other.options.Shard = shardOf(w, name)
	other.startManager()
	w.Cleanup(other.stop)
	return &other
}

// in puts an object into a shard.
func in[T client.Object](name string, obj T) T {
	obj.SetLabels(map[string]string{shardLabel: name})
	return obj
}

func (w *world) move(obj client.Object, to string) {
	w.Helper()
	w.edit(obj, func() { in(to, obj) })
}

// TestShardsKeepTheirOwn: two managers, two hubs, and neither touches what is the
// other's, or of neither.
func TestShardsKeepTheirOwn(t *testing.T) {
	t.Parallel()
	a := newWorld(t, withShard("a"))
	b := a.beside("b")
	second, err := hubemulator.Start(context.Background(), hubemulator.Options{Devices: []string{"d1"}})
	a.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { a.Expect(second.Close()).To(Succeed()) })
	b.hub = second
	for name, w := range map[string]*world{"a": a, "b": b} {
		w.createSecret("hub-"+name, w.credential("service"))
		w.create(in(name, w.connection("hub-"+name)))
	}
	twin := func(name, hub string) *v1alpha1.DeviceTwin {
		obj := a.twin("twin-"+name, "d1", fmt.Sprintf(`{"of":%q}`, name), "")
		obj.Spec.HubRef.Name = hub
		return obj
	}
	query := func(name string) *v1alpha1.TwinQuery {
		obj := in(name, a.query("query-"+name, "tags.of = '"+name+"'"))
		obj.Spec.HubRef.Name = "hub-" + name
		return obj
	}
	unowned := twin("unowned", "hub-a")
	a.create(unowned)
	for _, name := range []string{"a", "b"} {
		obj := in(name, twin(name, "hub-"+name))
		a.create(obj)
		a.awaitReady(obj)
		asked := query(name)
		a.create(asked)
		a.awaitReady(asked)
		a.Eventually(func() []string {
			a.Expect(a.client.Get(a.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
			return obj.Status.Memberships
		}, patience).Should(ConsistOf("query-" + name))
	}
	a.Expect(a.tags("d1")).To(MatchJSON(`{"of":"a"}`))
	a.Expect(b.tags("d1")).To(MatchJSON(`{"of":"b"}`))
	for name, manager := range map[string]*world{"a": a, "b": b} {
		for _, write := range manager.writes() {
			if !strings.Contains(write, "events") {
				a.Expect(write).To(HaveSuffix("-" + name))
			}
		}
	}
	a.Expect(a.client.Get(a.Context(), client.ObjectKeyFromObject(unowned), unowned)).To(Succeed())
	a.Expect(unowned.Status.Conditions).To(BeEmpty())
	a.delete(unowned)
}

// TestTwinsOfAHubOutsideTheShard are told so, at the cost of one question for all of
// them, and heal when the hub comes.
func TestTwinsOfAHubOutsideTheShard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withShard("a"), withPatience())
	w.createSecret("hub", w.credential("service"))
	conn := in("b", w.connection("hub"))
	w.create(conn)
	var twins []*v1alpha1.DeviceTwin
	for i := range 20 {
		obj := in("a", w.twin(fmt.Sprintf("t%d", i), "d1", "", `{"a":1}`))
		obj.Spec.DeviceID = fmt.Sprintf("d%d", i+1)
		w.create(obj)
		twins = append(twins, obj)
	}
	asks := in("a", w.query("q", "tags.a = 1"))
	w.create(asks)
	for _, obj := range twins {
		ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubOutsideShard)
		w.Expect(ready.Message).To(And(ContainSubstring("HubConnection "+w.ns+"/hub"), ContainSubstring(shardLabel+"=a")))
	}
	w.await(asks, metav1.ConditionFalse, v1alpha1.ReasonHubOutsideShard)
	reads := 0
	for _, r := range w.requests() {
		if r.Verb == "get" && r.ObjectRef.Resource == "hubconnections" {
			reads++
		}
	}
	w.Expect(reads).To(Equal(1))
	w.Expect(w.hub.Counters().Operations).To(BeEmpty())
	w.move(conn, "a")
	w.awaitReady(twins[0])
	w.awaitReady(asks)
}

// TestAHubThatLeavesTheShard takes its session with it: what stays is told at once,
// whatever was known of that name before.
func TestAHubThatLeavesTheShard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withShard("a"), withPatience())
	w.createSecret("hub", w.credential("service"))
	obj := in("a", w.twin("t1", "d1", `{"a":1}`, ""))
	w.create(obj)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotFound)
	conn := in("a", w.connection("hub"))
	w.create(conn)
	w.awaitReady(obj)
	w.move(conn, "b")
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubOutsideShard)
	b := w.beside("b")
	w.awaitReady(conn)
	w.move(obj, "b")
	b.awaitReady(obj)
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"a":2}`) })
	b.awaitReady(obj)
	w.Expect(w.tags("d1")).To(MatchJSON(`{"a":2}`))
}

// TestAShardTellsNothingOfOthersHubs: a namespace that a HubConnection does not admit
// is told the same whether there is one or not, and in whatever shard.
func TestAShardTellsNothingOfOthersHubs(t *testing.T) {
	t.Parallel()
	admin := newClient(t)
	owner := testenv.Namespace(t, admin, nil)
	w := newWorld(t, withShard("a"), withNamespace(owner))
	conn := in("b", w.connection("hub"))
	conn.Namespace = owner
	w.create(conn)
	t.Cleanup(func() { w.delete(conn) })
	told := map[string]string{}
	for _, name := range []string{"hub", "none"} {
		obj := in("a", w.twin("to-"+name, "d1", "", ""))
		obj.Spec.HubRef = v1alpha1.HubReference{Name: name, Namespace: owner}
		w.create(obj)
		told[name] = w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotAllowed).Message
	}
	w.Expect(strings.ReplaceAll(told["hub"], "/hub", "/none")).To(Equal(told["none"]))
}

// TestAHostInTwoShards: the older HubConnection of a host keeps it, the other says why
// it does not act, and does when that is mended.
func TestAHostInTwoShards(t *testing.T) {
	t.Parallel()
	clock := testclock.NewFakePassiveClock(time.Now())
	a := newWorld(t, withShard("a"), withClock(clock))
	a.beside("b")
	a.createSecret("hub", a.credential("service"))
	older := a.connection("older")
	older.Spec.Auth.ConnectionStringSecretRef.Name = "hub"
	a.create(older)
	younger := a.connection("younger")
	younger.Spec.Auth.ConnectionStringSecretRef.Name = "hub"
	a.createLater(younger, older)
	obj := in("b", a.twin("t1", "d1", `{"by":"b"}`, ""))
	obj.Spec.HubRef.Name = "younger"
	a.create(obj)

	a.move(younger, "b") // alone, it may
	a.awaitReady(younger)
	a.awaitReady(obj)
	a.move(older, "a")
	a.awaitReady(older)
	look := func(conn *v1alpha1.HubConnection) {
		clock.SetTime(clock.Now().Add(time.Minute))
		a.edit(conn, func() {
			conn.Annotations = map[string]string{v1alpha1.ReconcileAtAnnotation: clock.Now().String()}
		})
	}
	look(younger)
	ready := a.await(younger, metav1.ConditionFalse, v1alpha1.ReasonHostInTwoShards)
	a.Expect(ready.Message).To(And(
		HavePrefix(`HubConnection "older" leads to %s as well`, younger.Status.HostName), ContainSubstring(shardLabel+"=b")))
	a.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotReady)
	look(older)
	a.awaitReady(older)
	a.checkConditions()

	a.move(younger, "a")
	a.awaitReady(younger)
	a.move(obj, "a")
	a.awaitReady(obj)
	a.move(younger, "b")
	a.await(younger, metav1.ConditionFalse, v1alpha1.ReasonHostInTwoShards)
	a.delete(older)
	clock.SetTime(clock.Now().Add(time.Minute))
	a.awaitReady(younger)
}

// createLater creates an object that is younger than another one: by the second, which
// is as fine as the API server tells it, or by the UID.
func (w *world) createLater(obj, than *v1alpha1.HubConnection) {
	w.Helper()
	w.Eventually(func() bool {
		obj.ResourceVersion, obj.UID = "", ""
		w.create(obj)
		if than.CreationTimestamp.Before(&obj.CreationTimestamp) || than.UID < obj.UID {
			return true
		}
		w.delete(obj)
		return false
	}, patience, "20ms").Should(BeTrue())
}
