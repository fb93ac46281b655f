package kubectltwin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/ask"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/change"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/diff"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/doctor"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/imports"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/inspect"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/invoke"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/lint"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/report"
	"github.com/devicetwin-io/devicetwin-operator/internal/version"
)

// Program is the name of the executable, by which kubectl finds it.
const Program = "kubectl-twin"

const help = `kubectl twin looks at Azure IoT Hub device twins that are kept by the DeviceTwin operator, and at what keeps them.

Exit codes: 0 all is well; 1 something is wrong with the objects, as the output says; 2 the command could not do what it was asked
for, such as for bad usage, an object that does not exist, a missing right, a cluster that does not answer.`

// Run runs the command with these arguments, and returns the exit code.
func Run(ctx context.Context, streams genericiooptions.IOStreams, args []string) int {
	return Execute(ctx, cluster.New(streams), args)
}

// Execute is Run with an access to the cluster that the caller made.
func Execute(ctx context.Context, access *cluster.Access, args []string) int {
	root := New(access)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, cluster.ErrFound) {
		fmt.Fprintln(access.ErrOut, "error: "+strings.Join(strings.Fields(err.Error()), " "))
	}
	return cluster.ExitCode(err)
}

// New returns the root command.
func New(access *cluster.Access) *cobra.Command {
	root := &cobra.Command{
		Use: Program, Short: "Look at device twins, and at what keeps them", Long: help,
		Version: version.Get(), SilenceUsage: true, SilenceErrors: true,
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl twin"},
		Args:        cobra.NoArgs,
		RunE:        func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(access.In)
	root.SetOut(access.Out)
	root.SetErr(access.ErrOut)
	root.SetVersionTemplate(version.Line(Program) + "\n")
	root.CompletionOptions.DisableDefaultCmd = true
	access.AddFlags(root.PersistentFlags())
	root.AddCommand(
		inspect.NewGet(access), inspect.NewStatus(access), inspect.NewRollout(access), inspect.NewHistory(access),
		change.NewSuspend(access), change.NewResume(access), change.NewReconcile(access), change.NewApprove(access),
		change.NewAdopt(access), change.NewRelease(access), change.NewUndo(access),
		change.NewPause(access), change.NewAbort(access), change.NewRollback(access),
		invoke.NewCommand(access), ask.NewCommand(access), diff.NewCommand(access), imports.NewCommand(access),
		lint.NewCommand(access), doctor.NewCommand(access), report.NewCommand(access),
		newVersion(), newCompletion(),
	)
	completeFlags(root, access)
	return root
}

// completeFlags adds the completion of values of flags, where a command has them.
func completeFlags(root *cobra.Command, access *cluster.Access) {
	register(root, "namespace", access.CompleteNamespaces)
	for _, cmd := range root.Commands() {
		register(cmd, "hub", access.CompleteHubFlag)
	}
}

func register(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if cmd.Flag(flag) == nil {
		return
	}
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag exists, and no other function completes it
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Long: "Print the version of the plugin, and what it was built from.",
		Example: "  kubectl twin version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version.Line(Program))
			return err
		},
	}
}

const completionHelp = `Print a script that completes kubectl-twin in a shell: commands, flags, and the names of objects.

kubectl itself completes "kubectl twin" if an executable kubectl_complete-twin is on the PATH; the archives of a release have one.
It holds:

  #!/bin/sh
  exec kubectl twin __complete "$@"`

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish|powershell", Short: "Print a completion script", Long: completionHelp,
		Example:               "  source <(kubectl-twin completion bash)",
		DisableFlagsInUseLine: true,
		ValidArgs:             []string{"bash", "zsh", "fish", "powershell"},
		Args:                  cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			}
			return root.GenPowerShellCompletionWithDesc(out)
		},
	}
}
