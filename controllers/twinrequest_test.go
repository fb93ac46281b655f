package controllers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// withHubOf gives the hub these devices.
func withHubOf(devices ...string) setting {
	return func(w *world) { w.hubOptions.Devices = devices }
}

// asks makes a TwinRequest for a query that is not created yet.
func (w *world) asks(where string, selected ...string) *v1alpha1.TwinRequest {
	obj := &v1alpha1.TwinRequest{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, GenerateName: "query-"}}
	obj.Spec.Query = &v1alpha1.TwinRequestQuery{HubRef: v1alpha1.HubReference{Name: "hub"}, Where: where, Select: selected}
	return obj
}

// plans makes a TwinRequest for what a DeviceTwin would write.
func (w *world) plans(twin *v1alpha1.DeviceTwin) *v1alpha1.TwinRequest {
	obj := &v1alpha1.TwinRequest{ObjectMeta: metav1.ObjectMeta{Namespace: twin.Namespace, GenerateName: "plan-"}}
	obj.Spec.Plan = &v1alpha1.TwinRequestPlan{Name: twin.Name, Spec: twin.Spec}
	return obj
}

// rows are those of an answer, as JSON.
func rows(obj *v1alpha1.TwinRequest) (texts []string) {
	if obj.Status.Query != nil {
		for _, row := range obj.Status.Query.Rows {
			texts = append(texts, string(row.Raw))
		}
	}
	return texts
}

// leavesOf are the leaves of a plan in short.
func leavesOf(obj *v1alpha1.TwinRequest) (texts []string) {
	shown := func(value *runtime.RawExtension) string {
		if value == nil {
			return "-"
		}
		return string(value.Raw)
	}
	for _, leaf := range obj.Status.Plan.Leaves {
		texts = append(texts, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", leaf.Path, shown(leaf.Before), shown(leaf.After), leaf.Withheld)))
	}
	return texts
}

func TestTwinRequestQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withHubOf("d1", "d2", "d3"))
	w.awaitReady(w.connect())
	for _, device := range []string{"d1", "d3"} {
		w.anotherWriterPatches(device, hub.Patch{Tags: map[string]any{"plant": "43", "cost-center": 7}, Desired: map[string]any{"n": 1, "o": 2}})
	}
	obj := w.asks("tags.plant = '43'", "tags", "properties.desired")
	obj.Spec.Query.PageSize = 1
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(obj.Status.ObservedGeneration).To(Equal(obj.Generation))
	w.Expect(rows(obj)).To(HaveExactElements(MatchJSON(
		`{"deviceId":"d1","tags":{"plant":"43","cost-center":7},"properties":{"desired":{"n":1,"o":2,"$version":2}}}`)))
	w.Expect(obj.Status.Query.Condition).To(Equal("tags.plant = '43'"))
	w.Expect(obj.Status.Query.Pages).To(BeEquivalentTo(1))
	w.Expect(obj.Status.Query.Messages).To(BeEquivalentTo(1))

	next := w.asks("tags.plant = '43'", "tags.[[cost-center]]", "properties.desired.$metadata.$lastUpdatedVersion")
	next.Spec.Query.Continue = obj.Status.Query.Continue
	w.create(next)
	w.await(next, metav1.ConditionFalse, v1alpha1.ReasonQueryRefused)

	next = w.asks("tags.plant = '43'", "tags", "properties.desired")
	next.Spec.Query.Continue = obj.Status.Query.Continue
	w.create(next)
	w.awaitReady(next)
	w.Expect(rows(next)).To(HaveLen(1))
	w.Expect(next.Status.Query.Continue).To(BeEmpty())

	whole := w.asks("deviceId = 'd2'")
	w.create(whole)
	w.awaitReady(whole)
	w.Expect(rows(whole)).To(HaveExactElements(And(ContainSubstring(`"etag"`), ContainSubstring(`"reported":{`), Not(ContainSubstring("$metadata")))))
	stamps := w.asks("deviceId = 'd1'", "properties.desired.$metadata.n")
	w.create(stamps)
	w.awaitReady(stamps)
	w.Expect(rows(stamps)).To(HaveExactElements(ContainSubstring(`"$metadata":{"n":`)))
}

// TestTwinRequestIsWrittenOnce and deleted when its time is over, whatever became of it.
func TestTwinRequestIsWrittenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awaitReady(w.connect())
	obj := w.asks("deviceId = 'd1'")
	obj.Spec.TTL.Duration = 5 * time.Second
	w.create(obj)
	w.awaitReady(obj)
	failed := w.asks("deviceId = 'd1'")
	failed.Spec.TTL.Duration, failed.Spec.Query.HubRef.Name = 5*time.Second, "nowhere"
	w.create(failed)
	w.await(failed, metav1.ConditionFalse, v1alpha1.ReasonHubNotFound)
	for _, request := range []*v1alpha1.TwinRequest{obj, failed} {
		w.Eventually(func() bool {
			return apierrors.IsNotFound(w.client.Get(w.Context(), client.ObjectKeyFromObject(request), request))
		}, patience, "50ms").Should(BeTrue())
		w.Eventually(w.writes, patience, "50ms").Should(ContainElement("delete twinrequests  " + request.Name))
		w.Expect(w.writes()).To(ContainElement("patch twinrequests status " + request.Name))
		w.Expect(strings.Count(strings.Join(w.writes(), "\n"), "status "+request.Name)).To(Equal(1))
	}
}

// TestTwinRequestOfAWhile ago, that no manager has seen: its client has stopped to wait.
func TestTwinRequestOfAWhileAgo(t *testing.T) {
	t.Parallel()
	clock := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, withClock(clock))
	w.awaitReady(w.connect())
	w.stop()
	obj := w.asks("deviceId = 'd1'")
	w.create(obj)
	clock.SetTime(clock.Now().Add(time.Hour))
	w.startManager()
	w.Eventually(func() bool {
		return apierrors.IsNotFound(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj))
	}, patience, "50ms").Should(BeTrue())
	w.Expect(w.writes()).NotTo(ContainElement("patch twinrequests status " + obj.Name))
}

// TestTwinRequestsOfOthers: a namespace that may not use a hub, or a device of it, gets the
// same answer whether it is there or not.
func TestTwinRequestsOfOthers(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	line, stranger := testenv.Namespace(t, c, nil), testenv.Namespace(t, c, nil)
	w := newWorld(t, withHubOf("line-1", "line-2", "other-1"), withNamespace(line), withNamespace(stranger))
	w.createSecret("hub", w.credential("service"))
	conn := w.connection("hub")
	conn.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
		From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": line}},
	}
	conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: line, DeviceIDPrefix: "line-"}}
	w.create(conn)
	w.awaitReady(conn)
	in := func(namespace, hubName string, obj *v1alpha1.TwinRequest) *v1alpha1.TwinRequest {
		obj.Namespace = namespace
		ref := v1alpha1.HubReference{Namespace: w.ns, Name: hubName}
		if obj.Spec.Query != nil {
			obj.Spec.Query.HubRef = ref
		} else {
			obj.Spec.Plan.Spec.HubRef = ref
		}
		return obj
	}

	all := in(line, "hub", w.asks("IS_DEFINED(deviceId) OR true", "deviceId"))
	w.create(all)
	w.awaitReady(all)
	w.Expect(rows(all)).To(Equal([]string{`{"deviceId":"line-1"}`, `{"deviceId":"line-2"}`}))
	own := w.asks("STARTSWITH(deviceId, 'o') OR STARTSWITH(deviceId, 'l')", "deviceId")
	own.Spec.Query.PageSize = 1
	w.create(own)
	w.awaitReady(own)
	w.Expect(own.Status.Query.Continue).NotTo(BeEmpty())
	further := in(line, "hub", w.asks("STARTSWITH(deviceId, 'o') OR STARTSWITH(deviceId, 'l')", "deviceId"))
	further.Spec.Query.Continue = own.Status.Query.Continue
	w.create(further)
	w.await(further, metav1.ConditionFalse, v1alpha1.ReasonQueryRefused)

	var said []string
	for _, device := range []string{"other-1", "no-such-1"} {
		obj := in(line, "hub", w.plans(w.twin("t", device, `{"a":1}`, "")))
		w.create(obj)
		told := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeviceNotAllowed)
		said = append(said, strings.ReplaceAll(told.Message, device, "DEVICE"))
	}
	for _, hubName := range []string{"hub", "gone"} {
		for _, obj := range []*v1alpha1.TwinRequest{w.asks("true = true"), w.plans(w.twin("t", "line-1", `{"a":1}`, ""))} {
			obj = in(stranger, hubName, obj)
			w.create(obj)
			told := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotAllowed)
			said = append(said, strings.ReplaceAll(told.Message, "/"+hubName+" ", "/HUB "))
		}
	}
	w.Expect(said[0]).To(Equal(said[1]))
	w.Expect(said[2:]).To(HaveEach(said[2]))
	w.Expect(w.calls("getTwin")).To(BeNumerically("<=", 1), "but for the probe the hub was asked for no twin")
}

// TestTwinRequestNeedsRights: without them the API server says 403, to each of the verbs.
func TestTwinRequestNeedsRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awaitReady(w.connect())
	obj := w.asks("deviceId = 'd1'")
	w.create(obj)
	w.awaitReady(obj)
	account, err := w.env.ServiceAccountConfig(w.ns, "stranger")
	w.Expect(err).NotTo(HaveOccurred())
	stranger, err := client.New(account, client.Options{Scheme: suite.scheme})
	w.Expect(err).NotTo(HaveOccurred())
	asked := w.asks("deviceId = 'd1'")
	w.Expect(apierrors.IsForbidden(stranger.Create(w.Context(), asked))).To(BeTrue())
	read := &v1alpha1.TwinRequest{}
	w.Expect(apierrors.IsForbidden(stranger.Get(w.Context(), client.ObjectKeyFromObject(obj), read))).To(BeTrue())
	w.Expect(read.Status).To(Equal(v1alpha1.TwinRequestStatus{}))
	w.Expect(apierrors.IsForbidden(stranger.List(w.Context(), &v1alpha1.TwinRequestList{}, client.InNamespace(w.ns)))).To(BeTrue())
}

// TestTwinRequestAnswerTooLarge: nothing half-written.
func TestTwinRequestAnswerTooLarge(t *testing.T) {
	t.Parallel()
	var devices []string
	for n := range 40 {
		devices = append(devices, fmt.Sprintf("d%02d", n))
	}
	w := newWorld(t, withHubOf(devices...))
	w.awaitReady(w.connect())
	large := map[string]any{}
	for n := range 6 {
		large[fmt.Sprintf("k%d", n)] = strings.Repeat("v", 4000)
	}
	for _, device := range devices {
		w.anotherWriterPatches(device, hub.Patch{Desired: large})
	}
	obj := w.asks("true = true")
	w.create(obj)
	told := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonAnswerTooLarge)
	w.Expect(told.Message).To(ContainSubstring("pageSize"))
	w.Expect(obj.Status.Query).To(BeNil())
	obj = w.asks("true = true", "tags")
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(rows(obj)).To(HaveLen(40))
}

// TestTwinRequestWaitsForAThrottledHub, and says so when that lasts.
func TestTwinRequestWaitsForAThrottledHub(t *testing.T) {
	t.Parallel()
	clock := clocktesting.NewFakePassiveClock(time.Now())
	w := newWorld(t, withClock(clock))
	conn := w.connect()
	w.awaitReady(conn)
	w.edit(conn, func() {
		conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = time.Hour, time.Hour
	})
	w.awaitReady(conn)
	fault, err := w.hub.AddFault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultStatus, Status: http.StatusTooManyRequests})
	w.Expect(err).NotTo(HaveOccurred())
	patient, impatient := w.asks("deviceId = 'd1'"), w.asks("deviceId != 'd1'")
	w.create(impatient)
	w.Eventually(func() int { return w.calls("query") }, patience, "20ms").Should(BeNumerically(">=", 1))
	clock.SetTime(clock.Now().Add(61 * time.Second))
	told := w.await(impatient, metav1.ConditionFalse, v1alpha1.ReasonTimedOut)
	w.Expect(told.Message).To(ContainSubstring("not answered within 1m0s: waited for "))
	w.create(patient)
	w.hub.RemoveFault(fault)
	w.awaitReady(patient)
}

// TestTwinRequestWaitsForNoLargeQuery, whose pages use up the rate of queries.
func TestTwinRequestWaitsForNoLargeQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.hubOptions.Tier, w.hubOptions.Devices = "S1", numbered("dev", 2000) })
	w.awaitReady(w.connect())
	large := w.query("large", "IS_DEFINED(deviceId)")
	w.create(large)
	w.Eventually(func() int { return w.calls("query") }, patience).Should(BeNumerically(">=", 10), "what may come at once")
	obj := w.asks("deviceId = 'dev-1'")
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(large), large)).To(Succeed())
	w.Expect(large.Status.ObservedAt).To(BeNil(), "it is being read yet")
	w.Expect(w.client.Delete(w.Context(), large)).To(Succeed())
}

// TestTwinRequestPlan: what is told is what is written afterwards, and nothing is written
// for it.
func TestTwinRequestPlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withHubOf("d1", "d2"))
	w.awaitReady(w.connect())
	w.anotherWriterPatches("d1", hub.Patch{Tags: map[string]any{"plant": "44", "other": true}, Desired: map[string]any{"interval": 10}})
	w.hub.ResetCounters()
	twin := w.twin("t1", "d1", `{"plant":"43","line":{"no":7}}`, `{"interval":10}`)
	obj := w.plans(twin)
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(leavesOf(obj)).To(Equal([]string{`tags.line.no - 7`, `tags.plant "44" "43"`}))
	w.Expect(obj.Status.Plan.Patch.Raw).To(MatchJSON(`{"tags":{"plant":"43","line":{"no":7}}}`))
	w.Expect(obj.Status.Plan.Reason).To(BeEmpty())
	w.Expect(w.calls("updateTwin")).To(BeZero())
	w.Expect(w.calls("getTwin")).To(Equal(1))

	w.create(twin)
	w.awaitReady(twin)
	w.Expect(w.hub.Counters().Operations["updateTwin"].BilledMessages).To(Equal(obj.Status.Plan.Messages))
	w.Expect(w.calls("updateTwin")).To(Equal(1))

	for name, tt := range map[string]struct {
		change func(*v1alpha1.DeviceTwin)
		leaves []string
		patch  string
		reason string
	}{
		"in step": {func(*v1alpha1.DeviceTwin) {}, nil, "", v1alpha1.ReasonSucceeded},
		"a leaf leaves": {func(d *v1alpha1.DeviceTwin) { d.Spec.Tags = raw(`{"plant":"43"}`) },
			[]string{"tags.line.no 7 -"}, `{"tags":{"line":null}}`, ""},
		"observed": {func(d *v1alpha1.DeviceTwin) {
			d.Spec.Desired, d.Spec.Policy = raw(`{"interval":20}`), v1alpha1.PolicyObserve
		},
			[]string{"desired.interval 10 20 Observed"}, "", v1alpha1.ReasonObserved},
		"a conflict": {func(d *v1alpha1.DeviceTwin) {
			d.Spec.Tags = raw(`{"plant":"43","line":{"no":7},"other":{"a":1},"new":1}`)
		},
			[]string{"tags.new - 1", "tags.other true {\"a\":1} Conflict"}, `{"tags":{"new":1}}`, v1alpha1.ReasonConflict},
		"suspended":      {func(d *v1alpha1.DeviceTwin) { d.Spec.Suspend, d.Spec.Tags = true, nil }, nil, "", v1alpha1.ReasonSuspended},
		"claimed":        {func(d *v1alpha1.DeviceTwin) { d.Name = "t2" }, nil, "", v1alpha1.ReasonDeviceClaimed},
		"not registered": {func(d *v1alpha1.DeviceTwin) { d.Name, d.Spec.DeviceID = "t3", "absent" }, nil, "", v1alpha1.ReasonDeviceNotFound},
		"registered": {func(d *v1alpha1.DeviceTwin) {
			d.Name, d.Spec.DeviceID, d.Spec.Registration, d.Spec.Desired = "t3", "absent", v1alpha1.RegistrationCreate, nil
		}, []string{"tags.line.no - 7", `tags.plant - "43"`}, `{"tags":{"plant":"43","line":{"no":7}}}`, ""},
	} {
		changed := w.twin("t1", "d1", `{"plant":"43","line":{"no":7}}`, `{"interval":10}`)
		tt.change(changed)
		obj := w.plans(changed)
		w.create(obj)
		w.awaitReady(obj)
		var leaves []string
		if obj.Status.Plan != nil {
			leaves = leavesOf(obj)
		}
		w.Expect(leaves).To(ConsistOf(tt.leaves), name)
		w.Expect(obj.Status.Plan.Reason).To(Equal(tt.reason), name)
		w.Expect(obj.Status.Plan.Registers).To(Equal(name == "registered"), name)
		if tt.patch == "" {
			w.Expect(obj.Status.Plan.Patch).To(BeNil(), name)
			w.Expect(obj.Status.Plan.Message).NotTo(BeEmpty(), name)
		} else {
			w.Expect(obj.Status.Plan.Patch.Raw).To(MatchJSON(tt.patch), name)
		}
	}
	w.Expect(w.calls("updateTwin")).To(Equal(1), "nothing was written for all these")
	w.Expect(w.calls("createIdentity")).To(BeZero())

	another := w.twin("t1", "d2", `{"plant":"43"}`, "")
	refused := w.plans(another)
	w.create(refused)
	w.await(refused, metav1.ConditionFalse, v1alpha1.ReasonInvalidTwin)
}

// TestTwinRequestPlanOfAHubThatIsNotWritten shows the leaves all the same.
func TestTwinRequestPlanOfAHubThatIsNotWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	w.edit(conn, func() { conn.Spec.Mode = v1alpha1.ModeReadOnly })
	w.awaitReady(conn)
	obj := w.plans(w.twin("t1", "d1", `{"plant":"43"}`, ""))
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(obj.Status.Plan.Reason).To(Equal(v1alpha1.ReasonHubReadOnly))
	w.Expect(obj.Status.Plan.Patch).To(BeNil())
	w.Expect(leavesOf(obj)).To(Equal([]string{`tags.plant - "43" HubReadOnly`}))
}

// TestTwinRequestIsImmutable, and asks one thing.
func TestTwinRequestIsImmutable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj := w.asks("deviceId = 'd1'")
	w.create(obj)
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"query":{"where":"true = true"}}}`))
	w.Expect(w.client.Patch(w.Context(), obj, patch)).To(MatchError(ContainSubstring("a request is immutable: create another TwinRequest")))
	both := w.asks("deviceId = 'd1'")
	both.Spec.Plan = w.plans(w.twin("t1", "d1", "", "")).Spec.Plan
	none := &v1alpha1.TwinRequest{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "none"}}
	none.Spec.TTL.Duration = time.Minute
	for _, wrong := range []*v1alpha1.TwinRequest{both, none} {
		w.Expect(w.client.Create(w.Context(), wrong)).To(MatchError(ContainSubstring("exactly one of query and plan is required")))
	}
	text, err := json.Marshal(obj.Spec)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(text).To(ContainSubstring(`"pageSize":50`))
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotFound)
}
