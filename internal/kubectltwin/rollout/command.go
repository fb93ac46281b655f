package rollout

import (
	"errors"
	"fmt"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// The commands that the annotation iothub.devicetwin.io/rollout gives.
const (
	Abort    = "abort"
	RollBack = "rollback"
	Resume   = "resume"
)

// Command is the value of the annotation that does something to a revision. Each value counts once: where this one was
// acted upon already, as for a second resume after a second failure, stamp makes it another one.
func Command(obj *v1alpha1.DeviceTwinSet, revision, verb, stamp string) string {
	value := revision + "/" + verb
	if last := obj.Status.LastHandledRollout; last == value || strings.HasPrefix(last, value+"/") {
		value += "/" + stamp
	}
	return value
}

// Pending tells that a command for a revision of the status was given, and not acted upon yet.
func Pending(obj *v1alpha1.DeviceTwinSet) bool {
	asked := obj.Annotations[v1alpha1.RolloutAnnotation]
	if asked == "" || asked == obj.Status.LastHandledRollout {
		return false
	}
	revision, _, _ := strings.Cut(asked, "/")
	return revision == obj.Status.Revision || revision != "" && revision == obj.Status.FailedRevision
}

// Asked tells that this command was given for a revision, and not acted upon yet.
func Asked(obj *v1alpha1.DeviceTwinSet, revision, verb string) bool {
	asked, value := obj.Annotations[v1alpha1.RolloutAnnotation], revision+"/"+verb
	return Pending(obj) && (asked == value || strings.HasPrefix(asked, value+"/"))
}

// AlreadyError says that a set is as a command would have it.
type AlreadyError struct{ why string }

// Error implements error.
func (e *AlreadyError) Error() string { return e.why }

func already(format string, args ...any) error {
	return &AlreadyError{why: fmt.Sprintf(format, args...)}
}

// errStale is why a command is refused that would be about another revision than the user means.
var errStale = errors.New("the controller has not looked at its last edit yet: look again in a moment")

// CanAbort is the revision to abort, or why there is none.
func CanAbort(obj *v1alpha1.DeviceTwinSet) (revision string, err error) {
	r := Of(obj)
	switch {
	case Stale(obj):
		return "", errStale
	case r.Phase == v1alpha1.SetAborted:
		return "", already("revision %s is aborted already", r.Revision)
	case r.Wave == "" || r.Halted():
		return "", fmt.Errorf("nothing to abort: %s", r.Where())
	}
	return r.Revision, nil
}

// CanRollBack is the revision to roll back from, or why there is none.
func CanRollBack(obj *v1alpha1.DeviceTwinSet) (revision string, err error) {
	r := Of(obj)
	switch {
	case Stale(obj):
		return "", errStale
	case r.RolledBack():
		return "", already("rolled back from revision %s to %s already", r.FailedRevision, r.StableRevision)
	case r.StableRevision == "":
		return "", fmt.Errorf("nothing to roll back to: no revision was complete yet, %s", r.Where())
	case r.StableRevision == r.Revision:
		return "", fmt.Errorf("nothing to roll back: revision %s is the stable one, %s", r.Revision, r.Where())
	}
	return r.Revision, nil
}

// CanResume is the revision to go on with after it was stopped or rolled back from, or why there is none.
func CanResume(obj *v1alpha1.DeviceTwinSet) (revision string, err error) {
	r := Of(obj)
	switch {
	case Stale(obj):
		return "", errStale
	case r.Halted():
		return r.Revision, nil
	case r.FailedRevision != "":
		return r.FailedRevision, nil
	}
	return "", already("neither suspended nor paused, %s", r.Where())
}

// CanApprove is what there is to approve, as the annotation names it, or why there is nothing. Where wave or revision are given they are
// the ones that the user means.
func CanApprove(obj *v1alpha1.DeviceTwinSet, wave, revision string) (value string, err error) {
	r := Of(obj)
	switch {
	case Stale(obj):
		return "", errStale
	case r.Phase != v1alpha1.SetAwaitingApproval:
		return "", fmt.Errorf("nothing to approve: %s", r.Where())
	case wave != "" && wave != r.Wave:
		return "", fmt.Errorf("wave %s does not wait for an approval: it is wave %s, of revision %s, that does", wave, r.Wave, r.Revision)
	case revision != "" && revision != r.Revision:
		return "", fmt.Errorf("revision %s does not wait for an approval: it is wave %s of revision %s that does", revision, r.Wave, r.Revision)
	}
	return r.Revision + "/" + r.Wave, nil
}

// Where names phase and wave, for a sentence.
func (r *Rollout) Where() string {
	switch {
	case r.Phase == "":
		return "no controller has looked at it yet"
	case r.Wave != "":
		return "phase " + string(r.Phase) + ", wave " + r.Wave
	}
	return "phase " + string(r.Phase)
}

// Next says what a user may do for the rollout to go on; "" where it goes on by itself.
func (r *Rollout) Next() string {
	name := r.Name + " -n " + r.Namespace
	switch {
	case r.Suspended:
		return "suspended, nothing is read or written: `kubectl twin resume set/" + name + "`"
	case r.Stale:
		return "the controller has not acted upon the last change of the object yet"
	case r.Halted():
		next := "nothing more is written: `kubectl twin resume set/" + name + "` goes on"
		if r.StableRevision != "" && r.StableRevision != r.Revision {
			next += ", `kubectl twin rollback " + name + "` returns to revision " + r.StableRevision
		}
		return next
	case r.Paused:
		return "paused, nothing is written: `kubectl twin resume set/" + name + "`"
	case r.Phase == v1alpha1.SetAwaitingApproval:
		return "wave " + r.Wave + " is complete: `kubectl twin approve set/" + name + " --wave " + r.Wave + "` lets the next one begin"
	case r.RolledBack():
		return "revision " + r.FailedRevision + " is not written until the template is edited: `kubectl twin resume set/" + name + "` tries it again"
	}
	return ""
}
