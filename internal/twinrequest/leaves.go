package twinrequest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinstatus"
)

// change is one leaf before and after.
type change struct {
	path          twin.Path
	before, after any
	withheld      string
}

// describe is a plan as a status shows it.
func describe(held *hub.Twin, plan twin.Plan, found hubaccess.Hub) (*v1alpha1.TwinRequestPlanned, error) {
	answer := &v1alpha1.TwinRequestPlanned{}
	for _, leaf := range changes(held, plan) {
		shown, err := leaf.shown()
		if err != nil {
			return nil, err
		}
		answer.Leaves = append(answer.Leaves, shown)
	}
	slices.SortFunc(answer.Leaves, func(a, b v1alpha1.PlannedLeaf) int { return strings.Compare(a.Path, b.Path) })
	answer.Reason, answer.Message = left(plan)
	if plan.Patch.Empty() {
		return answer, nil
	}
	var err error
	if answer.Patch, err = twinstatus.Patch(plan.Patch); err != nil {
		return nil, fmt.Errorf("spelling the patch: %w", err)
	}
	answer.Messages, err = messages(found.Spec, sent(held, answer.Patch))
	return answer, err
}

// changes are the leaves that the hub does not hold as declared, and those to delete.
func changes(held *hub.Twin, plan twin.Plan) []change {
	var all []change
	differing := func(leaves twin.Differences, withheld string) {
		for _, leaf := range leaves {
			all = append(all, change{leaf.Path, leaf.Held, leaf.Declared, withheld})
		}
	}
	differing(plan.Changed, "")
	differing(plan.Observed, v1alpha1.ReasonObserved)
	differing(plan.Yielded, v1alpha1.ReasonYielded)
	differing(plan.Postponed, v1alpha1.ReasonContended)
	for _, conflict := range plan.Conflicts {
		all = append(all, change{conflict.Declared, conflict.Held, conflict.Want, v1alpha1.ReasonConflict})
	}
	observed := twin.Document{Tags: held.Tags, Desired: held.Desired}
	for _, path := range plan.Removed {
		before, _ := observed.At(path)
		all = append(all, change{path: path, before: before})
	}
	return all
}

func (c change) shown() (v1alpha1.PlannedLeaf, error) {
	before, err := value(c.before)
	if err != nil {
		return v1alpha1.PlannedLeaf{}, fmt.Errorf("spelling what the hub holds at %s: %w", c.path, err)
	}
	after, err := value(c.after)
	if err != nil {
		return v1alpha1.PlannedLeaf{}, fmt.Errorf("spelling what is declared at %s: %w", c.path, err)
	}
	return v1alpha1.PlannedLeaf{Path: c.path.String(), Before: before, After: after, Withheld: c.withheld}, nil
}

// value is a value of a twin as a status holds it; nil for none.
func value(of any) (*runtime.RawExtension, error) {
	if of == nil {
		return nil, nil
	}
	return twinstatus.AsStored(of)
}

// left says why not all that is declared would be on the hub after the patch, and that it
// is when there is none to send.
func left(plan twin.Plan) (reason, message string) {
	if len(plan.Conflicts) > 0 {
		texts := make([]string, len(plan.Conflicts))
		for i, conflict := range plan.Conflicts {
			texts[i] = conflict.String()
		}
		return v1alpha1.ReasonConflict, outcome.Bounded(strings.Join(texts, "; "))
	}
	for _, kind := range []struct {
		leaves      twin.Differences
		reason, why string
	}{
		{plan.Observed, v1alpha1.ReasonObserved, "policy Observe never writes "},
		{plan.Yielded, v1alpha1.ReasonYielded, "policy Yield leaves another writer's values at "},
		{plan.Postponed, v1alpha1.ReasonContended, "another writer keeps changing, so that it is restored later, "},
	} {
		if len(kind.leaves) > 0 {
			return kind.reason, outcome.Bounded(kind.why + kind.leaves.Paths().String())
		}
	}
	if plan.Patch.Empty() {
		return v1alpha1.ReasonSucceeded, "the hub holds what is declared"
	}
	return "", ""
}

// sent is how many bytes the request takes that carries a patch.
func sent(held *hub.Twin, patch *runtime.RawExtension) int {
	around, err := json.Marshal(struct {
		DeviceID string `json:"deviceId"`
		ModuleID string `json:"moduleId,omitempty"`
		ETag     string `json:"etag"`
	}{held.ID.Device, held.ID.Module, held.ETag})
	if err != nil {
		return len(patch.Raw)
	}
	return len(around) + len(patch.Raw)
}
