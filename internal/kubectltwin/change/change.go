package change

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

// The values of --dry-run.
const (
	dryRunNone   = "none"
	dryRunClient = "client"
	dryRunServer = "server"
)

// unchangedError is why an object is left as it is.
type unchangedError struct{ why string }

func (e unchangedError) Error() string { return e.why }

// verb is what is done to each object of a kind.
type verb[T client.Object] struct {
	// done is what the output says of an object that was changed, such as "suspended".
	done string
	// edit changes the object in memory. An unchangedError leaves it alone, any other error fails it.
	edit func(T) error
	// note is put behind the line of an object, by what is known of it before it is changed; it may be nil.
	note func(T) string
	// after is called once the patch is stored, with the object as it is then; it may be nil.
	after func(ctx context.Context, r *run, obj T) error
}

// run is one call of a command.
type run struct {
	access *cluster.Access
	screen *terminal.Screen
	client client.WithWatch
	dryRun string

	changed, unchanged, failed int
}

// dryRunFlag adds --dry-run.
func dryRunFlag(cmd *cobra.Command, value *string) {
	flags := cmd.Flags()
	*value = dryRunNone
	flags.Var(&dryRun{value}, "dry-run", `"client" says what would be done, "server" has the API server check it as well; neither changes anything`)
	flags.Lookup("dry-run").NoOptDefVal = dryRunClient
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{dryRunNone, dryRunClient, dryRunServer}, cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc("dry-run", complete); err != nil {
		panic(err) // the flag was added above
	}
}

// dryRun is the value of --dry-run.
type dryRun struct{ value *string }

var _ pflag.Value = &dryRun{}

// String implements pflag.Value.
func (d *dryRun) String() string { return *d.value }

// Type implements pflag.Value.
func (d *dryRun) Type() string { return "none|client|server" }

// Set implements pflag.Value.
func (d *dryRun) Set(value string) error {
	if !slices.Contains([]string{dryRunNone, dryRunClient, dryRunServer}, value) {
		return errors.New("should be none, client or server")
	}
	*d.value = value
	return nil
}

func newRun(access *cluster.Access, dryRun string) (*run, error) {
	c, err := access.Client()
	if err != nil {
		return nil, err
	}
	return &run{access: access, screen: access.Screen(), client: c, dryRun: dryRun}, nil
}

// suffix tells that nothing was changed in truth.
func (r *run) suffix() string {
	switch r.dryRun {
	case dryRunClient:
		return " (dry run)"
	case dryRunServer:
		return " (server dry run)"
	}
	return ""
}

// each changes an object, and writes its line. The first failure ends nothing: the others have their turn.
func each[T client.Object](ctx context.Context, r *run, v verb[T], kind cluster.Kind, obj T) {
	name := string(kind) + "/" + obj.GetName()
	if obj.GetNamespace() != "" {
		name += " of " + obj.GetNamespace()
	}
	note, err := one(ctx, r, v, obj)
	var unchanged unchangedError
	switch {
	case errors.As(err, &unchanged):
		r.unchanged++
		r.screen.Line(terminal.Faint, "%s unchanged: %s", name, unchanged.why)
	case err != nil:
		r.failed++
		r.access.Note("%s failed: %s", name, cluster.Explained(err))
	default:
		r.changed++
		r.screen.Line(terminal.Plain, "%s %s%s%s", name, v.done, r.suffix(), note)
	}
}

// fail tells of an object that could not be read.
func (r *run) fail(kind cluster.Kind, name string, err error) {
	r.failed++
	r.access.Note("%s/%s failed: %s", kind, name, cluster.Explained(err))
}

// one patches one object. One that moved since it was read is read again, and looked at anew.
func one[T client.Object](ctx context.Context, r *run, v verb[T], obj T) (note string, err error) {
	stale := false
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if stale {
			if err := r.client.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
				return err
			}
		}
		stale = true
		before, ok := obj.DeepCopyObject().(T)
		if !ok {
			return fmt.Errorf("a copy is a %T", obj.DeepCopyObject())
		}
		if err := v.edit(obj); err != nil {
			return err
		}
		if v.note != nil {
			note = v.note(before)
		}
		if r.dryRun == dryRunClient {
			return nil
		}
		return r.client.Patch(ctx, obj, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), r.patchOptions()...)
	})
	if err != nil || v.after == nil || r.dryRun == dryRunClient {
		return note, err
	}
	return note, v.after(ctx, r, obj)
}

func (r *run) patchOptions() []client.PatchOption {
	options := []client.PatchOption{client.FieldOwner(cluster.FieldManager)}
	if r.dryRun == dryRunServer {
		options = append(options, client.DryRunAll)
	}
	return options
}

// end writes the counts, and fails if an object did.
func (r *run) end(done string) error {
	r.access.Note("%d %s%s, %d unchanged, %d failed", r.changed, done, r.suffix(), r.unchanged, r.failed)
	if r.failed > 0 {
		return cluster.ErrFound
	}
	return nil
}
