package outcome

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Write stores what the status of an object says anew, if anything, and announces
// it. The write carries the resourceVersion: an object of the same name that was
// created meanwhile must not get the status of its predecessor.
func (r Reporter) Write(ctx context.Context, c client.Client, before, after Object) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	patch, err := statusPatch(before, after)
	if err != nil {
		return fmt.Errorf("spelling status: %w", err)
	}
	if err := r.Server.Answered(c.Status().Patch(ctx, after, patch)); err != nil {
		return fmt.Errorf("writing status: %w", err)
	}
	r.announce(before, after)
	return nil
}

// statusPatch replaces each field of the status that is another one than before, as a whole.
// What a cache leaves out stands as it is. A merge patch cannot: it takes the nulls of
// status.plan, which stand for removals, for removals of its own.
func statusPatch(before, after Object) (client.Patch, error) {
	was, err := statusOf(before)
	if err != nil {
		return nil, err
	}
	is, err := statusOf(after)
	if err != nil {
		return nil, err
	}
	steps := []operation{{Op: "replace", Path: "/metadata/resourceVersion", Value: after.GetResourceVersion()}}
	for _, field := range slices.Sorted(maps.Keys(is)) {
		if !bytes.Equal(was[field], is[field]) {
			steps = append(steps, operation{Op: "add", Path: "/status/" + field, Value: is[field]}) // replaces one that is there
		}
	}
	for _, field := range slices.Sorted(maps.Keys(was)) {
		if _, stays := is[field]; !stays {
			// Added first, since a step that finds nothing fails all of them, in other words than those of an
			// object that has moved on.
			steps = append(steps, operation{Op: "add", Path: "/status/" + field, Value: was[field]}, operation{Op: "remove", Path: "/status/" + field})
		}
	}
	patch, err := json.Marshal(steps)
	return client.RawPatch(types.JSONPatchType, patch), err
}

// statusOf are the fields of an object's status.
func statusOf(obj Object) (map[string]json.RawMessage, error) {
	text, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	var parts struct {
		Status map[string]json.RawMessage `json:"status"`
	}
	err = json.Unmarshal(text, &parts)
	return parts.Status, err
}

// operation is one step of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}
