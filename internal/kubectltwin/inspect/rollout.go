package inspect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/rollout"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

const rolloutHelp = `Show where the rollout of a DeviceTwinSet stands: its waves with how many devices were written, have acknowledged, have failed or
are offline, its phase, and what it waits for.

With --watch it is shown anew when it changes, until the rollout has ended; where standard output is no terminal, a line for each
change and the whole at the end. A wave that waits for an approval, and a set that is paused or suspended, are waited for as well: give
a --timeout where no user watches. It takes the right to get the set, and no other.

Exit codes: 0 the phase is Complete or CompletedWithOffline, or without --watch the rollout goes on; 1 it has failed, was aborted or
rolled back, or the set cannot be brought out; 2 another error, such as no end within --timeout.`

const rolloutExamples = `  # where it stands
  kubectl twin rollout line-7

  # in a pipeline: apply, and wait for the end
  kubectl apply -f line-7.yaml && kubectl twin rollout line-7 --watch --timeout 2h`

const (
	// rolloutInterval is how often a rollout is looked at that is watched, and outage for how long the API server may not answer meanwhile.
	rolloutInterval = 500 * time.Millisecond
	outage          = time.Minute
)

// rolloutView is what the command rollout was called with.
type rolloutView struct {
	access  *cluster.Access
	format  *terminal.Format
	watch   bool
	timeout time.Duration
}

// NewRollout returns the command rollout.
func NewRollout(access *cluster.Access) *cobra.Command {
	v := &rolloutView{access: access, format: terminal.NewFormat(terminal.JSON, terminal.YAML, terminal.Name, terminal.Wide)}
	cmd := &cobra.Command{
		Use: "rollout SET", Short: "Show how far a DeviceTwinSet is, wave by wave", Long: rolloutHelp, Example: rolloutExamples,
		Args: cobra.ExactArgs(1), ValidArgsFunction: access.CompleteSet,
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd.Context(), args) },
	}
	v.format.AddFlag(cmd)
	cmd.Flags().BoolVarP(&v.watch, "watch", "w", false, "go on showing it until the rollout has ended")
	cmd.Flags().DurationVar(&v.timeout, "timeout", 0, "how long to watch at most; 0 for as long as it takes")
	return cmd
}

func (v *rolloutView) run(ctx context.Context, args []string) error {
	names, err := cluster.SetNames(args)
	switch {
	case err != nil:
		return err
	case v.timeout < 0:
		return fmt.Errorf("--timeout %s: should be 0 or more", v.timeout)
	case v.timeout > 0 && !v.watch:
		return errors.New("--timeout is for --watch: give both, or none")
	}
	namespace, err := v.access.Namespace()
	if err != nil {
		return err
	}
	c, err := v.access.Client()
	if err != nil {
		return err
	}
	obj := &v1alpha1.DeviceTwinSet{}
	obj.Namespace, obj.Name = namespace, names[0]
	if v.watch {
		err = v.follow(ctx, c, obj)
	} else {
		err = cluster.Explained(c.Get(ctx, client.ObjectKeyFromObject(obj), obj))
	}
	if err != nil {
		return err
	}
	r := rollout.Of(obj)
	if err := v.print(r); err != nil {
		return err
	}
	if r.Result == rollout.Failed {
		return cluster.ErrFound
	}
	return nil
}

// print shows a rollout as it is, or at its end. On a terminal that was followed it stands there already.
func (v *rolloutView) print(r *rollout.Rollout) error {
	screen := v.access.Screen()
	switch {
	case v.format.Structured():
		return v.format.Print(v.access.Out, r)
	case v.format.String() == terminal.Name:
		screen.Line(terminal.Plain, "%s/%s", cluster.SetKind.Resource(), r.Name)
		return nil
	case v.watch && screen.Interactive():
		return nil
	case v.format.String() == terminal.Wide:
		screen = screen.Unlimited()
	}
	printSet(screen, r, v.access.Clock.Now())
	return nil
}

// follow reads a set again and again until its rollout has ended. It does not watch it: that would take another right, and a
// rollout is slow.
func (v *rolloutView) follow(ctx context.Context, c client.Client, obj *v1alpha1.DeviceTwinSet) error {
	watching, cancel := ctx, context.CancelFunc(func() {})
	if v.timeout > 0 {
		watching, cancel = context.WithTimeout(ctx, v.timeout)
	}
	defer cancel()
	l := &liveRollout{rolloutView: v, client: c, obj: obj, answered: v.access.Clock.Now()}
	err := wait.PollUntilContextCancel(watching, rolloutInterval, true, l.look)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New("interrupted before the rollout had ended")
	case watching.Err() != nil:
		return fmt.Errorf("the rollout has not ended within %s: %s", v.timeout, line(rollout.Of(obj)))
	}
	return cluster.Explained(err)
}

// liveRollout is a rollout that is followed.
type liveRollout struct {
	*rolloutView

	client client.Client
	// obj is the set as it was last seen, with a name alone before that.
	obj      *v1alpha1.DeviceTwinSet
	answered time.Time
	shown    string
}

// look reads the set, and tells whether its rollout has ended.
func (l *liveRollout) look(ctx context.Context) (ended bool, err error) {
	seen, known := &v1alpha1.DeviceTwinSet{}, l.obj.UID != ""
	err = l.client.Get(ctx, client.ObjectKeyFromObject(l.obj), seen)
	switch {
	case known && (apierrors.IsNotFound(err) || err == nil && seen.UID != l.obj.UID):
		return false, fmt.Errorf("devicetwinset/%s was deleted before its rollout had ended", l.obj.Name)
	case known && passing(err) && l.access.Clock.Since(l.answered) < outage:
		return false, nil
	case err != nil:
		return false, err
	}
	moved := l.obj.ResourceVersion != seen.ResourceVersion
	seen.DeepCopyInto(l.obj)
	l.answered = l.access.Clock.Now()
	r := rollout.Of(l.obj)
	if moved {
		l.show(r)
	}
	return r.Result != rollout.Running, nil
}

// passing tells whether an error may go by itself: that of an API server which is restarted, say.
func passing(err error) bool {
	return err != nil && !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) && !apierrors.IsNotFound(err)
}

// show shows a rollout that has moved: anew on a terminal, and else in a line, if that says anything new.
func (l *liveRollout) show(r *rollout.Rollout) {
	screen, now := l.access.Screen(), l.access.Clock.Now()
	text := line(r)
	switch {
	case l.format.Structured(), l.format.String() == terminal.Name:
	case screen.Interactive():
		screen.Clear()
		screen.Line(terminal.Faint, "%s", now.Format(time.TimeOnly))
		printSet(screen, r, now)
	case text != l.shown:
		screen.Line(terminal.Plain, "%s  %s", now.Format(time.TimeOnly), text)
		l.shown = text
	}
}
