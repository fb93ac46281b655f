package inspect

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/rollout"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

// listBar is how wide the bar of a set is in a list.
const listBar = 20

// hubSets are the DeviceTwinSets of a hub.
type hubSets struct {
	Items []*rollout.Rollout `json:"items"`
	// Namespace is set when only that one could be listed.
	Namespace string `json:"onlyNamespace,omitempty"`
	// Unknown says why none are known: a user that reads twins need not have the right to read sets.
	Unknown string `json:"unknown,omitempty"`
}

// sets are those of a hub, from all namespaces or, where those may not be listed, from its own.
func (s *status) sets(ctx context.Context, c client.Client, hub types.NamespacedName) (*hubSets, error) {
	var found *hubSets
	var err error
	for _, namespace := range []string{"", hub.Namespace} {
		found = &hubSets{Items: []*rollout.Rollout{}, Namespace: namespace}
		err = cluster.EachSet(ctx, c, func(obj *v1alpha1.DeviceTwinSet) error {
			if obj.Spec.HubRef.NamespaceOr(obj.Namespace) == hub.Namespace {
				found.Items = append(found.Items, rollout.Of(obj))
			}
			return nil
		}, client.InNamespace(namespace), client.MatchingFields{"spec.hubRef.name": hub.Name})
		if !apierrors.IsForbidden(err) {
			break
		}
	}
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) { // not found is the kind, in a cluster of an earlier release
		return &hubSets{Items: []*rollout.Rollout{}, Unknown: err.Error()}, nil
	}
	return found, err
}

// ready tells whether all of them are.
func (h *hubSets) ready() bool {
	for _, r := range h.Items {
		if r.Ready != string(metav1.ConditionTrue) {
			return false
		}
	}
	return true
}

func (s *status) printSets(screen *terminal.Screen, sum *summary) {
	switch sets := sum.Sets; {
	case sets.Unknown != "":
		screen.Heading("DeviceTwinSets are not shown: %s", sets.Unknown)
		return
	case len(sets.Items) == 0:
		return
	case sets.Namespace != "":
		screen.Heading("DeviceTwinSets of namespace %s alone: no others may be listed", sets.Namespace)
	default:
		screen.Heading("DeviceTwinSets")
	}
	table := terminal.NewTable(2, "NAME", "READY", "PHASE", "PROGRESS", "DEVICES", "WRITTEN", "ACKNOWLEDGED", "REVISION").Keep(0)
	for _, r := range sum.Sets.Items {
		name := r.Name
		if r.Namespace != sum.Namespace {
			name = r.Namespace + "/" + name
		}
		table.Row(terminal.Text("%s", name), terminal.Styled(styleOf(r.Ready), "%s", r.Ready), terminal.Styled(phaseStyle(r), "%s", phaseText(r)),
			terminal.Text("%s", setBar(r, listBar)), terminal.Text("%d", r.Counts.Selected), terminal.Text("%d", r.Counts.Written),
			terminal.Text("%d", r.Counts.Acknowledged), terminal.Text("%s", r.Revision))
	}
	screen.Table(table)
	for _, r := range sum.Sets.Items {
		if next := r.Next(); next != "" {
			screen.Line(terminal.Warning, "  %s: %s", r.Name, next)
		}
	}
}

// set shows one DeviceTwinSet.
func (s *status) set(ctx context.Context, c client.Client, key types.NamespacedName) error {
	obj := &v1alpha1.DeviceTwinSet{}
	if err := c.Get(ctx, key, obj); err != nil {
		return cluster.Explained(err)
	}
	r := rollout.Of(obj)
	if s.format.Structured() {
		if err := s.format.Print(s.access.Out, r); err != nil {
			return err
		}
	} else {
		printSet(s.screen(), r, s.access.Clock.Now())
	}
	if s.exitCode && r.Ready != string(metav1.ConditionTrue) {
		return cluster.ErrFound
	}
	return nil
}
