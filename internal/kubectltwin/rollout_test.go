package kubectltwin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// TestASetIsShown by rollout, get and status alike.
func TestASetIsShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.annotated("line-7", func(status *v1alpha1.DeviceTwinSetStatus) {
		progress(v1alpha1.SetAwaitingApproval, "canary")(status)
		status.ETA = ptr.To(metav1.NewTime(time.Now().Add(2*time.Hour + time.Minute)))
	})
	for _, args := range [][]string{{"rollout", "line-7"}, {"rollout", "set/line-7"}, {"get", "set/line-7"}, {"get", "line-7"}, {"status", "set/line-7"}, {"status", "line-7"}} {
		out := w.ok(args...)
		w.Expect(out).To(HavePrefix("devicetwinset/line-7 of " + w.ns + ", hub hub\n"))
		w.Expect(lineOf(out, "Ready")).To(Equal("Ready Unknown (AwaitingApproval): so far"))
		w.Expect(lineOf(out, "Phase")).To(Equal("Phase AwaitingApproval, wave canary"))
		w.Expect(lineOf(out, "Revision")).To(Equal("Revision " + revision + ", stable is " + stable))
		w.Expect(lineOf(out, "Devices")).To(Equal(
			"Devices 1000 selected (at most 5000), 100 written, 90 acknowledged, 2 rejected, 5 offline, 3 pending, 4 overridden by DeviceTwins"))
		w.Expect(lineOf(out, "ETA")).To(HavePrefix("ETA in 120m, "))
		w.Expect(lineOf(out, "written")).To(HavePrefix("Devices"))
		w.Expect(out).To(ContainSubstring("  [##!~=...................................] 10% written\n"))
		w.Expect(lineOf(out, "WAVE")).To(Equal("WAVE STATE PROGRESS WRITTEN ACKNOWLEDGED FAILED OFFLINE"))
		w.Expect(lineOf(out, "canary  ")).To(Equal("canary awaits approval, complete 60m ago [#################!~=] 100 90 2 5"))
		w.Expect(lineOf(out, "tenth  ")).To(Equal("tenth to come [....................] 0 0 0 0"))
		w.Expect(lineOf(out, "rest  ")).To(Equal("rest to come [....................] 0 0 0 0"))
		w.Expect(lineOf(out, "press-7")).To(Equal("press-7 RejectedByDevice code 406"))
		w.Expect(out).To(ContainSubstring("wave canary is complete: `kubectl twin approve set/line-7 -n " + w.ns + " --wave canary` lets the next one begin"))
	}
	w.Expect(w.ok("get", "set/line-7", "-o", "name")).To(Equal("devicetwinset.iothub.devicetwin.io/line-7\n"))
	w.Expect(w.ok("rollout", "line-7", "-o", "name")).To(Equal("devicetwinset.iothub.devicetwin.io/line-7\n"))
	w.Expect(w.run("get", "set/line-7", "--exit-code").Code).To(Equal(cluster.ExitFound))
	w.Expect(w.run("status", "set/line-7", "--exit-code").Code).To(Equal(cluster.ExitFound))
	var got struct {
		Items []any
		Sets  []struct{ Name, Phase string }
	}
	w.Expect(json.Unmarshal([]byte(w.ok("get", "set/line-7", "-o", "json")), &got)).To(Succeed())
	w.Expect(got.Items).To(BeEmpty())
	w.Expect(got.Sets).To(ConsistOf(HaveField("Phase", "AwaitingApproval")))
	var shown struct {
		Revision, Result string
		Waves            []struct{ Name, State string }
	}
	for _, command := range []string{"rollout", "status"} {
		w.Expect(json.Unmarshal([]byte(w.ok(command, "set/line-7", "-o", "json")), &shown)).To(Succeed())
		w.Expect(shown.Revision).To(Equal(revision))
		w.Expect(shown.Result).To(Equal("Running"))
		w.Expect(shown.Waves).To(HaveLen(3))
		w.Expect(shown.Waves[0]).To(HaveField("State", "AwaitingApproval"))
	}
	w.Expect(w.ok("rollout", "line-7", "-o", "yaml")).To(ContainSubstring("phase: AwaitingApproval\n"))
}

func TestGetTellsTwinsFromSets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.annotated("line-7", complete)
	w.create(twin("line-7"))
	out := w.ok("get", "line-7", "set/line-7")
	w.Expect(out).To(ContainSubstring("line-7  device line-7 of hub hub\n"))
	w.Expect(out).To(ContainSubstring("\n\ndevicetwinset/line-7 of "))
	w.Expect(w.ok("get", "-o", "name")).To(Equal("devicetwin.iothub.devicetwin.io/line-7\n"), "all DeviceTwins, and no sets")
	w.Expect(w.ok("get", "set/line-7", "--exit-code")).To(ContainSubstring("Complete"))
	w.Expect(w.ok("status", "set/line-7", "--exit-code")).To(ContainSubstring("Complete"))
	w.Expect(w.run("get", "set/line-7", "--differing")).To(Equal(result{Err: "nothing differs, as far as the status tells\n"}))
	w.Expect(w.refused("get", "set/line-7", "--watch")).To(ContainSubstring("kubectl twin rollout SET --watch"))
	w.Expect(w.refused("get", "set/nowhere")).To(ContainSubstring(`devicetwinsets.iothub.devicetwin.io "nowhere" not found`))
	w.Expect(w.refused("get", "nowhere")).To(ContainSubstring(`devicetwins.iothub.devicetwin.io "nowhere" not found`))
	w.Expect(w.refused("get", "pod/line-7")).To(ContainSubstring("should be the name of a DeviceTwin, devicetwin/NAME, or set/NAME"))
	w.Expect(w.refused("status", "set/nowhere")).To(ContainSubstring(`"nowhere" not found`))
}

func TestStatusListsTheSetsOfAHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.factory()
	w.Expect(w.ok("status", "hub")).NotTo(ContainSubstring("DeviceTwinSets"))
	w.annotated("line-7", progress(v1alpha1.SetFailed, "tenth"))
	w.annotated("line-8", complete)
	elsewhere := testenv.Namespace(t, w.client, nil)
	guest, namesake, other := set("guest"), set("namesake"), set("other")
	guest.Namespace, guest.Spec.HubRef.Namespace, namesake.Namespace, other.Spec.HubRef.Name = elsewhere, w.ns, elsewhere, "other"
	for _, obj := range []*v1alpha1.DeviceTwinSet{guest, namesake, other} {
		w.create(obj)
	}
	out := w.ok("status", "hub")
	w.Expect(out).To(ContainSubstring("\nDeviceTwinSets\n"))
	w.Expect(lineOf(out, "line-7")).To(Equal("line-7 Unknown Failed, wave tenth [#!~=................] 1000 100 90 " + revision))
	w.Expect(lineOf(out, "line-8")).To(Equal("line-8 True Complete [####################] 1000 1000 1000 " + revision))
	w.Expect(lineOf(out, "/guest")).To(Equal(elsewhere + "/guest Unknown none [....................] 0 0 0"))
	w.Expect(lineOf(out, "line-7:")).To(ContainSubstring("`kubectl twin resume set/line-7 -n " + w.ns + "` goes on, `kubectl twin rollback line-7 -n " + w.ns + "` returns"))
	w.Expect(out).NotTo(Or(ContainSubstring("namesake"), ContainSubstring("other")))
	var printed struct {
		Sets struct{ Items []struct{ Name string } }
	}
	w.Expect(json.Unmarshal([]byte(w.ok("status", "hub", "-o", "json")), &printed)).To(Succeed())
	w.Expect(printed.Sets.Items).To(HaveLen(3))

	w.as("reader", setRule("list"), twinRule("get", "list"))
	out = w.ok("status", "hub")
	w.Expect(out).To(ContainSubstring("\nDeviceTwinSets of namespace " + w.ns + " alone: no others may be listed\n"))
	w.Expect(out).NotTo(ContainSubstring("guest"))
	w.as("twinner", twinRule("get", "list"))
	out = w.ok("status", "hub")
	w.Expect(lineOf(out, "DeviceTwinSets are not shown")).To(ContainSubstring("cannot list resource"))
}

// TestStatusOfAClusterWithoutSets, of a release before them.
func TestStatusOfAClusterWithoutSets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.factory()
	w.proxied(func(out http.ResponseWriter, request *http.Request) bool {
		if !isSets(request) {
			return false
		}
		http.Error(out, "404 page not found", http.StatusNotFound)
		return true
	})
	out := w.ok("status", "hub")
	w.Expect(lineOf(out, "DeviceTwinSets are not shown")).To(ContainSubstring("install the custom resource definitions"))
	w.Expect(w.refused("rollout", "line-7")).To(ContainSubstring("install the custom resource definitions"))
}

func TestARolloutIsFollowed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ends func(*v1alpha1.DeviceTwinSetStatus)
		code int
		says string
	}{
		"complete": {complete, 0, "Complete; of 1000 devices 1000 are written, 1000 acknowledged\n"},
		"offline": {func(s *v1alpha1.DeviceTwinSetStatus) {
			complete(s)
			s.Phase = v1alpha1.SetCompletedWithOffline
		}, 0, "CompletedWithOffline;"},
		"failed":      {progress(v1alpha1.SetFailed, "tenth"), cluster.ExitFound, "Failed, wave tenth: 0 written, 0 acknowledged, 0 failed, 0 offline; of 1000"},
		"aborted":     {progress(v1alpha1.SetAborted, "canary"), cluster.ExitFound, "Aborted, wave canary: 100 written, 90 acknowledged, 2 failed, 5 offline; of 1000"},
		"rolled back": {rolledBack, cluster.ExitFound, "RolledBack;"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			obj, _ := w.annotated("line-7", nil)
			out, ended := gbytes.NewBuffer(), make(chan result, 1)
			go func() { ended <- w.runWith(w.Context(), out, "rollout", "line-7", "--watch", "--timeout", "1m") }()
			w.Eventually(out, patience).Should(gbytes.Say(`\d\d:\d\d:\d\d  none; of 0 devices`))
			w.standing(obj, progress(v1alpha1.SetProgressing, "canary"))
			w.Eventually(out, patience).Should(gbytes.Say("Progressing, wave canary: 100 written"))
			w.standing(obj, progress(v1alpha1.SetAwaitingApproval, "canary"))
			w.Eventually(out, patience).Should(gbytes.Say("AwaitingApproval, wave canary"))
			w.Consistently(ended, 500*time.Millisecond).ShouldNot(Receive(), "an approval is waited for")
			w.standing(obj, tt.ends)
			var r result
			w.Eventually(ended, patience).Should(Receive(&r))
			w.Expect(r.Code).To(Equal(tt.code), r.Err)
			w.Expect(r.Out).To(ContainSubstring(tt.says))
			w.Expect(r.Out).To(ContainSubstring("\ndevicetwinset/line-7 of "), "the whole at the end")
			w.Expect(w.run("rollout", "line-7").Code).To(Equal(tt.code), "and without --watch alike")
		})
	}
}

// TestACommandIsNotOverByWhatWasBefore: a rollout that failed and is resumed is followed on.
func TestACommandIsNotOverByWhatWasBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj, _ := w.annotated("line-7", progress(v1alpha1.SetFailed, "tenth"))
	w.ok("resume", "set/line-7")
	ended := make(chan result, 1)
	go func() { ended <- w.run("rollout", "line-7", "--watch", "-o", "json") }()
	w.Consistently(ended, time.Second).ShouldNot(Receive())
	w.standing(obj, func(s *v1alpha1.DeviceTwinSetStatus) {
		complete(s)
		s.LastHandledRollout = revision + "/resume"
	})
	var r result
	w.Eventually(ended, patience).Should(Receive(&r))
	w.Expect(r.Code).To(Equal(0), r.Err)
	var shown struct{ Result string }
	w.Expect(json.Unmarshal([]byte(r.Out), &shown)).To(Succeed(), "nothing but JSON: "+r.Out)
	w.Expect(shown.Result).To(Equal("Succeeded"))
}

func TestFollowingEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj, _ := w.annotated("line-7", progress(v1alpha1.SetPaused, "tenth"))
	r := w.run("rollout", "line-7", "--watch", "--timeout", "1s")
	w.Expect(r.Code).To(Equal(cluster.ExitError))
	w.Expect(r.Err).To(Equal("error: the rollout has not ended within 1s: Paused, wave tenth: 0 written, 0 acknowledged, 0 failed, 0 offline; of 1000 devices 100 are written, 90 acknowledged\n"))
	for says, args := range map[string][]string{
		"accepts 1 arg":                         {"rollout"},
		"--timeout is for --watch":              {"rollout", "line-7", "--timeout", "1s"},
		"--timeout -1s: should be 0 or more":    {"rollout", "line-7", "--watch", "--timeout", "-1s"},
		"should be the name of a DeviceTwinSet": {"rollout", "devicetwin/line-7"},
		`"nowhere" not found`:                   {"rollout", "nowhere", "--watch"},
		"should be one of json, yaml, name":     {"rollout", "line-7", "-o", "table"},
	} {
		w.Expect(w.refused(args...)).To(ContainSubstring(says))
	}

	var broken atomic.Bool
	admin := w.kubeconfig
	w.proxied(func(out http.ResponseWriter, request *http.Request) bool {
		if !broken.Load() || !isSets(request) {
			return false
		}
		http.Error(out, "overloaded", http.StatusServiceUnavailable)
		return true
	})
	follow := func(ctx context.Context) (*gbytes.Buffer, chan result) {
		out, ended := gbytes.NewBuffer(), make(chan result, 1)
		go func() { ended <- w.runWith(ctx, out, "rollout", "line-7", "--watch") }()
		w.Eventually(out, patience).Should(gbytes.Say("Paused"))
		return out, ended
	}
	out, ended := follow(w.Context())
	broken.Store(true)
	w.Consistently(ended, time.Second).ShouldNot(Receive(), "an API server may be away for a while")
	broken.Store(false)
	w.standing(obj, progress(v1alpha1.SetProgressing, "tenth"))
	w.Eventually(out, patience).Should(gbytes.Say("Progressing"))
	w.Expect(w.client.Delete(w.Context(), obj)).To(Succeed())
	w.Eventually(ended, patience).Should(Receive(And(HaveField("Code", cluster.ExitError), HaveField("Err", ContainSubstring("was deleted before")))))

	w.kubeconfig = admin
	w.annotated("line-7", progress(v1alpha1.SetPaused, "tenth"))
	ctx, cancel := context.WithCancel(w.Context())
	_, ended = follow(ctx)
	cancel()
	w.Eventually(ended, patience).Should(Receive(And(HaveField("Code", cluster.ExitError), HaveField("Err", ContainSubstring("interrupted before the rollout had ended")))))
}

func TestSetNamesAreCompleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(twin("line-7-press"))
	w.create(set("line-7"))
	w.create(set("line-8"))
	w.create(hub("factory"))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"rollout", ""}, "line-7\nline-8\n:4\n"},
		{[]string{"rollout", "line-7", ""}, ":4\n"},
		{[]string{"abort", "line-7", "li"}, "line-8\n:4\n"},
		{[]string{"get", ""}, "line-7-press\nset/line-7\nset/line-8\n:4\n"},
		{[]string{"get", "set/line-7", "s"}, "set/line-8\n:4\n"},
		{[]string{"suspend", "line"}, "line-7-press\n:4\n"},
		{[]string{"approve", ""}, "factory\nset/line-7\nset/line-8\n:4\n"},
		{[]string{"status", "set/line-8"}, "set/line-8\n:4\n"},
		{[]string{"status", "factory", ""}, ":4\n"},
		{[]string{"approve", "set/line-7", "--wave", ""}, "canary\ntenth\n:4\n"},
		{[]string{"rollout", "-o", ""}, "json\nyaml\nname\nwide\n:4\n"},
	} {
		w.Expect(w.completed(tt.args...)).To(Equal(tt.want), "%v", tt.args)
	}
	w.as("setter", setRule("list"))
	w.Expect(w.completed("get", "")).To(Equal("set/line-7\nset/line-8\n:4\n"), "what the user may list")
	w.as("twinner", twinRule("list"))
	w.Expect(w.completed("get", "")).To(Equal("line-7-press\n:4\n"))
	w.as("stranger")
	w.Expect(w.completed("get", "")).To(Equal(":1\n"))
}

// completed is what a shell is told. What completion is asked for follows its flags.
func (w *world) completed(args ...string) string {
	w.Helper()
	return w.run(append([]string{"__complete", "--kubeconfig", w.kubeconfig, "--namespace", w.ns}, args...)...).Out
}
