package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
)

// store remembers something of each DeviceTwin. It knows an object by its name or by its UID,
// and forgets by either.
type store interface {
	Forget(name types.NamespacedName, uid types.UID)
}

// stores are all that remember something of a DeviceTwin, except what release ends: its place
// in the read-back and in the queue of its hub, and its claim.
func (r *deviceTwinReconciler) stores() []store {
	return []store{r.synced, r.contention, r.guards, r.inFlight, r.deletions, r.edits, r.untold}
}

// forget drops all that is remembered of an object that is gone, and passes its twin on.
func (r *deviceTwinReconciler) forget(ctx context.Context, name types.NamespacedName) {
	uid := r.synced.UID(name)
	r.release(ctx, name)
	for _, store := range r.stores() {
		store.Forget(name, uid)
	}
}

// release passes the twin on of an object that may not use it, or is gone. What it wrote
// may still be on its way.
func (r *deviceTwinReconciler) release(ctx context.Context, name types.NamespacedName) {
	r.readBack.Untrack(name)
	r.permits.Forget(name)
	if uid := r.claims.Release(ctx, name); uid != "" {
		r.contention.Forget(name, uid)
		r.guards.Forget(name, uid)
	}
}
