package twinstatus

import (
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// maxPlan bounds the patch that a status shows.
const maxPlan = 8192

// PlannedChange is how a status shows what is not done.
func PlannedChange(plan twin.Plan) *v1alpha1.PlannedChange {
	if plan.Patch.Empty() {
		return nil
	}
	return &v1alpha1.PlannedChange{
		Changes:  int32(min(len(plan.Changed), maxCounted)),
		Removals: int32(min(len(plan.Removed), maxCounted)),
		Patch:    plannedPatch(plan.Patch),
	}
}

// maxCounted is far above the leaves that a twin can hold.
const maxCounted = 1 << 20

// plannedPatch is the patch as it would be sent, nil when it is too long.
func plannedPatch(patch twin.Document) *runtime.RawExtension {
	shown, err := Patch(patch)
	if err != nil || len(shown.Raw) > maxPlan {
		return nil
	}
	return shown
}

// Patch is a merge patch as it would be sent, however long it is.
func Patch(patch twin.Document) (*runtime.RawExtension, error) {
	document := map[string]any{}
	if patch.Tags != nil {
		document["tags"] = patch.Tags
	}
	if patch.Desired != nil {
		document["properties"] = map[string]any{"desired": patch.Desired}
	}
	return AsStored(document)
}
