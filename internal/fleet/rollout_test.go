package fleet_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// rollout is one that a test brings forward.
type rollout struct {
	Gomega
	spec   v1alpha1.DeviceTwinSetSpec
	status v1alpha1.DeviceTwinSetStatus
	seen   fleet.Seen
}

func newRollout(t *testing.T, waves ...v1alpha1.SetWave) *rollout {
	t.Helper()
	r := &rollout{Gomega: NewWithT(t)}
	r.spec.Rollout = v1alpha1.SetRollout{
		Waves: waves, MaxInFlight: 10,
		Success: v1alpha1.RolloutSuccess{Percent: 90},
		Failure: v1alpha1.RolloutFailure{Percent: ptr.To[int32](5), MinSample: 20, Action: v1alpha1.FailurePause},
		Offline: v1alpha1.OfflineSkip,
	}
	r.seen = fleet.Seen{Desired: "one", Judged: true, Now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)}
	return r
}

func (r *rollout) waves() fleet.Waves {
	return fleet.NewWaves(r.spec.Rollout.Waves, make([]*query.Condition, len(r.spec.Rollout.Waves)))
}

func (r *rollout) advance() fleet.Step {
	return fleet.Advance(&r.spec, r.waves(), &r.status, r.seen)
}

// answered has so many devices of the wave written, acknowledged, failed and offline, and none left to write.
func (r *rollout) answered(written, acknowledged, failed, offline int64) fleet.Step {
	r.seen.Exhausted, r.seen.InFlight = true, 0
	r.seen.Wave = fleet.WaveCounts{Written: written, Acknowledged: acknowledged, Failed: failed, Offline: offline}
	return r.advance()
}

// fresh has nothing known of the wave that the rollout has come to.
func (r *rollout) fresh() {
	r.seen.Exhausted, r.seen.Wave = false, fleet.WaveCounts{}
}

// complete brings a rollout to its end.
func (r *rollout) complete(revision string) {
	r.seen.Desired = revision
	r.fresh()
	r.advance()
	for range len(r.spec.Rollout.Waves) + 1 {
		r.answered(10, 10, 0, 0)
		r.fresh()
	}
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetComplete))
	r.Expect(r.status.StableRevision).To(Equal(revision))
}

func TestARolloutGoesFromWaveToWave(t *testing.T) {
	t.Parallel()
	r := newRollout(t, v1alpha1.SetWave{Name: "canary", Percent: 1}, v1alpha1.SetWave{Name: "tenth", Percent: 10, MaxInFlight: 3})
	step := r.advance()
	r.Expect(r.status.Revision).To(Equal("one"))
	r.Expect(r.status.Wave).To(Equal("canary"))
	r.Expect(step.Write).To(BeTrue())
	r.Expect(step.Most).To(BeEquivalentTo(10))
	r.seen.InFlight = 4
	r.Expect(r.advance().Most).To(BeEquivalentTo(6))
	r.seen.InFlight = 11
	r.Expect(r.advance().Most).To(BeZero(), "not by one")
	r.answered(5, 5, 0, 0)
	r.Expect(r.status.Wave).To(Equal("tenth"))
	r.fresh()
	r.seen.InFlight = 1
	r.Expect(r.advance().Most).To(BeEquivalentTo(2), "the wave's own")
	r.answered(50, 45, 0, 5)
	r.Expect(r.status.Wave).To(Equal(fleet.Rest))
	r.seen.Offline = 5
	step = r.answered(0, 0, 0, 0)
	r.Expect(r.status.Wave).To(BeEmpty())
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetCompletedWithOffline))
	r.Expect(step.Done).To(BeTrue())
	r.seen.Offline = 0
	r.advance()
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetComplete))
}

func TestAWaveSoaksAndWaitsForItsApproval(t *testing.T) {
	t.Parallel()
	wave := v1alpha1.SetWave{Name: "canary", Percent: 1, Then: v1alpha1.AfterWaveApprove}
	wave.Soak.Duration = time.Hour
	r := newRollout(t, wave)
	r.advance()
	step := r.answered(5, 5, 0, 0)
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetSoaking))
	r.Expect(step.Again).To(Equal(time.Hour))
	r.seen.Approve = "one/canary"
	r.advance()
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetSoaking), "an approval shortens no soak")
	r.seen.Now = r.seen.Now.Add(time.Hour)
	r.seen.Approve = "zero/canary"
	r.advance()
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetAwaitingApproval), "it is for another revision")
	r.seen.Approve = "one/canary"
	r.advance()
	r.Expect(r.status.Wave).To(Equal(fleet.Rest))
}

// TestADeviceThatFailsWhileAWaveSoaks counts.
func TestADeviceThatFailsWhileAWaveSoaks(t *testing.T) {
	t.Parallel()
	wave := v1alpha1.SetWave{Name: "canary", Percent: 1}
	wave.Soak.Duration = time.Hour
	r := newRollout(t, wave)
	r.advance()
	r.answered(40, 40, 0, 0)
	r.answered(40, 30, 10, 0)
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetFailed))
}

func TestARevisionFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		written, acknowledged, failed, offline, inFlight int64
		exhausted, wait                                  bool
		want                                             v1alpha1.SetPhase
	}{
		"too few to tell":                {written: 30, acknowledged: 9, failed: 10, inFlight: 11, want: v1alpha1.SetProgressing},
		"too many of enough":             {written: 40, acknowledged: 18, failed: 2, inFlight: 20, want: v1alpha1.SetFailed},
		"as many as may":                 {written: 40, acknowledged: 19, failed: 1, inFlight: 20, want: v1alpha1.SetProgressing},
		"all of few":                     {written: 3, failed: 3, exhausted: true, want: v1alpha1.SetFailed},
		"one of few that still answer":   {written: 3, failed: 1, inFlight: 2, exhausted: true, want: v1alpha1.SetProgressing},
		"one of few before the rest":     {written: 3, failed: 1, acknowledged: 2, want: v1alpha1.SetProgressing},
		"offline ones have not":          {written: 10, acknowledged: 5, offline: 5, exhausted: true, want: v1alpha1.SetProgressing},
		"nor where they are waited for":  {written: 10, acknowledged: 4, failed: 1, offline: 5, exhausted: true, wait: true, want: v1alpha1.SetProgressing},
		"the others without the offline": {written: 10, acknowledged: 4, failed: 1, offline: 5, exhausted: true, want: v1alpha1.SetFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRollout(t, v1alpha1.SetWave{Name: "canary", Percent: 1})
			if tt.wait {
				r.spec.Rollout.Offline = v1alpha1.OfflineWait
			}
			r.advance()
			r.seen.Exhausted, r.seen.InFlight = tt.exhausted, tt.inFlight
			r.seen.Wave = fleet.WaveCounts{Written: tt.written, Acknowledged: tt.acknowledged, Failed: tt.failed, Offline: tt.offline}
			step := r.advance()
			r.Expect(r.status.Phase).To(Equal(tt.want))
			r.Expect(step.Write).To(Equal(tt.want == v1alpha1.SetProgressing))
		})
	}
}

// TestAFailedRevisionIsTakenBack where there is another one to go back to, and may fail itself.
func TestAFailedRevisionIsTakenBack(t *testing.T) {
	t.Parallel()
	r := newRollout(t, v1alpha1.SetWave{Name: "canary", Percent: 1, Then: v1alpha1.AfterWaveApprove})
	r.spec.Rollout.Failure.Action = v1alpha1.FailureRollBack
	r.advance()
	r.answered(5, 0, 5, 0)
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetFailed), "there is none yet")
	r.spec.Rollout.Waves = nil
	r.complete("two")
	r.spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "canary", Percent: 1, Then: v1alpha1.AfterWaveApprove}}
	r.seen.Desired = "three"
	r.advance()
	r.answered(5, 0, 5, 0)
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetRollingBack))
	r.Expect(r.status.Revision).To(Equal("two"))
	r.Expect(r.status.FailedRevision).To(Equal("three"))
	r.fresh()
	step := r.advance()
	r.Expect(step.Waves).To(HaveLen(1), "no wave, no approval")
	r.answered(5, 5, 0, 0)
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetRolledBack))
	r.advance()
	r.Expect(r.status.Revision).To(Equal("two"), "what failed is not written again")
	r.seen.Rollout = "three/resume"
	r.fresh()
	r.advance()
	r.Expect(r.status.Revision).To(Equal("three"), "unless a user asks for it")
}

func TestARollbackThatFailsStops(t *testing.T) {
	t.Parallel()
	r := newRollout(t)
	r.spec.Rollout.Failure.Action = v1alpha1.FailureRollBack
	r.complete("one")
	r.seen.Desired = "two"
	r.fresh()
	r.advance()
	r.answered(5, 0, 5, 0)
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetRollingBack))
	r.answered(5, 0, 5, 0)
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetFailed))
}

func TestTheAnnotationOfARollout(t *testing.T) {
	t.Parallel()
	r := newRollout(t)
	r.complete("one")
	r.seen.Rollout = "one/abort"
	r.Expect(r.advance().Ignored).NotTo(BeEmpty(), "there is nothing to abort")
	r.Expect(r.status.LastHandledRollout).To(Equal("one/abort"))
	r.Expect(r.advance().Ignored).To(BeEmpty(), "it is said once")
	r.seen.Desired = "two"
	r.advance()
	r.seen.Rollout = "one/rollback"
	r.Expect(r.advance().Ignored).To(ContainSubstring("it names another revision"))
	r.seen.Rollout = "two/abort"
	r.Expect(r.advance().Write).To(BeFalse())
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetAborted))
	r.answered(5, 5, 0, 0)
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetAborted), "it stays")
	r.seen.Rollout = "two/resume"
	r.Expect(r.advance().Ignored).To(BeEmpty())
	r.Expect(r.status.Phase).NotTo(Equal(v1alpha1.SetAborted))
	r.fresh()
	r.seen.Desired = "three"
	r.advance()
	for _, again := range []string{"three/abort", "three/resume", "three/abort/2", "three/resume/2"} {
		r.seen.Rollout = again
		r.Expect(r.advance().Ignored).To(BeEmpty())
	}
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetProgressing))
}

// TestResumedFailuresCountNoMore, those that come after do.
func TestResumedFailuresCountNoMore(t *testing.T) {
	t.Parallel()
	r := newRollout(t, v1alpha1.SetWave{Name: "canary", Percent: 1})
	r.advance()
	r.answered(10, 5, 5, 0)
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetFailed))
	r.seen.Rollout = "one/resume"
	r.advance()
	r.Expect(r.status.Wave).To(Equal(fleet.Rest), "the five that are left are enough")
	r.fresh()
	r.advance()
	r.answered(10, 5, 5, 0)
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetFailed))
}

func TestAnEditEndsWhatWasDecided(t *testing.T) {
	t.Parallel()
	for _, phase := range []v1alpha1.SetPhase{v1alpha1.SetFailed, v1alpha1.SetAborted, v1alpha1.SetAwaitingApproval, v1alpha1.SetRolledBack} {
		r := newRollout(t, v1alpha1.SetWave{Name: "canary", Percent: 1})
		r.advance()
		r.status.Phase, r.status.FailedRevision, r.status.Wave = phase, "zero", ""
		r.seen.Desired = "two"
		step := r.advance()
		r.Expect(r.status.Phase).To(Equal(v1alpha1.SetProgressing))
		r.Expect(r.status.Wave).To(Equal("canary"))
		r.Expect(r.status.FailedRevision).To(BeEmpty())
		r.Expect(step.Write).To(BeTrue())
	}
}

func TestAPausedRolloutWritesNothing(t *testing.T) {
	t.Parallel()
	r := newRollout(t, v1alpha1.SetWave{Name: "canary", Percent: 1})
	r.advance()
	r.spec.Rollout.Paused = true
	r.Expect(r.answered(5, 5, 0, 0).Write).To(BeFalse())
	r.Expect(r.status.Phase).To(Equal(v1alpha1.SetPaused))
	r.Expect(r.status.Wave).To(Equal("canary"))
	r.spec.Rollout.Paused = false
	r.advance()
	r.Expect(r.status.Wave).To(Equal(fleet.Rest))
}

// TestAWaveThatAnEditTookAway leaves the rollout at the first that is not complete.
func TestAWaveThatAnEditTookAway(t *testing.T) {
	t.Parallel()
	r := newRollout(t, v1alpha1.SetWave{Name: "a", Percent: 1}, v1alpha1.SetWave{Name: "b", Percent: 1})
	r.advance()
	r.answered(5, 5, 0, 0)
	r.Expect(r.status.Wave).To(Equal("b"))
	r.spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "a", Percent: 1}, {Name: "c", Percent: 2}}
	r.advance()
	r.Expect(r.status.Wave).To(Equal("c"))
}

// TestWhateverIsSeen never lets more devices be in flight than there may be, nor anything be written that is
// paused or halted, nor a wave be begun before the one before is complete.
func TestWhateverIsSeen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		spec := v1alpha1.DeviceTwinSetSpec{Rollout: v1alpha1.SetRollout{
			MaxInFlight: 5, Success: v1alpha1.RolloutSuccess{Percent: 90}, Failure: v1alpha1.RolloutFailure{MinSample: 5},
			Waves: []v1alpha1.SetWave{{Name: "a", Percent: 10, Then: v1alpha1.AfterWaveApprove}, {Name: "b", Percent: 10}},
		}}
		spec.Rollout.Failure.Action = rapid.SampledFrom([]v1alpha1.FailureAction{v1alpha1.FailurePause, v1alpha1.FailureRollBack}).Draw(t, "action")
		status := v1alpha1.DeviceTwinSetStatus{}
		waves := fleet.NewWaves(spec.Rollout.Waves, make([]*query.Condition, 2))
		now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			before := *status.DeepCopy()
			now = now.Add(time.Second)
			count := func(name string) int64 { return rapid.Int64Range(0, 6).Draw(t, name) }
			seen := fleet.Seen{
				Desired: rapid.SampledFrom([]string{"r1", "r1", "r1", "r1", "r2"}).Draw(t, "desired"), Judged: true, Now: now,
				Exhausted: rapid.Bool().Draw(t, "exhausted"), InFlight: count("in flight"),
				Wave:    fleet.WaveCounts{Written: count("written") + 6, Acknowledged: count("acknowledged") + 3, Failed: count("failed"), Offline: count("offline")},
				Approve: rapid.SampledFrom([]string{"", "r1/a", "r2/a"}).Draw(t, "approve"),
				Rollout: rapid.SampledFrom([]string{"", "", "r1/abort", "r1/rollback", "r1/resume", "r2/resume"}).Draw(t, "rollout"),
			}
			spec.Rollout.Paused = rapid.Bool().Draw(t, "paused")
			step := fleet.Advance(&spec, waves, &status, seen)
			halted := status.Phase == v1alpha1.SetFailed || status.Phase == v1alpha1.SetAborted
			switch {
			case step.Write && (spec.Rollout.Paused || halted):
				t.Fatalf("writes in phase %s", status.Phase)
			case step.Write && step.Most+seen.InFlight > 5 && step.Most > 0:
				t.Fatalf("%d more beside %d", step.Most, seen.InFlight)
			case before.Revision == status.Revision && before.Wave == "a" && status.Wave == "b" && seen.Approve != status.Revision+"/a":
				t.Fatalf("wave a was followed without an approval")
			case spec.Rollout.Paused && before.Revision == status.Revision && before.Wave != status.Wave:
				t.Fatalf("went from %q to %q while paused", before.Wave, status.Wave)
			}
		}
	})
}
