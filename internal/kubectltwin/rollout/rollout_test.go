package rollout_test

import (
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/rollout"
)

// standing is a set in a phase and wave, of revision r2 above the stable r1.
func standing(phase v1alpha1.SetPhase, wave string) *v1alpha1.DeviceTwinSet {
	obj := &v1alpha1.DeviceTwinSet{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s", Generation: 3, Annotations: map[string]string{}}}
	obj.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "canary"}, {Name: "tenth"}}
	obj.Status = v1alpha1.DeviceTwinSetStatus{ObservedGeneration: 3, Phase: phase, Wave: wave, Revision: "r2", StableRevision: "r1"}
	return obj
}

func with(obj *v1alpha1.DeviceTwinSet, edits ...func(*v1alpha1.DeviceTwinSet)) *v1alpha1.DeviceTwinSet {
	for _, edit := range edits {
		edit(obj)
	}
	return obj
}

func edited(obj *v1alpha1.DeviceTwinSet) { obj.Generation++ }

func suspended(obj *v1alpha1.DeviceTwinSet) { obj.Spec.Suspend = true }

func rolledBack(obj *v1alpha1.DeviceTwinSet) {
	obj.Status.FailedRevision, obj.Status.Revision = "r2", "r1"
}

func asked(value string) func(*v1alpha1.DeviceTwinSet) {
	return func(obj *v1alpha1.DeviceTwinSet) { obj.Annotations[v1alpha1.RolloutAnnotation] = value }
}

func handled(value string) func(*v1alpha1.DeviceTwinSet) {
	return func(obj *v1alpha1.DeviceTwinSet) { obj.Status.LastHandledRollout = value }
}

func is(kind string, status metav1.ConditionStatus) func(*v1alpha1.DeviceTwinSet) {
	return func(obj *v1alpha1.DeviceTwinSet) {
		obj.Status.Conditions = append(obj.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: "Because"})
	}
}

func ready(obj *v1alpha1.DeviceTwinSet) { is("Ready", metav1.ConditionTrue)(obj) }

func because(reason string) func(*v1alpha1.DeviceTwinSet) {
	return func(obj *v1alpha1.DeviceTwinSet) {
		obj.Status.Conditions = append(obj.Status.Conditions, metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: reason})
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		obj  *v1alpha1.DeviceTwinSet
		want rollout.Result
	}{
		"new":                       {&v1alpha1.DeviceTwinSet{}, rollout.Running},
		"progressing":               {standing(v1alpha1.SetProgressing, "canary"), rollout.Running},
		"soaking":                   {standing(v1alpha1.SetSoaking, "canary"), rollout.Running},
		"awaiting":                  {standing(v1alpha1.SetAwaitingApproval, "canary"), rollout.Running},
		"awaiting, stalled":         {with(standing(v1alpha1.SetAwaitingApproval, "canary"), is("Stalled", metav1.ConditionTrue)), rollout.Running},
		"paused":                    {standing(v1alpha1.SetPaused, "canary"), rollout.Running},
		"paused behind the end":     {with(standing(v1alpha1.SetPaused, ""), because("RolloutPaused")), rollout.Succeeded},
		"paused, edited, no hub":    {with(standing(v1alpha1.SetPaused, ""), because("HubUnreachable")), rollout.Running},
		"complete":                  {with(standing(v1alpha1.SetComplete, ""), ready), rollout.Succeeded},
		"complete, some offline":    {with(standing(v1alpha1.SetCompletedWithOffline, ""), ready), rollout.Succeeded},
		"complete, edited":          {with(standing(v1alpha1.SetComplete, ""), ready, edited), rollout.Running},
		"complete, suspended":       {with(standing(v1alpha1.SetComplete, ""), ready, suspended), rollout.Running},
		"complete, not ready":       {with(standing(v1alpha1.SetComplete, ""), is("Ready", metav1.ConditionFalse)), rollout.Running},
		"complete, stalled":         {with(standing(v1alpha1.SetComplete, ""), is("Stalled", metav1.ConditionTrue)), rollout.Failed},
		"failed":                    {standing(v1alpha1.SetFailed, "tenth"), rollout.Failed},
		"failed, edited":            {with(standing(v1alpha1.SetFailed, "tenth"), edited), rollout.Running},
		"failed, resumed":           {with(standing(v1alpha1.SetFailed, "tenth"), asked("r2/resume")), rollout.Running},
		"failed again":              {with(standing(v1alpha1.SetFailed, "tenth"), asked("r2/resume"), handled("r2/resume")), rollout.Failed},
		"failed, asked for another": {with(standing(v1alpha1.SetFailed, "tenth"), asked("r0/resume")), rollout.Failed},
		"aborted":                   {standing(v1alpha1.SetAborted, "tenth"), rollout.Failed},
		"rolling back":              {with(standing(v1alpha1.SetRollingBack, "rest"), rolledBack), rollout.Running},
		"rolled back":               {with(standing(v1alpha1.SetRolledBack, ""), rolledBack), rollout.Failed},
		"rolled back, resumed":      {with(standing(v1alpha1.SetRolledBack, ""), rolledBack, asked("r2/resume")), rollout.Running},
	} {
		NewWithT(t).Expect(rollout.Of(tt.obj).Result).To(Equal(tt.want), name)
	}
}

func TestWaves(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	states := func(obj *v1alpha1.DeviceTwinSet) (all []string) {
		for _, wave := range rollout.Of(obj).Waves {
			all = append(all, wave.Name+" "+string(wave.State))
		}
		return all
	}
	done := func(obj *v1alpha1.DeviceTwinSet) {
		obj.Status.Waves = []v1alpha1.SetWaveStatus{{Name: "canary", Written: 3, CompletedAt: &metav1.Time{}}}
	}
	g.Expect(states(standing(v1alpha1.SetProgressing, "canary"))).To(Equal([]string{"canary Current", "tenth Ahead", "rest Ahead"}))
	g.Expect(states(with(standing(v1alpha1.SetSoaking, "canary"), done))).To(Equal([]string{"canary Soaking", "tenth Ahead", "rest Ahead"}))
	g.Expect(states(with(standing(v1alpha1.SetAwaitingApproval, "canary"), done))).To(Equal([]string{"canary AwaitingApproval", "tenth Ahead", "rest Ahead"}))
	g.Expect(states(with(standing(v1alpha1.SetPaused, "canary"), done))).To(Equal([]string{"canary Current", "tenth Ahead", "rest Ahead"}))
	g.Expect(states(with(standing(v1alpha1.SetFailed, "tenth"), done))).To(Equal([]string{"canary Complete", "tenth Stopped", "rest Ahead"}))
	g.Expect(states(with(standing(v1alpha1.SetRollingBack, "rest"), rolledBack))).To(Equal([]string{"rest Current"}), "a rollback has one wave")
}

func TestNext(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		obj  *v1alpha1.DeviceTwinSet
		want string
	}{
		"progressing": {standing(v1alpha1.SetProgressing, "canary"), `^$`},
		"suspended":   {with(standing(v1alpha1.SetFailed, "canary"), suspended), "resume set/s -n n`$"},
		"stale":       {with(standing(v1alpha1.SetAwaitingApproval, "canary"), edited), "has not acted upon the last change"},
		"awaiting":    {standing(v1alpha1.SetAwaitingApproval, "canary"), "`kubectl twin approve set/s -n n --wave canary`"},
		"failed":      {standing(v1alpha1.SetFailed, "canary"), "resume set/s -n n` goes on, `kubectl twin rollback s -n n` returns to revision r1$"},
		"rolled back": {with(standing(v1alpha1.SetRolledBack, ""), rolledBack), "^revision r2 is not written until the template is edited"},
	} {
		NewWithT(t).Expect(rollout.Of(tt.obj).Next()).To(MatchRegexp(tt.want), name)
	}
}

// TestACommandCountsEachTime: a value that was acted upon is not given again.
func TestACommandCountsEachTime(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	obj := standing(v1alpha1.SetFailed, "tenth")
	g.Expect(rollout.Command(obj, "r2", rollout.Resume, "now")).To(Equal("r2/resume"))
	g.Expect(rollout.Command(with(obj, handled("r2/resume")), "r2", rollout.Resume, "now")).To(Equal("r2/resume/now"))
	g.Expect(rollout.Command(with(obj, handled("r2/resume/now")), "r2", rollout.Resume, "then")).To(Equal("r2/resume/then"))
	g.Expect(rollout.Command(with(obj, handled("r2/abort")), "r2", rollout.Resume, "now")).To(Equal("r2/resume"))
	g.Expect(rollout.Asked(with(obj, asked("r2/resume/then")), "r2", rollout.Resume)).To(BeTrue())
	g.Expect(rollout.Asked(obj, "r2", rollout.Abort)).To(BeFalse())
	g.Expect(rollout.Asked(with(obj, handled("r2/resume/then")), "r2", rollout.Resume)).To(BeFalse())
}
