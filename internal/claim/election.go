package claim

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// errWithdrawn says that the claim of another one was withdrawn.
var errWithdrawn = errors.New("the claim was withdrawn")

// challenge withdraws the claim of a holder that is gone, that may not or would not have
// the twin any more, or that has no scope of its own for it while the challenger has:
// that decides the same way in whatever order they are reconciled.
func (c *Claims) challenge(ctx context.Context, obj *v1alpha1.DeviceTwin, holder claim, target string) error {
	if stands, err := c.stands(ctx, obj, holder, target); stands || err != nil {
		return err
	}
	c.withdraw(ctx, holder, target)
	return errWithdrawn
}

// stands tells whether a holder keeps the twin against a challenger.
func (c *Claims) stands(ctx context.Context, obj *v1alpha1.DeviceTwin, holder claim, target string) (bool, error) {
	var kept v1alpha1.DeviceTwin
	err := c.client.Get(ctx, holder.name, &kept)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading DeviceTwin %s, which keeps the twin: %w", holder.name, err)
	}
	if err != nil || kept.UID != holder.uid {
		return false, nil
	}
	competes, err := c.competes(ctx, &kept, target, true)
	if outcome.Of(err).Class == outcome.Unseen && err != nil {
		return true, nil // it may well keep it: its hub was not reconciled yet
	}
	return err == nil && competes && !c.outranks(ctx, obj, &kept), err
}

// outranks tells whether a DeviceTwin has a scope of its own for its device, and another
// one of that device has none.
func (c *Claims) outranks(ctx context.Context, obj, other *v1alpha1.DeviceTwin) bool {
	return c.named(ctx, obj) && !c.named(ctx, other)
}

// named tells whether the HubConnection of a DeviceTwin lists a scope of its namespace
// that covers its device, whether it is ready or not.
func (c *Claims) named(ctx context.Context, obj *v1alpha1.DeviceTwin) bool {
	conn, err := c.hubs.Read(ctx, fieldindex.HubOf(obj))
	return err == nil && hubaccess.ScopeOf(conn, obj.Namespace).Names(obj.Spec.DeviceID)
}

// elect finds who keeps a twin that this process has not seen claimed yet.
func (c *Claims) elect(ctx context.Context, obj *v1alpha1.DeviceTwin, own claim, target string) (claim, error) {
	rivals, err := c.rivals(ctx, obj, target)
	if err != nil {
		return claim{}, err
	}
	winner := obj
	for i := range rivals {
		if c.before(ctx, &rivals[i], winner, target) {
			winner = &rivals[i]
		}
	}
	if winner == obj {
		return own, nil
	}
	return claim{client.ObjectKeyFromObject(winner), winner.UID}, nil
}

// before tells which of two DeviceTwins comes first: the one that is named by a scope,
// the one that kept the twin already, the one of the smaller UID.
func (c *Claims) before(ctx context.Context, a, b *v1alpha1.DeviceTwin, target string) bool {
	if named := c.named(ctx, a); named != c.named(ctx, b) {
		return named
	}
	if recorded := keeps(a, target); recorded != keeps(b, target) {
		return recorded
	}
	return a.UID < b.UID
}

// rivals are the other DeviceTwins of the same twin that may use its hub, through
// whatever HubConnection. They are the cache's own, not to be changed.
func (c *Claims) rivals(ctx context.Context, obj *v1alpha1.DeviceTwin, target string) ([]v1alpha1.DeviceTwin, error) {
	all, err := fieldindex.TwinsOf(ctx, c.client, fieldindex.IDOf(obj))
	if err != nil {
		return nil, err
	}
	var rivals []v1alpha1.DeviceTwin
	for i := range all {
		rival := &all[i]
		if rival.UID == obj.UID || leaving(rival, target) {
			continue
		}
		competes, err := c.competes(ctx, rival, target, keeps(rival, target))
		if err != nil {
			return nil, err
		}
		if competes {
			rivals = append(rivals, *rival)
		}
	}
	return rivals, nil
}

// leaving tells whether an object that is being deleted has nothing more to do with
// its twin. One that has to clean up first keeps it until then.
func leaving(rival *v1alpha1.DeviceTwin, target string) bool {
	cleansUp := keeps(rival, target) && controllerutil.ContainsFinalizer(rival, v1alpha1.CleanupFinalizer)
	return !rival.DeletionTimestamp.IsZero() && !cleansUp
}

// Successor is the DeviceTwin that takes over when an object gives up its twin; nil
// when none waits for it.
func (c *Claims) Successor(ctx context.Context, obj *v1alpha1.DeviceTwin, target string) (*v1alpha1.DeviceTwin, error) {
	rivals, err := c.rivals(ctx, obj, target)
	if err != nil {
		return nil, err
	}
	var first *v1alpha1.DeviceTwin
	for i := range rivals {
		if rivals[i].DeletionTimestamp.IsZero() && (first == nil || c.before(ctx, &rivals[i], first, target)) {
			first = &rivals[i]
		}
	}
	return first, nil
}

// competes tells whether a DeviceTwin keeps a target, as recorded says it did, or would
// take it.
func (c *Claims) competes(ctx context.Context, rival *v1alpha1.DeviceTwin, target string, recorded bool) (bool, error) {
	if _, invalid := validation.DeviceTwin(rival); !Wanted(rival) || len(invalid) > 0 && !recorded {
		return false, nil
	}
	found, err := c.hubs.Resolve(ctx, rival.Namespace, rival.Spec.HubRef)
	if err == nil {
		admitted := found.Scope.Admit(rival.Spec.DeviceID) == nil
		return admitted && fieldindex.TargetName(rival, found.Session.Host()) == target && (recorded || !rival.Spec.Suspend), nil
	}
	out := outcome.Of(err)
	if recorded && out.Class == outcome.Unseen {
		// It may well keep the twin: its hub was not reconciled yet.
		return false, outcome.Stale(err)
	}
	return recorded && out.Effects().KeepsClaim, nil
}
