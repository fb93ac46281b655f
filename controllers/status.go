package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// write stores the status of an object if it says something new, and announces
// it. The write carries the resourceVersion: an object of the same name that was
// created meanwhile must not get the status of its predecessor.
func (r reporter) write(ctx context.Context, c client.Client, before, after object) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.Status().Patch(ctx, after, patch); err != nil {
		return fmt.Errorf("writing status: %w", err)
	}
	r.announce(before, after)
	return nil
}
