package change

import (
	"github.com/spf13/cobra"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// NewSuspend returns the command suspend.
func NewSuspend(access *cluster.Access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "suspend [NAME...]", Short: "Stop the controller from reading and writing twins",
		Long: `Set spec.suspend of DeviceTwins: their twins are neither read nor written from then on. Nothing on the hub changes.

Where the objects come from Git, set spec.suspend there: what is set here is taken back with the next sync.`,
		Example: `  # one twin
  kubectl twin suspend thermostat-1

  # all twins of a hub, after a look at which those are
  kubectl twin suspend --hub factory --dry-run=server
  kubectl twin suspend --hub factory`,
	}
	return onTwins(access, cmd, verb[*v1alpha1.DeviceTwin]{done: "suspended", edit: func(obj *v1alpha1.DeviceTwin) error {
		if obj.Spec.Suspend {
			return unchangedError{"suspended already"}
		}
		obj.Spec.Suspend = true
		return nil
	}})
}

// NewResume returns the command resume.
func NewResume(access *cluster.Access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "resume [NAME...]", Short: "Have the controller read and write suspended twins again",
		Long: `Clear spec.suspend of DeviceTwins. Their twins are brought to what is declared, at the hub's rate and within its guard.`,
		Example: `  # one twin
  kubectl twin resume thermostat-1

  # those of a line
  kubectl twin resume -l line=7`,
	}
	return onTwins(access, cmd, verb[*v1alpha1.DeviceTwin]{done: "resumed", edit: func(obj *v1alpha1.DeviceTwin) error {
		if !obj.Spec.Suspend {
			return unchangedError{"not suspended"}
		}
		obj.Spec.Suspend = false
		return nil
	}})
}
