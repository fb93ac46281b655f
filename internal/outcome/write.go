package outcome

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Write stores the status of an object if it says something new, and announces
// it. The write carries the resourceVersion: an object of the same name that was
// created meanwhile must not get the status of its predecessor.
func (r Reporter) Write(ctx context.Context, c client.Client, before, after Object) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	patch, err := statusPatch(after)
	if err != nil {
		return fmt.Errorf("spelling status: %w", err)
	}
	if err := r.Server.Answered(c.Status().Patch(ctx, after, patch)); err != nil {
		return fmt.Errorf("writing status: %w", err)
	}
	r.announce(before, after)
	return nil
}

// statusPatch replaces the status as a whole. A merge patch cannot: it takes the nulls
// of status.plan, which stand for removals, for removals of its own.
func statusPatch(obj Object) (client.Patch, error) {
	text, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	var parts struct {
		Status json.RawMessage `json:"status"`
	}
	if err := json.Unmarshal(text, &parts); err != nil {
		return nil, err
	}
	patch, err := json.Marshal([]operation{
		{Op: "replace", Path: "/metadata/resourceVersion", Value: obj.GetResourceVersion()},
		{Op: "add", Path: "/status", Value: parts.Status}, // replaces one that is there
	})
	return client.RawPatch(types.JSONPatchType, patch), err
}

// operation is one step of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}
