package kubectltwin_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

const (
	revision = "1a2b3c4d5e"
	stable   = "9f8e7d6c5b"
)

// set is a DeviceTwinSet of the hub "hub" with two waves.
func set(name string) *v1alpha1.DeviceTwinSet {
	return &v1alpha1.DeviceTwinSet{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.DeviceTwinSetSpec{
			HubRef: v1alpha1.HubReference{Name: "hub"}, Selector: v1alpha1.SetSelector{Where: "tags.plant = 'Redmond43'"}, MaxDevices: 5000,
			Template: v1alpha1.SetTemplate{Desired: raw(`{"telemetryInterval":30}`)},
			Rollout: v1alpha1.SetRollout{Waves: []v1alpha1.SetWave{
				{Name: "canary", Where: "tags.ring = 'canary'", Then: v1alpha1.AfterWaveApprove}, {Name: "tenth", Percent: 10},
			}},
		},
	}
}

// standing writes the status of a set, as the controller does.
func (w *world) standing(obj *v1alpha1.DeviceTwinSet, edit func(*v1alpha1.DeviceTwinSetStatus)) {
	w.Helper()
	w.get(obj)
	obj.Status.ObservedGeneration = obj.Generation
	edit(&obj.Status)
	w.Expect(w.client.Status().Update(w.Context(), obj)).To(Succeed())
}

// progress is the status of a rollout in a phase, with a canary wave behind it.
func progress(phase v1alpha1.SetPhase, wave string) func(*v1alpha1.DeviceTwinSetStatus) {
	return func(status *v1alpha1.DeviceTwinSetStatus) {
		status.Phase, status.Wave, status.Revision, status.StableRevision = phase, wave, revision, stable
		status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionUnknown, string(phase), "so far")}
		status.Counts = v1alpha1.SetCounts{Selected: 1000, Written: 100, Acknowledged: 90, Rejected: 2, Offline: 5, Pending: 3, Overridden: 4}
		status.Waves = []v1alpha1.SetWaveStatus{{
			Name: "canary", Written: 100, Acknowledged: 90, Failed: 2, Offline: 5, CompletedAt: ptr.To(metav1.NewTime(time.Now().Add(-time.Hour))),
		}}
		status.Examples = []v1alpha1.SetExample{{DeviceID: "press-7", Reason: "RejectedByDevice", Message: "code 406"}}
	}
}

// complete is the status of a rollout that has ended well.
func complete(status *v1alpha1.DeviceTwinSetStatus) {
	progress(v1alpha1.SetComplete, "")(status)
	status.StableRevision, status.Examples = revision, nil
	status.Counts = v1alpha1.SetCounts{Selected: 1000, Written: 1000, Acknowledged: 1000}
	status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "all hold it")}
}

// rolledBack is the status of a rollout that has returned to the stable revision.
func rolledBack(status *v1alpha1.DeviceTwinSetStatus) {
	progress(v1alpha1.SetRolledBack, "")(status)
	status.FailedRevision, status.Revision = revision, stable
}

// annotated creates a set with a status, and returns what of its annotations a command has set.
func (w *world) annotated(name string, status func(*v1alpha1.DeviceTwinSetStatus)) (obj *v1alpha1.DeviceTwinSet, annotation func(string) string) {
	w.Helper()
	obj = set(name)
	w.create(obj)
	if status != nil {
		w.standing(obj, status)
	}
	return obj, func(key string) string {
		w.Helper()
		w.get(obj)
		return obj.Annotations[key]
	}
}

func TestApproveAWave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj, annotation := w.annotated("line-7", progress(v1alpha1.SetAwaitingApproval, "canary"))
	for _, args := range []string{"set/line-7 --wave tenth", "set/line-7 --wave canary --revision " + stable} {
		r := w.run(append([]string{"approve"}, strings.Fields(args)...)...)
		w.Expect(r.Code).To(Equal(cluster.ExitFound))
		w.Expect(r.Err).To(ContainSubstring("does not wait for an approval: it is wave canary"), args)
	}
	w.Expect(w.ok("approve", "line-7", "--dry-run=server")).To(HaveSuffix("approved (server dry run): wave canary of revision " + revision + "\n"))
	w.Expect(annotation(v1alpha1.ApproveAnnotation)).To(BeEmpty())
	w.Expect(w.ok("approve", "line-7", "--wave", "canary", "--revision", revision)).To(
		Equal("devicetwinset/line-7 of " + w.ns + " approved: wave canary of revision " + revision + "\n"))
	w.Expect(annotation(v1alpha1.ApproveAnnotation)).To(Equal(revision + "/canary"))
	w.Expect(obj.Annotations).To(HaveLen(1))
	w.Expect(obj.Spec).To(HaveField("MaxDevices", int32(5000)))
	w.Expect(w.ok("approve", "set/line-7")).To(ContainSubstring("unchanged: approved already"))
	r := w.run("approve", "set/line-7", "--wait", "--timeout", "1ms")
	w.Expect(r.Code).To(Equal(0), "what is unchanged is not waited for: "+r.Err)
}

// TestNothingToApprove: each phase but one is refused, with what it is.
func TestNothingToApprove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tt := range map[string]struct {
		status func(*v1alpha1.DeviceTwinSetStatus)
		says   string
	}{
		"progressing": {progress(v1alpha1.SetProgressing, "tenth"), "nothing to approve: phase Progressing, wave tenth"},
		"soaking":     {progress(v1alpha1.SetSoaking, "canary"), "nothing to approve: phase Soaking, wave canary"},
		"paused":      {progress(v1alpha1.SetPaused, "canary"), "nothing to approve: phase Paused, wave canary"},
		"failed":      {progress(v1alpha1.SetFailed, "tenth"), "nothing to approve: phase Failed, wave tenth"},
		"complete":    {complete, "nothing to approve: phase Complete"},
		"new":         {nil, "the controller has not looked at its last edit yet"},
	} {
		_, annotation := w.annotated(name, tt.status)
		r := w.run("approve", "set/"+name)
		w.Expect(r.Code).To(Equal(cluster.ExitFound), name)
		w.Expect(r.Err).To(ContainSubstring(tt.says))
		w.Expect(annotation(v1alpha1.ApproveAnnotation)).To(BeEmpty())
	}
	obj, _ := w.annotated("edited", progress(v1alpha1.SetAwaitingApproval, "canary"))
	obj.Spec.Template.Desired = raw(`{"telemetryInterval":60}`)
	w.Expect(w.client.Update(w.Context(), obj)).To(Succeed())
	w.Expect(w.run("approve", "edited").Err).To(ContainSubstring("the controller has not looked at its last edit yet"))
}

// TestApproveTellsKindsApart: what was approved by name before there were sets is, and nothing in its place.
func TestApproveTellsKindsApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.factory()
	conn.Status.Guard = &v1alpha1.GuardStatus{TrippedAt: ptr.To(metav1.Now()), Limit: 500, Waiting: 9500}
	w.Expect(w.client.Status().Update(w.Context(), conn)).To(Succeed())
	_, annotation := w.annotated("hub", progress(v1alpha1.SetAwaitingApproval, "canary"))
	r := w.run("approve", "hub")
	w.Expect(r.Code).To(Equal(cluster.ExitFound))
	w.Expect(r.Err).To(ContainSubstring("hubconnection/hub failed: there is a DeviceTwinSet of that name as well: say hub/hub or set/hub"))
	w.Expect(w.run("approve", "hub/hub", "--wave", "canary").Err).To(ContainSubstring("--wave and --revision are for DeviceTwinSets"))
	w.Expect(w.ok("approve", "hub/hub", "devicetwinset/hub")).To(And(
		ContainSubstring("hubconnection/hub of "+w.ns+" approved: 9500 twins"), ContainSubstring("devicetwinset/hub of "+w.ns+" approved: wave canary")))
	w.Expect(annotation(v1alpha1.ApproveAnnotation)).NotTo(BeEmpty())
	w.get(conn)
	w.Expect(conn.Annotations).To(HaveKey(v1alpha1.GuardResetAnnotation))
	w.Expect(w.run("approve", w.ns+"/hub").Err).To(ContainSubstring("should be set/NAME, hub/NAME or NAME"))
	w.Expect(w.run("approve", "set/nowhere").Err).To(ContainSubstring(`devicetwinset/nowhere failed: devicetwinsets.iothub.devicetwin.io "nowhere" not found`))

	w.as("approver", rbacv1.PolicyRule{APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"devicetwinsets"}, Verbs: []string{"get", "patch"}})
	w.Expect(w.ok("approve", "hub")).To(ContainSubstring("devicetwinset/hub"), "the one that the user may see")
}

// TestNothingIsApprovedThatMovedOn: between the command's look and its patch, the rollout comes to another wave that waits.
func TestNothingIsApprovedThatMovedOn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		moves func(*v1alpha1.DeviceTwinSetStatus)
		code  int
		says  string
	}{
		"counts":   {func(s *v1alpha1.DeviceTwinSetStatus) { s.Counts.Written++ }, 0, "1 approved, 0 unchanged, 0 failed\n"},
		"wave":     {func(s *v1alpha1.DeviceTwinSetStatus) { s.Wave = "tenth" }, cluster.ExitFound, "it has moved on meanwhile: phase AwaitingApproval, wave tenth"},
		"revision": {func(s *v1alpha1.DeviceTwinSetStatus) { s.Revision = "0000000000" }, cluster.ExitFound, "revision 0000000000; look at it"},
		"phase":    {func(s *v1alpha1.DeviceTwinSetStatus) { s.Phase = v1alpha1.SetFailed }, cluster.ExitFound, "nothing to approve: phase Failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			obj, annotation := w.annotated("line-7", progress(v1alpha1.SetAwaitingApproval, "canary"))
			patches := 0
			w.proxied(func(_ http.ResponseWriter, request *http.Request) bool {
				if request.Method == http.MethodPatch {
					if patches++; patches == 1 {
						w.standing(obj, tt.moves)
					}
				}
				return false
			})
			r := w.run("approve", "set/line-7")
			w.Expect(r.Code).To(Equal(tt.code), r.Err)
			w.Expect(r.Err).To(ContainSubstring(tt.says))
			w.Expect(annotation(v1alpha1.ApproveAnnotation) != "").To(Equal(tt.code == 0))
		})
	}
}

func TestAbortRollbackAndResume(t *testing.T) {
	t.Parallel()
	failed := func(s *v1alpha1.DeviceTwinSetStatus) {
		progress(v1alpha1.SetFailed, "tenth")(s)
		s.LastHandledRollout = revision + "/resume"
	}
	unstable := func(s *v1alpha1.DeviceTwinSetStatus) {
		progress(v1alpha1.SetProgressing, "tenth")(s)
		s.StableRevision = ""
	}
	for name, tt := range map[string]struct {
		verb   string
		status func(*v1alpha1.DeviceTwinSetStatus)
		sets   string // what the annotation matches; "" for none
		says   string
		code   int
	}{
		"abort":             {"abort", progress(v1alpha1.SetProgressing, "tenth"), "^" + revision + "/abort$", "asked to abort: revision " + revision, 0},
		"abort-waiting":     {"abort", progress(v1alpha1.SetAwaitingApproval, "canary"), "^" + revision + "/abort$", "asked to abort", 0},
		"abort-again":       {"abort", progress(v1alpha1.SetAborted, "tenth"), "", "unchanged: revision " + revision + " is aborted already", 0},
		"abort-complete":    {"abort", complete, "", "nothing to abort: phase Complete", 1},
		"abort-failed":      {"abort", progress(v1alpha1.SetFailed, "tenth"), "", "nothing to abort: phase Failed, wave tenth", 1},
		"rollback":          {"rollback", progress(v1alpha1.SetFailed, "tenth"), "^" + revision + "/rollback$", "asked to roll back: from revision " + revision + " to " + stable, 0},
		"rollback-again":    {"rollback", rolledBack, "", "rolled back from revision " + revision + " to " + stable + " already", 0},
		"rollback-complete": {"rollback", complete, "", "nothing to roll back: revision " + revision + " is the stable one", 1},
		"rollback-first":    {"rollback", unstable, "", "nothing to roll back to: no revision was complete yet", 1},
		"resume-failed":     {"resume", progress(v1alpha1.SetFailed, "tenth"), "^" + revision + "/resume$", "resumed: revision " + revision, 0},
		"resume-aborted":    {"resume", progress(v1alpha1.SetAborted, "tenth"), "^" + revision + "/resume$", "resumed", 0},
		"resume-twice":      {"resume", failed, "^" + revision + "/resume/20[0-9TZ:.-]+$", "resumed", 0},
		"resume-rolledback": {"resume", rolledBack, "^" + revision + "/resume$", "resumed: revision " + revision, 0},
		"resume-complete":   {"resume", complete, "", "unchanged: neither suspended nor paused, phase Complete", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			obj, annotation := w.annotated("line-7", tt.status)
			r := w.run(tt.verb, "line-7")
			w.Expect(r.Code).To(Equal(tt.code), r.Err)
			w.Expect(r.Out + r.Err).To(ContainSubstring(tt.says))
			if tt.sets == "" {
				w.Expect(annotation(v1alpha1.RolloutAnnotation)).To(BeEmpty())
				return
			}
			w.Expect(annotation(v1alpha1.RolloutAnnotation)).To(MatchRegexp(tt.sets))
			w.Expect(w.ok(tt.verb, "set/line-7")).To(ContainSubstring("unchanged: asked for already"))
			w.standing(obj, func(s *v1alpha1.DeviceTwinSetStatus) {
				s.LastHandledRollout = obj.Annotations[v1alpha1.RolloutAnnotation]
			})
		})
	}
}

func TestCommandsAreWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj, _ := w.annotated("line-7", progress(v1alpha1.SetProgressing, "tenth"))
	ended := make(chan result, 1)
	go func() { ended <- w.run("abort", "line-7", "--wait") }()
	w.Eventually(func() string {
		w.get(obj)
		return obj.Annotations[v1alpha1.RolloutAnnotation]
	}, patience).ShouldNot(BeEmpty())
	w.Consistently(ended, 500*time.Millisecond).ShouldNot(Receive())
	w.standing(obj, func(s *v1alpha1.DeviceTwinSetStatus) {
		s.Phase, s.LastHandledRollout = v1alpha1.SetAborted, obj.Annotations[v1alpha1.RolloutAnnotation]
	})
	w.Eventually(ended, patience).Should(Receive(HaveField("Code", 0)))
	r := w.run("rollback", "line-7", "--wait", "--timeout", "1s")
	w.Expect(r.Code).To(Equal(cluster.ExitFound))
	w.Expect(r.Err).To(ContainSubstring("no controller has acted upon it within 1s"))
}

func TestPauseSuspendAndResumeASet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj, _ := w.annotated("line-7", progress(v1alpha1.SetProgressing, "tenth"))
	w.Expect(w.ok("pause", "line-7", "--dry-run")).To(ContainSubstring("paused (dry run)"))
	w.Expect(w.ok("pause", "set/line-7")).To(Equal("devicetwinset/line-7 of " + w.ns + " paused\n"))
	w.Expect(w.ok("pause", "line-7")).To(ContainSubstring("unchanged: paused already"))
	w.Expect(w.ok("suspend", "set/line-7")).To(Equal("devicetwinset/line-7 of " + w.ns + " suspended\n"))
	w.get(obj)
	w.Expect(obj.Spec.Suspend).To(BeTrue())
	w.Expect(obj.Spec.Rollout.Paused).To(BeTrue())
	w.Expect(string(obj.Spec.Template.Desired.Raw)).To(MatchJSON(`{"telemetryInterval":30}`))
	w.Expect(w.ok("resume", "set/line-7")).To(HaveSuffix("resumed: not suspended any more; it is paused still, resume it again to go on\n"))
	w.Expect(w.ok("resume", "line-7")).To(HaveSuffix("resumed: not paused any more\n"))
	w.get(obj)
	w.Expect(obj.Spec.Suspend || obj.Spec.Rollout.Paused).To(BeFalse())
	w.Expect(obj.Annotations).To(BeEmpty())
	w.Expect(w.run("resume", "line-7").Err).To(ContainSubstring("the controller has not looked at its last edit yet"))

	both := twin("line-7")
	w.create(both)
	w.Expect(w.ok("suspend", "line-7", "set/line-7")).To(Equal(
		"devicetwin/line-7 of "+w.ns+" suspended\ndevicetwinset/line-7 of "+w.ns+" suspended\n"), "a plain name is that of a DeviceTwin")
	w.Expect(w.run("reconcile", "set/line-7").Err).To(ContainSubstring("it is suspended: resume it first"))
	w.Expect(w.run("resume", "--all").Err).To(Equal("1 resumed, 0 unchanged, 0 failed\n"), "flags select DeviceTwins alone")
	w.ok("resume", "set/line-7")
	w.Expect(w.ok("reconcile", "set/line-7")).To(HaveSuffix("asked to be reconciled\n"))
	w.get(obj)
	w.Expect(obj.Annotations).To(HaveKey(v1alpha1.ReconcileAtAnnotation))
}

func TestSetsAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, verb := range []string{"pause", "abort", "rollback"} {
		w.Expect(w.refused(verb)).To(ContainSubstring("which DeviceTwinSets? name them"))
		w.Expect(w.refused(verb, "default/line-7")).To(ContainSubstring("should be the name of a DeviceTwinSet, or set/NAME"))
		r := w.run(verb, "nowhere")
		w.Expect(r.Code).To(Equal(cluster.ExitFound))
		w.Expect(r.Err).To(ContainSubstring(`devicetwinset/nowhere failed: devicetwinsets.iothub.devicetwin.io "nowhere" not found`))
	}
	w.Expect(w.refused("suspend", "set/a", "--all")).To(ContainSubstring("not both"))
	w.Expect(w.refused("adopt", "set/a")).To(ContainSubstring("should be the name of a DeviceTwin, or devicetwin/NAME"))
	w.Expect(w.run("suspend", "set/nowhere").Err).To(ContainSubstring(`devicetwinset/nowhere failed`))
	w.Expect(w.run("suspend", "nowhere").Err).To(ContainSubstring(`devicetwin/nowhere failed: devicetwins.iothub.devicetwin.io "nowhere" not found`))
}
