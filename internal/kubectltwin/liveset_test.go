package kubectltwin_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// TestSetsWithTheController: what the commands show and do about sets means what it says to the controllers.
func TestSetsWithTheController(t *testing.T) {
	t.Parallel()
	l := newLive(t, nil, "d1", "d2", "d3")
	l.plantOf("d1", "d2", "d3")
	obj := set("line-7")
	obj.Spec.Selector.Where, obj.Spec.Interval.Duration = "tags.plant = '43'", 5*time.Second
	obj.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "canary", Where: "tags.no = 0", Then: v1alpha1.AfterWaveApprove}}
	obj.Spec.Rollout.Success.From = v1alpha1.SuccessFromWritten
	awaiting := func() {
		l.Helper()
		l.Eventually(func() v1alpha1.SetPhase {
			l.get(obj)
			if obj.Status.ObservedGeneration != obj.Generation {
				return ""
			}
			return obj.Status.Phase
		}, patience).Should(Equal(v1alpha1.SetAwaitingApproval))
	}
	follow := func() result { return l.run("rollout", "line-7", "--watch", "--timeout", patience.String()) }
	edit := func(template string) {
		l.Helper()
		l.Eventually(func() error {
			l.get(obj)
			obj.Spec.Template.Desired = raw(template)
			return l.client.Update(l.Context(), obj)
		}, patience).Should(Succeed())
	}
	l.create(obj)
	awaiting()
	l.Expect(lineOf(l.ok("get", "set/line-7"), "canary  ")).To(MatchRegexp(`^canary awaits approval, complete \S+ ago \[[#=]+\] 1 \d 0 0$`))
	l.Expect(l.run("rollback", "line-7").Err).To(ContainSubstring("nothing to roll back to: no revision was complete yet"))
	ended := make(chan result, 1)
	go func() { ended <- follow() }()
	l.Expect(l.ok("approve", "line-7", "--wave", "canary", "--wait")).To(ContainSubstring("approved: wave canary"))
	var r result
	l.Eventually(ended, patience).Should(Receive(&r))
	l.Expect(r.Code).To(Equal(0), r.Out+r.Err)
	l.Expect(lineOf(l.ok("status", "hub"), "line-7")).To(MatchRegexp(`^line-7 True Complete \[[#=]+\] 3 3 \d [0-9a-f]+$`))
	l.Expect(l.ok("reconcile", "set/line-7", "--wait")).To(HaveSuffix("asked to be reconciled\n"))

	edit(`{"telemetryInterval":60}`)
	awaiting()
	l.Expect(l.ok("abort", "line-7", "--wait")).To(ContainSubstring("asked to abort"))
	r = follow()
	l.Expect(r.Code).To(Equal(cluster.ExitFound))
	l.Expect(r.Out).To(ContainSubstring("Aborted, wave canary"))
	l.ok("resume", "set/line-7")
	awaiting()
	l.Expect(l.held("d1")).To(ContainSubstring(`"telemetryInterval":60`))
	l.Expect(l.ok("rollback", "line-7", "--wait")).To(ContainSubstring("asked to roll back: from revision " + obj.Status.Revision + " to " + obj.Status.StableRevision))
	r = follow()
	l.Expect(r.Code).To(Equal(cluster.ExitFound), r.Out+r.Err)
	l.Expect(r.Out).To(ContainSubstring("RolledBack"))
	l.Expect(l.held("d1")).To(ContainSubstring(`"telemetryInterval":30`))
	l.Expect(l.ok("resume", "line-7")).To(ContainSubstring("resumed: revision " + obj.Status.Revision))
	awaiting()

	l.ok("pause", "line-7")
	l.Eventually(func() string { return l.ok("rollout", "line-7") }, patience).Should(ContainSubstring("(RolloutPaused)"))
	l.Expect(l.run("approve", "set/line-7").Err).To(ContainSubstring("nothing to approve: phase Paused, wave canary"))
	l.ok("resume", "set/line-7")
	awaiting()
	l.ok("approve", "set/line-7")
	r = follow()
	l.Expect(r.Code).To(Equal(0), r.Out+r.Err)
	for _, device := range []string{"d1", "d2", "d3"} {
		l.Expect(l.held(device)).To(ContainSubstring(`"telemetryInterval":60`))
	}
}
