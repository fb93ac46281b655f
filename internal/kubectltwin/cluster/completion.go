package cluster

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// completionTimeout is what a user at a shell waits for.
const completionTimeout = 3 * time.Second

// CompleteTwins completes the names of DeviceTwins, as many as the user likes to give.
func (a *Access) CompleteTwins(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd.Context(), "DeviceTwin", args, begun)
}

// CompleteSets completes the names of DeviceTwinSets.
func (a *Access) CompleteSets(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd.Context(), "DeviceTwinSet", args, begun)
}

// CompleteSet completes the name of one.
func (a *Access) CompleteSet(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.CompleteSets(cmd, args, begun)
}

// CompleteTwinsAndSets completes the names of DeviceTwins and, as set/NAME, of DeviceTwinSets.
func (a *Access) CompleteTwinsAndSets(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.withSets(cmd.Context(), "DeviceTwin", args, begun)
}

// CompleteHubsAndSets completes the names of HubConnections and, as set/NAME, of DeviceTwinSets.
func (a *Access) CompleteHubsAndSets(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.withSets(cmd.Context(), "HubConnection", args, begun)
}

// CompleteHubOrSet completes one such name.
func (a *Access) CompleteHubOrSet(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.CompleteHubsAndSets(cmd, args, begun)
}

// withSets adds the sets where they may be meant. Not every user may list both kinds: what can be
// completed is.
func (a *Access) withSets(ctx context.Context, kind string, given []string, begun string) ([]string, cobra.ShellCompDirective) {
	const prefix = "set/"
	found, directive := a.complete(ctx, kind, given, begun)
	named, qualified := strings.CutPrefix(begun, prefix)
	if !qualified {
		named = ""
	}
	if !qualified && !strings.HasPrefix(prefix, begun) {
		return found, directive
	}
	sets, ofSets := a.complete(ctx, "DeviceTwinSet", nil, named)
	for _, name := range sets {
		if !slices.Contains(given, prefix+name) {
			found = append(found, prefix+name)
		}
	}
	return found, max(directive, ofSets) // an error is the least of them
}

// CompleteWaves completes the waves of the DeviceTwinSets that are named already.
func (a *Access) CompleteWaves(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	namespace, err := a.Namespace()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	c, err := a.Client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var waves []string
	for _, text := range args {
		name, qualified := SetKind.Named(text)
		if !qualified {
			name = text
		}
		obj := &v1alpha1.DeviceTwinSet{}
		if c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, obj) != nil {
			continue
		}
		for i := range obj.Spec.Rollout.Waves {
			if wave := obj.Spec.Rollout.Waves[i].Name; strings.HasPrefix(wave, begun) && !slices.Contains(waves, wave) {
				waves = append(waves, wave)
			}
		}
	}
	return waves, cobra.ShellCompDirectiveNoFileComp
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
