package setsync

import (
	"context"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// The causes of a change of a twin.
const (
	CauseRollout  = "set"
	CauseDrift    = "drift"
	CauseLeave    = "leave"
	CauseDeletion = "deletion"
)

// Task is one step of a set: what it goes by, and what it may use.
type Task struct {
	// Set whose status is brought forward in place.
	Set *v1alpha1.DeviceTwinSet
	Hub hubaccess.Hub
	// Declared by the spec, together with the hub's owner tag.
	Declared validation.SetDeclaration
	// Desired is the revision that the spec declares, without the owner tag.
	Desired fleet.Revision
	// Revisions that are kept, by name.
	Revisions map[string]fleet.Revision
	Others    *Others
	// Store writes the status before what it says is done.
	Store func(ctx context.Context) error
	// Current is an error once the object is not the one that was read any more.
	Current func(ctx context.Context) error
	// Admit says whether a device may be changed now.
	Admit func(device string) error
	// Wrote is called after each change that the hub accepted.
	Wrote func(ctx context.Context, cause string, change twinsync.Change)
	// Asked tells that the user wants to know how things are now.
	Asked bool
	// Clock tells the time.
	Clock clock.PassiveClock
}

// run is a task with all that follows from it.
type run struct {
	*Task
	*progress

	name      types.NamespacedName
	host      string
	questions fleet.Questions
	policies  twin.Policies
	rivals    []rival
}

func (s *Sets) run(ctx context.Context, t *Task) (*run, error) {
	name := client.ObjectKeyFromObject(t.Set)
	selector, err := t.Hub.Scope.Narrow(t.Declared.Selector)
	if err != nil {
		return nil, err
	}
	marker, err := twin.ParsePath(string(twin.Tags) + "." + v1alpha1.SetMarkerTag)
	if err != nil {
		return nil, err
	}
	policies := t.Declared.Policies
	policies.Paths = append(policies.Paths[:len(policies.Paths):len(policies.Paths)], twin.PathPolicy{Path: marker, Policy: twin.Enforce})
	r := &run{
		Task: t, progress: s.of(name, t.Set.UID), name: name, host: t.Hub.Session.Host(), policies: policies,
		questions: fleet.NewQuestions(name, selector, t.Hub.Scope.Narrow),
	}
	declared := []twin.Document{t.Declared.Document}
	for _, revision := range t.Revisions {
		declared = append(declared, revision.Declared)
	}
	r.rivals, err = t.Others.rivals(ctx, t.Set, r.host, declared)
	return r, err
}

// owner is the hub's owner tag as a document; empty for none.
func (r *run) owner() twin.Document {
	if r.Hub.Spec.OwnerTag == nil {
		return twin.Document{}
	}
	return twin.Document{Tags: map[string]any{r.Hub.Spec.OwnerTag.Name: r.Hub.Spec.OwnerTag.Value}}
}

// declares is what a revision declares for a twin, with the hub's owner tag.
func (r *run) declares(revision string) (twin.Document, error) {
	found, ok := r.Revisions[revision]
	if !ok {
		return twin.Document{}, outcome.Stall(v1alpha1.ReasonRecordLost, fmt.Sprintf(
			"revision %s of the set is gone (a ControllerRevision of this namespace): edit the template", revision))
	}
	tags := maps.Clone(found.Declared.Tags)
	if tags == nil {
		tags = map[string]any{}
	}
	maps.Copy(tags, r.owner().Tags)
	return twin.Document{Tags: tags, Desired: found.Declared.Desired}, nil
}

// judged tells whether devices count by what they acknowledge.
func (r *run) judged() bool {
	return r.Set.Spec.Rollout.Success.From == v1alpha1.SuccessFromAcknowledged && len(r.Revisions[r.Set.Status.Revision].Declared.Desired) > 0
}

// permitted runs something with a permit at the hub. slot tells apart what goes on at once.
func (r *run) permitted(ctx context.Context, kind dispatch.Kind, need dispatch.Need, slot string, do func(ctx context.Context) error) error {
	permit, err := r.Hub.Session.Dispatcher().Acquire(ctx, dispatch.Request{
		Key: "DeviceTwinSet " + r.name.String() + " " + slot, Namespace: r.name.Namespace, Priority: trigger.News, Kind: kind, Need: need,
	})
	if err != nil {
		return err
	}
	defer permit.Done()
	return do(dispatch.With(ctx, permit))
}

var (
	// A query needs a place alone, as an evaluation of a TwinQuery does: their pages wait for
	// the hub's rate in one line.
	queryNeed  = dispatch.Need{}
	updateNeed = dispatch.Need{dispatch.Updates: 1}
)

// count asks how many twins satisfy a condition.
func (r *run) count(ctx context.Context, condition *query.Condition) (n int64, err error) {
	err = r.permitted(ctx, dispatch.Evaluations, queryNeed, "count", func(ctx context.Context) error {
		n, err = r.Hub.Session.Count(ctx, hub.Devices, condition.String())
		return err
	})
	return n, err
}

// page reads one page of twins that satisfy a condition. Of a device that the namespace may not use
// nothing is ever read further, whatever the hub answers.
func (r *run) page(ctx context.Context, condition *query.Condition, from continuation) (twins []*hub.Twin, next continuation, err error) {
	next, err = r.goOn(ctx, condition, from, func(ctx context.Context, where, token string) (string, error) {
		page, err := r.Hub.Session.FindTwinPage(ctx, hub.Selection{From: hub.Devices, Where: where}, token)
		for _, held := range page.Twins {
			if r.Hub.Scope.Covers(held.ID.Device) {
				twins = append(twins, held)
			}
		}
		return page.Continue, err
	})
	return twins, next, err
}

// goOn reads the next page of the answer to a query. A hub that was restarted, or is asked after hours, may refuse the
// continuation: then it is the first page.
func (r *run) goOn(
	ctx context.Context, condition *query.Condition, from continuation, read func(ctx context.Context, where, token string) (string, error),
) (next continuation, err error) {
	next.query = condition.String()
	token := from.of(next.query)
	err = r.permitted(ctx, dispatch.Evaluations, queryNeed, "page", func(ctx context.Context) error {
		next.token, err = read(ctx, next.query, token)
		if token != "" && hub.ReasonOf(err) == hub.ReasonRefused {
			next.token, err = read(ctx, next.query, "")
		}
		return err
	})
	return next, err
}
