package change

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// setVerb is what is done to a DeviceTwinSet. It is made for each as it was first seen, so that it can refuse one that has moved on.
type setVerb func(*v1alpha1.DeviceTwinSet) verb[*v1alpha1.DeviceTwinSet]

// selected is a command on DeviceTwins and, where ofSet is not nil, on DeviceTwinSets by name.
type selected struct {
	selection cluster.Selection
	dryRun    string
	ofTwin    verb[*v1alpha1.DeviceTwin]
	ofSet     setVerb
}

// onTwins is a command that changes DeviceTwins.
func onTwins(access *cluster.Access, cmd *cobra.Command, v verb[*v1alpha1.DeviceTwin]) *cobra.Command {
	cmd.ValidArgsFunction = access.CompleteTwins
	return onSelected(access, cmd, &selected{ofTwin: v})
}

// onTwinsOrSets is one that changes DeviceTwinSets as well.
func onTwinsOrSets(access *cluster.Access, cmd *cobra.Command, v verb[*v1alpha1.DeviceTwin], ofSet setVerb) *cobra.Command {
	cmd.ValidArgsFunction = access.CompleteTwinsAndSets
	return onSelected(access, cmd, &selected{ofTwin: v, ofSet: ofSet, selection: cluster.Selection{WithSets: true}})
}

func onSelected(access *cluster.Access, cmd *cobra.Command, s *selected) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.selection.Names = args
		if err := s.selection.Check(true); err != nil {
			return err
		}
		r, err := newRun(access, s.dryRun)
		if err != nil {
			return err
		}
		return s.run(cmd.Context(), r)
	}
	s.selection.AddFlags(cmd.Flags())
	s.selection.AddAllFlag(cmd.Flags())
	dryRunFlag(cmd, &s.dryRun)
	return cmd
}

func (s *selected) run(ctx context.Context, r *run) error {
	twins, sets, err := s.read(ctx, r)
	if err != nil {
		return err
	}
	for _, obj := range twins {
		if ctx.Err() != nil {
			break
		}
		each(ctx, r, s.ofTwin, cluster.TwinKind, obj)
	}
	for _, obj := range sets {
		if ctx.Err() != nil {
			break
		}
		each(ctx, r, s.ofSet(obj), cluster.SetKind, obj)
	}
	if ctx.Err() != nil {
		r.access.Note("interrupted: the others are as they were")
	}
	return r.end(s.ofTwin.done)
}

// read reads what is selected before anything is changed, so that no change moves the list under it. Of each object
// just what an edit needs is kept.
func (s *selected) read(ctx context.Context, r *run) (twins []*v1alpha1.DeviceTwin, sets []*v1alpha1.DeviceTwinSet, err error) {
	namespace, err := r.access.Namespace()
	if err != nil {
		return nil, nil, err
	}
	progress := r.access.Progress("reading DeviceTwins")
	defer progress.Stop()
	count, err := s.selection.Each(ctx, r.client, namespace, func(obj *v1alpha1.DeviceTwin) error {
		progress.Add(1)
		twins = append(twins, trimmed(obj))
		return nil
	}, func(name string, err error) error {
		if !apierrors.IsNotFound(err) {
			return err
		}
		set := &v1alpha1.DeviceTwinSet{}
		if s.ofSet != nil && r.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, set) == nil {
			sets = append(sets, set)
			return nil
		}
		r.fail(cluster.TwinKind, name, err)
		return nil
	})
	if err == nil && count+len(s.selection.Sets) == 0 {
		err = errors.New(strings.TrimSpace(s.selection.None(namespace)))
	}
	if err != nil {
		return nil, nil, err
	}
	return twins, append(sets, r.sets(ctx, namespace, s.selection.Sets)...), nil
}

// sets reads DeviceTwinSets. One that cannot be read has failed.
func (r *run) sets(ctx context.Context, namespace string, names []string) []*v1alpha1.DeviceTwinSet {
	var found []*v1alpha1.DeviceTwinSet
	for _, name := range names {
		obj := &v1alpha1.DeviceTwinSet{}
		if err := r.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, obj); err != nil {
			r.fail(cluster.SetKind, name, err)
			continue
		}
		found = append(found, obj)
	}
	return found
}

func trimmed(obj *v1alpha1.DeviceTwin) *v1alpha1.DeviceTwin {
	out := &v1alpha1.DeviceTwin{TypeMeta: obj.TypeMeta, ObjectMeta: obj.ObjectMeta, Spec: obj.Spec, Status: obj.Status}
	out.ManagedFields = nil
	out.Spec.Tags, out.Spec.Desired = nil, nil
	out.Status.Record, out.Status.Reported = "", nil
	if out.Status.Plan != nil {
		out.Status.Plan = &v1alpha1.PlannedChange{Changes: obj.Status.Plan.Changes, Removals: obj.Status.Plan.Removals}
	}
	return out
}
