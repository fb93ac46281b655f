package fleet

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// Seen is what is known when it is decided what a set does next.
type Seen struct {
	// Desired is the revision that the spec declares.
	Desired string
	// Judged tells that devices count by what they acknowledge, rather than as written.
	Judged bool
	// Approve and Rollout are the annotations of those names.
	Approve, Rollout string
	// Exhausted tells that each device of the waves so far was written, as far as it can be.
	Exhausted bool
	// InFlight are the devices that were written and have neither acknowledged, failed nor been
	// found offline, with all that may be on their way.
	InFlight int64
	// Wave counts the devices of the wave that status.wave names.
	Wave WaveCounts
	// Offline devices of all waves that have not acknowledged.
	Offline int64
	Now     time.Time
}

// WaveCounts count the devices of a wave that hold the revision.
type WaveCounts struct{ Written, Acknowledged, Failed, Offline int64 }

// unsettled are those of which nothing is known but that they were written.
func (c WaveCounts) unsettled() int64 {
	return max(0, c.Written-c.Acknowledged-c.Failed-c.Offline)
}

// Step is what a set does next.
type Step struct {
	// Write tells that devices may be written: those of the waves up to the one at UpTo.
	Write bool
	UpTo  int
	// Waves are those of the rollout that goes on.
	Waves Waves
	// Most is how many devices may be written; without a bound where Bounded is false.
	Most    int64
	Bounded bool
	// Done tells that the rollout is complete: devices that join are written at once.
	Done bool
	// Again is when something is due by the clock; zero where nothing is.
	Again time.Duration
	// Recount tells that devices of the wave are neither in flight nor known to have failed: they
	// were offline, say, and are back.
	Recount bool
	// Ignored says why the annotation of the rollout was not acted upon; "" where there was none.
	Ignored string
}

// Advance brings a set's status forward by what was seen, and says what to do next.
func Advance(spec *v1alpha1.DeviceTwinSetSpec, waves Waves, status *v1alpha1.DeviceTwinSetStatus, seen Seen) Step {
	a := &advance{spec: spec, declared: waves, status: status, seen: seen}
	a.retarget()
	a.command()
	if a.going() {
		a.count()
		a.judge()
	}
	status.Phase = a.phase()
	return a.step()
}

type advance struct {
	spec     *v1alpha1.DeviceTwinSetSpec
	declared Waves
	status   *v1alpha1.DeviceTwinSetStatus
	seen     Seen
	next     Step
	// begun tells that the counts that were seen are of another wave.
	begun bool
}

// waves of the rollout that goes on: a rollback has one.
func (a *advance) waves() Waves {
	if a.rollingBack() {
		return All()
	}
	return a.declared
}

func (a *advance) rollingBack() bool {
	return a.status.FailedRevision != "" && a.status.Revision == a.status.StableRevision
}

// retarget begins with another revision where the spec declares one: an edit stops the one
// before, and lifts what was decided about it.
func (a *advance) retarget() {
	if a.status.FailedRevision != "" && a.status.FailedRevision != a.seen.Desired {
		a.status.FailedRevision = ""
	}
	want := a.seen.Desired
	if a.status.FailedRevision != "" {
		want = a.status.StableRevision
	}
	if a.status.Revision != want {
		a.begin(want)
	}
}

func (a *advance) begin(revision string) {
	a.status.Revision, a.status.Phase = revision, v1alpha1.SetProgressing
	a.status.Waves, a.status.Examples, a.status.ETA = nil, nil, nil
	a.status.InFlight = nil
	a.status.Wave = a.waves()[0].Name
	a.begun = true
}

// command acts upon the annotation of the rollout, once for each value.
func (a *advance) command() {
	if a.seen.Rollout == "" || a.seen.Rollout == a.status.LastHandledRollout {
		return
	}
	a.status.LastHandledRollout = a.seen.Rollout
	revision, verb, _ := strings.Cut(a.seen.Rollout, "/")
	verb, _, _ = strings.Cut(verb, "/") // what follows tells one request from another
	switch {
	case verb == "resume" && revision != "" && revision == a.status.FailedRevision:
		a.status.FailedRevision = ""
		a.begin(revision)
	case revision != a.status.Revision:
		a.next.Ignored = "it names another revision than that of the rollout, " + a.status.Revision
	case verb == "abort" && a.unfinished():
		a.status.Phase = v1alpha1.SetAborted
	case verb == "resume" && a.halted():
		a.forgive()
	case verb == "rollback" && a.canRollBack():
		a.rollBack()
	default:
		a.next.Ignored = "there is nothing to abort, resume or roll back in phase " + string(a.status.Phase)
	}
}

func (a *advance) unfinished() bool { return a.status.Wave != "" && !a.halted() }

// halted tells that the revision was stopped, by its failures or by a user.
func (a *advance) halted() bool {
	return a.status.Phase == v1alpha1.SetFailed || a.status.Phase == v1alpha1.SetAborted
}

// forgive has the devices that failed so far count no more.
func (a *advance) forgive() {
	for i := range a.status.Waves {
		a.status.Waves[i].Forgiven = a.status.Waves[i].Failed
	}
	a.status.Phase = v1alpha1.SetProgressing
}

func (a *advance) canRollBack() bool {
	return a.status.StableRevision != "" && a.status.StableRevision != a.status.Revision
}

func (a *advance) rollBack() {
	a.status.FailedRevision = a.status.Revision
	a.begin(a.status.StableRevision)
}

// going tells that there is a wave to go on with.
func (a *advance) going() bool { return a.status.Wave != "" && !a.halted() && !a.begun }

// at is the wave that the rollout is at. Where an edit has taken it away, it is the first that
// is not complete.
func (a *advance) at() int {
	waves := a.waves()
	if i := waves.Index(a.status.Wave); i >= 0 {
		return i
	}
	for i := range waves {
		if found := a.find(waves[i].Name); found == nil || found.CompletedAt == nil {
			return i
		}
	}
	return len(waves) - 1
}

func (a *advance) find(name string) *v1alpha1.SetWaveStatus {
	for i := range a.status.Waves {
		if a.status.Waves[i].Name == name {
			return &a.status.Waves[i]
		}
	}
	return nil
}

// count notes how far the wave has come.
func (a *advance) count() {
	name := a.waves()[a.at()].Name
	if a.status.Wave != name {
		a.status.Wave, a.begun = name, true
		return
	}
	known := a.find(name)
	if known == nil {
		a.status.Waves = append(a.status.Waves, v1alpha1.SetWaveStatus{Name: name})
		known = &a.status.Waves[len(a.status.Waves)-1]
	}
	seen := a.seen.Wave
	known.Written, known.Acknowledged, known.Failed, known.Offline = seen.Written, seen.Acknowledged, seen.Failed, seen.Offline
	known.Forgiven = min(known.Forgiven, known.Failed)
}

// judge stops a revision that fails, and takes a wave that is complete further.
func (a *advance) judge() {
	if a.begun {
		return
	}
	wave := a.find(a.status.Wave)
	switch {
	case a.seen.Judged && a.fails(wave):
		a.fail()
	case wave.CompletedAt != nil:
		a.follow(wave)
	case a.complete(wave):
		wave.CompletedAt = ptr.To(metav1.NewTime(a.seen.Now.Truncate(time.Second)))
		a.follow(wave)
	}
}

// fails tells whether too many devices have failed: of those that have answered, once they
// are enough to tell, and of all of them once none is left to wait for.
func (a *advance) fails(wave *v1alpha1.SetWaveStatus) bool {
	failed := wave.Failed - wave.Forgiven
	if failed <= 0 {
		return false
	}
	sample := wave.Acknowledged + failed
	limit := int64(ptr.Deref(a.spec.Rollout.Failure.Percent, 0))
	if sample >= int64(a.spec.Rollout.Failure.MinSample) && failed*100 > limit*sample {
		return true
	}
	return a.settled() && a.seen.Wave.unsettled() == 0 && !a.waitsForOffline(wave) && !a.succeeds(wave)
}

func (a *advance) settled() bool { return a.seen.Exhausted && a.seen.InFlight == 0 }

func (a *advance) waitsForOffline(wave *v1alpha1.SetWaveStatus) bool {
	return a.spec.Rollout.Offline == v1alpha1.OfflineWait && wave.Offline > 0
}

func (a *advance) fail() {
	if a.spec.Rollout.Failure.Action == v1alpha1.FailureRollBack && a.canRollBack() && !a.rollingBack() {
		a.rollBack()
		return
	}
	a.status.Phase = v1alpha1.SetFailed
}

// complete tells whether each device of the wave was written, and enough of them count.
func (a *advance) complete(wave *v1alpha1.SetWaveStatus) bool {
	if !a.seen.Judged {
		return a.seen.Exhausted
	}
	if !a.settled() {
		return false
	}
	if a.seen.Wave.unsettled() > 0 {
		a.next.Recount = true
		return false
	}
	return !a.waitsForOffline(wave) && a.succeeds(wave)
}

func (a *advance) succeeds(wave *v1alpha1.SetWaveStatus) bool {
	of := wave.Written - wave.Forgiven - wave.Offline
	return wave.Acknowledged*100 >= int64(a.spec.Rollout.Success.Percent)*of
}

// follow goes on behind a wave that is complete, once its soak is over and it is approved.
func (a *advance) follow(wave *v1alpha1.SetWaveStatus) {
	waves := a.waves()
	at := a.at()
	if left := a.soaks(wave); left > 0 || a.awaits(waves[at]) || a.spec.Rollout.Paused {
		a.next.Again = max(left, 0)
		return
	}
	if at+1 < len(waves) {
		a.status.Wave, a.begun = waves[at+1].Name, true
		return
	}
	a.status.Wave, a.status.ETA = "", nil
	if !a.rollingBack() {
		a.status.StableRevision = a.status.Revision
	}
}

// soaks is how long a complete wave is still to be watched.
func (a *advance) soaks(wave *v1alpha1.SetWaveStatus) time.Duration {
	i := a.waves().Index(wave.Name)
	if i < 0 || wave.CompletedAt == nil {
		return 0
	}
	return wave.CompletedAt.Add(a.waves()[i].Soak.Duration).Sub(a.seen.Now)
}

func (a *advance) awaits(wave Wave) bool {
	return wave.Then == v1alpha1.AfterWaveApprove && a.seen.Approve != a.status.Revision+"/"+wave.Name
}

// phase says where the rollout stands.
func (a *advance) phase() v1alpha1.SetPhase {
	wave := a.find(a.status.Wave)
	switch {
	case a.halted():
		return a.status.Phase
	case a.spec.Rollout.Paused:
		return v1alpha1.SetPaused
	case a.status.Wave == "" && a.rollingBack():
		return v1alpha1.SetRolledBack
	case a.status.Wave == "" && a.seen.Judged && a.seen.Offline > 0:
		return v1alpha1.SetCompletedWithOffline
	case a.status.Wave == "":
		return v1alpha1.SetComplete
	case a.rollingBack():
		return v1alpha1.SetRollingBack
	case wave == nil || wave.CompletedAt == nil:
		return v1alpha1.SetProgressing
	case a.soaks(wave) > 0:
		return v1alpha1.SetSoaking
	}
	return v1alpha1.SetAwaitingApproval
}

// step says what may be written.
func (a *advance) step() Step {
	next := a.next
	next.Waves, next.Done = a.waves(), a.status.Wave == ""
	next.UpTo = len(next.Waves) - 1
	if !next.Done {
		next.UpTo = a.at()
	}
	next.Write = !a.halted() && !a.spec.Rollout.Paused
	if next.Bounded = a.seen.Judged; next.Bounded {
		most := int64(a.spec.Rollout.MaxInFlight)
		if own := next.Waves[next.UpTo].MaxInFlight; own > 0 {
			most = int64(own)
		}
		next.Most = max(0, most-a.seen.InFlight)
	}
	return next
}
