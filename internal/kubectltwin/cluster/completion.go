package cluster

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// completionTimeout is what a user at a shell waits for.
const completionTimeout = 3 * time.Second

// CompleteTwins completes the names of DeviceTwins, as many as the user likes to give.
func (a *Access) CompleteTwins(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd.Context(), "DeviceTwin", args, begun)
}

// CompleteHub completes the name of one HubConnection.
func (a *Access) CompleteHub(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(cmd.Context(), "HubConnection", args, begun)
}

// CompleteHubFlag completes the value of --hub.
func (a *Access) CompleteHubFlag(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd.Context(), "HubConnection", nil, begun)
}

// CompleteNamespaces completes the value of --namespace.
func (a *Access) CompleteNamespaces(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.completeOf(cmd.Context(), corev1.SchemeGroupVersion, "Namespace", "", nil, begun)
}

func (a *Access) complete(ctx context.Context, kind string, given []string, begun string) ([]string, cobra.ShellCompDirective) {
	namespace, err := a.Namespace()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return a.completeOf(ctx, v1alpha1.SchemeGroupVersion, kind, namespace, given, begun)
}

// completeOf finds names. What fails completes nothing: a shell has no place for an error.
func (a *Access) completeOf(ctx context.Context, group schema.GroupVersion, kind, namespace string, given []string, begun string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	c, err := a.Client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	found, err := names(ctx, c, group, kind, namespace)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return slices.DeleteFunc(found, func(name string) bool {
		return !strings.HasPrefix(name, begun) || slices.Contains(given, name)
	}), cobra.ShellCompDirectiveNoFileComp
}
