package cluster

import (
	"context"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// Twin reads the one DeviceTwin that a command is about, by its name or as devicetwin/NAME.
func (a *Access) Twin(ctx context.Context, c client.Reader, name string) (*v1alpha1.DeviceTwin, error) {
	selection := Selection{Names: []string{name}}
	if err := selection.Check(true); err != nil {
		return nil, err
	}
	namespace, err := a.Namespace()
	if err != nil {
		return nil, err
	}
	obj := &v1alpha1.DeviceTwin{}
	return obj, Explained(c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: selection.Names[0]}, obj))
}

// CompleteTwin completes the name of one DeviceTwin.
func (a *Access) CompleteTwin(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.CompleteTwins(cmd, args, begun)
}
