package change

import (
	"github.com/spf13/cobra"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/rollout"
)

// NewSuspend returns the command suspend.
func NewSuspend(access *cluster.Access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "suspend [NAME...]", Short: "Stop the controller from reading and writing twins",
		Long: `Set spec.suspend of DeviceTwins and DeviceTwinSets: their twins are neither read nor written from then on. Nothing on the hub
changes. A DeviceTwinSet is named as set/NAME, or as NAME where no DeviceTwin has it; the flags select DeviceTwins alone. kubectl twin
pause keeps a set from writing, and goes on counting.

Where the objects come from Git, set spec.suspend there: what is set here is taken back with the next sync.`,
		Example: `  # one twin, and one set
  kubectl twin suspend thermostat-1 set/line-7

  # all twins of a hub, after a look at which those are
  kubectl twin suspend --hub factory --dry-run=server
  kubectl twin suspend --hub factory`,
	}
	const done, already = "suspended", "suspended already"
	ofTwin := verb[*v1alpha1.DeviceTwin]{done: done, edit: func(obj *v1alpha1.DeviceTwin) error {
		if obj.Spec.Suspend {
			return unchangedError{already}
		}
		obj.Spec.Suspend = true
		return nil
	}}
	return onTwinsOrSets(access, cmd, ofTwin, func(*v1alpha1.DeviceTwinSet) verb[*v1alpha1.DeviceTwinSet] {
		return verb[*v1alpha1.DeviceTwinSet]{done: done, edit: func(obj *v1alpha1.DeviceTwinSet) error {
			if obj.Spec.Suspend {
				return unchangedError{already}
			}
			obj.Spec.Suspend = true
			return nil
		}}
	})
}

// NewResume returns the command resume.
func NewResume(access *cluster.Access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "resume [NAME...]", Short: "Have the controller read and write suspended twins again, or go on with a rollout",
		Long: `Clear spec.suspend of DeviceTwins. Their twins are brought to what is declared, at the hub's rate and within its guard.

A DeviceTwinSet is named as set/NAME, or as NAME where no DeviceTwin has it; the flags select DeviceTwins alone. What holds it is
taken away, the first of these: spec.suspend; spec.rollout.paused; that its rollout has failed or was aborted, by the annotation
iothub.devicetwin.io/rollout with the revision that it stands at; that it was rolled back, with the revision that was rolled back from.
Devices that have failed so far count no more then.`,
		Example: `  # one twin
  kubectl twin resume thermostat-1

  # those of a line
  kubectl twin resume -l line=7

  # a rollout that has failed
  kubectl twin resume set/line-7`,
	}
	const done = "resumed"
	ofTwin := verb[*v1alpha1.DeviceTwin]{done: done, edit: func(obj *v1alpha1.DeviceTwin) error {
		if !obj.Spec.Suspend {
			return unchangedError{"not suspended"}
		}
		obj.Spec.Suspend = false
		return nil
	}}
	return onTwinsOrSets(access, cmd, ofTwin, func(first *v1alpha1.DeviceTwinSet) verb[*v1alpha1.DeviceTwinSet] {
		return resumeSet(access, done, first.DeepCopy())
	})
}

// resumeSet takes away what holds a set, one thing at a time.
func resumeSet(access *cluster.Access, done string, first *v1alpha1.DeviceTwinSet) verb[*v1alpha1.DeviceTwinSet] {
	command := commandSet(access, done, rollout.Resume, first, rollout.CanResume)
	edit := func(obj *v1alpha1.DeviceTwinSet) error {
		switch {
		case obj.Spec.Suspend:
			obj.Spec.Suspend = false
		case obj.Spec.Rollout.Paused:
			obj.Spec.Rollout.Paused = false
		default:
			return command.edit(obj)
		}
		return nil
	}
	note := func(before *v1alpha1.DeviceTwinSet) string {
		switch {
		case before.Spec.Suspend && before.Spec.Rollout.Paused:
			return ": not suspended any more; it is paused still, resume it again to go on"
		case before.Spec.Suspend:
			return ": not suspended any more"
		case before.Spec.Rollout.Paused:
			return ": not paused any more"
		}
		return command.note(before)
	}
	return verb[*v1alpha1.DeviceTwinSet]{done: done, edit: edit, note: note}
}
