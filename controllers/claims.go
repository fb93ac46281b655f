package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// claims decide which of several DeviceTwins of one twin keeps it: one whose namespace
// has a scope of its own for the device, and else the first to be seen. Across a
// restart that stands in status.target; where a restore lost it, the smallest UID wins,
// since creation times start anew then as well. One that never writes claims nothing.
type claims struct {
	client      client.Reader
	connections *hubaccess.Connections
	// released is told of DeviceTwins that may take a twin which no other one keeps any more.
	released func(types.NamespacedName)

	mu   sync.Mutex
	held map[string]claim // by target
	by   map[types.NamespacedName]string
	// cleanUps are the DeviceTwins that the hub is to be cleaned up behind.
	cleanUps map[types.NamespacedName]struct{}
	// releases counts how often a claim ended, or a claimant was found gone.
	releases uint64
}

// claim is a DeviceTwin that keeps a twin.
type claim struct {
	name types.NamespacedName
	uid  types.UID
}

func newClaims(reader client.Reader, hubs *hubaccess.Connections, released func(types.NamespacedName)) *claims {
	return &claims{
		client: reader, connections: hubs, released: released,
		held: map[string]claim{}, by: map[types.NamespacedName]string{}, cleanUps: map[types.NamespacedName]struct{}{},
	}
}

// keeps tells whether an object is recorded as the one that keeps a twin.
func keeps(obj *v1alpha1.DeviceTwin, target string) bool {
	return fieldindex.SameTarget(obj.Status.Target) == target
}

// take claims a twin for an object, or says who keeps it.
func (c *claims) take(ctx context.Context, obj *v1alpha1.DeviceTwin, host string) error {
	target, own := fieldindex.TargetName(obj, host), claim{client.ObjectKeyFromObject(obj), obj.UID}
	if c.keepsAnother(own.name, target) {
		c.release(ctx, own.name) // the HubConnection leads to another host now
	}
	for {
		holder, releases := c.holder(target)
		var err error
		switch {
		case holder == (claim{}):
			holder, err = c.elect(ctx, obj, own, target)
		case holder.name != own.name:
			err = c.challenge(ctx, obj, holder, target)
		}
		if errors.Is(err, errWithdrawn) {
			continue
		}
		if err != nil {
			return err
		}
		if holder.name == own.name {
			holder = own // not a namesake that was deleted
		}
		if holder, recorded := c.record(ctx, target, holder, own, releases); recorded {
			if holder != own {
				return claimedBy(obj, holder)
			}
			c.setCleanUp(obj)
			return nil
		}
	}
}

// setCleanUp notes whether the hub is to be cleaned up behind a DeviceTwin: it may go
// without its finalizer, which other clients can take off.
func (c *claims) setCleanUp(obj *v1alpha1.DeviceTwin) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name := client.ObjectKeyFromObject(obj); cleansUp(obj) {
		c.cleanUps[name] = struct{}{}
	} else {
		delete(c.cleanUps, name)
	}
}

// owed tells whether a DeviceTwin keeps a twin that is to be cleaned up behind it.
func (c *claims) owed(name types.NamespacedName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, owed := c.cleanUps[name]
	return owed
}

// errWithdrawn says that the claim of another one was withdrawn.
var errWithdrawn = errors.New("the claim was withdrawn")

// challenge withdraws the claim of a holder that is gone, that may not or would not have
// the twin any more, or that has no scope of its own for it while the challenger has:
// that decides the same way in whatever order they are looked at.
func (c *claims) challenge(ctx context.Context, obj *v1alpha1.DeviceTwin, holder claim, target string) error {
	var kept v1alpha1.DeviceTwin
	err := c.client.Get(ctx, holder.name, &kept)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading DeviceTwin %s, which keeps the twin: %w", holder.name, err)
	}
	if err == nil && kept.UID == holder.uid {
		stands, err := c.competes(ctx, &kept, target, true)
		if outcome.Of(err).Class == outcome.Unseen && err != nil {
			return nil // it may well keep it: its hub was not looked at yet
		}
		if err != nil {
			return err
		}
		if stands && !c.outranks(ctx, obj, &kept) {
			return nil
		}
	}
	c.withdraw(ctx, holder, target)
	return errWithdrawn
}

// outranks tells whether a DeviceTwin has a scope of its own for its device, and another
// one of that device has none.
func (c *claims) outranks(ctx context.Context, obj, other *v1alpha1.DeviceTwin) bool {
	return c.named(ctx, obj) && !c.named(ctx, other)
}

// named tells whether the HubConnection of a DeviceTwin lists a scope of its namespace
// that covers its device, whether it is ready or not.
func (c *claims) named(ctx context.Context, obj *v1alpha1.DeviceTwin) bool {
	conn, err := c.connections.Read(ctx, fieldindex.HubOf(obj))
	return err == nil && hubaccess.ScopeOf(conn, obj.Namespace).Names(obj.Spec.DeviceID)
}

// withdraw ends a claim, unless it is another one by now, and wakes those who wait for it.
func (c *claims) withdraw(ctx context.Context, holder claim, target string) {
	c.mu.Lock()
	held := c.held[target] == holder
	if held {
		c.drop(holder.name, target)
		delete(c.cleanUps, holder.name)
	}
	c.mu.Unlock()
	if held {
		c.tell(ctx, types.NamespacedName{}, target) // the holder too has to be told
	}
}

// drop has to be called with the lock held.
func (c *claims) drop(name types.NamespacedName, target string) {
	c.releases++
	delete(c.held, target)
	if c.by[name] == target {
		delete(c.by, name)
	}
}

func (c *claims) keepsAnother(name types.NamespacedName, target string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept, keeps := c.by[name]
	return keeps && kept != target
}

// holder is who keeps a twin, empty when nobody does, as of a number of releases.
func (c *claims) holder(target string) (holder claim, releases uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[target], c.releases
}

// record notes for a claimant who keeps a twin, and returns who does. It reports false when
// that may have changed since the given number of releases: nothing would ever release for
// one that went before it was recorded. What the holder kept before, on another host, it
// keeps no more.
func (c *claims) record(ctx context.Context, target string, holder, own claim, releases uint64) (claim, bool) {
	c.mu.Lock()
	if now, taken := c.held[target]; taken && now.name != own.name {
		c.mu.Unlock()
		return now, true // it may have been faster
	}
	if holder.name != own.name && c.releases != releases {
		c.mu.Unlock()
		return claim{}, false
	}
	before, kept := c.by[holder.name]
	moved := kept && before != target
	if moved {
		c.drop(holder.name, before)
	}
	c.held[target], c.by[holder.name] = holder, target
	c.mu.Unlock()
	if moved {
		c.tell(ctx, holder.name, before)
	}
	return holder, true
}

// kept is the twin that an object is known to keep; "" while nobody has claimed
// one for it since the start.
func (c *claims) kept(obj *v1alpha1.DeviceTwin) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := claim{client.ObjectKeyFromObject(obj), obj.UID}
	if target := c.by[own.name]; c.held[target] == own {
		return target
	}
	return ""
}

// claimedBy names the holder only within its own namespace.
func claimedBy(obj *v1alpha1.DeviceTwin, holder claim) error {
	who := "a DeviceTwin of another namespace"
	if holder.name.Namespace == obj.Namespace {
		who = fmt.Sprintf("DeviceTwin %q", holder.name.Name)
	}
	return outcome.Stall(v1alpha1.ReasonDeviceClaimed,
		who+" keeps this twin already. This one takes over when that one goes; what both declare belongs into one")
}

// elect finds who keeps a twin that this process has not seen claimed yet.
func (c *claims) elect(ctx context.Context, obj *v1alpha1.DeviceTwin, own claim, target string) (claim, error) {
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
func (c *claims) before(ctx context.Context, a, b *v1alpha1.DeviceTwin, target string) bool {
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
func (c *claims) rivals(ctx context.Context, obj *v1alpha1.DeviceTwin, target string) ([]v1alpha1.DeviceTwin, error) {
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

// successor is the DeviceTwin that takes over when an object gives up its twin; nil
// when nobody waits for it.
func (c *claims) successor(ctx context.Context, obj *v1alpha1.DeviceTwin, target string) (*v1alpha1.DeviceTwin, error) {
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
func (c *claims) competes(ctx context.Context, rival *v1alpha1.DeviceTwin, target string, recorded bool) (bool, error) {
	if _, invalid := declaredBy(rival); !claimsTwin(rival) || invalid != nil && !recorded {
		return false, nil
	}
	found, err := c.connections.Resolve(ctx, rival.Namespace, rival.Spec.HubRef)
	if err == nil {
		admitted := found.Scope.Admit(rival.Spec.DeviceID) == nil
		return admitted && fieldindex.TargetName(rival, found.Session.Host()) == target && (recorded || !rival.Spec.Suspend), nil
	}
	out := outcome.Of(err)
	if recorded && out.Class == outcome.Unseen {
		// It may well keep the twin: its hub was not looked at yet.
		return false, outcome.Stale(err)
	}
	return recorded && out.Effects().KeepsClaim, nil
}

// claimsTwin tells whether a DeviceTwin writes to its twin, or has something there that
// it wrote: one that only shows the twin keeps it from no other one.
func claimsTwin(obj *v1alpha1.DeviceTwin) bool { return writes(obj) || wrote(obj) }

// writes tells whether what a DeviceTwin declares may ever be written. Of one that is
// not valid that is not known.
func writes(obj *v1alpha1.DeviceTwin) bool {
	if obj.Spec.Registration == v1alpha1.RegistrationCreate {
		return true
	}
	declared, err := declaredBy(obj)
	return err != nil || declared.Policies.Write(declared.Document)
}

// release gives up what an object keeps, and wakes those who wait for it. It returns
// the UID of the object that kept it, "" when none did.
func (c *claims) release(ctx context.Context, name types.NamespacedName) types.UID {
	c.mu.Lock()
	c.releases++
	target, kept := c.by[name]
	holder := c.held[target]
	delete(c.by, name)
	delete(c.cleanUps, name)
	delete(c.held, target)
	c.mu.Unlock()
	if !kept {
		return ""
	}
	c.tell(ctx, name, target)
	return holder.uid
}

// tell wakes the DeviceTwins of a target's device or module but for the one that gave it
// up, which may be in the cache still.
func (c *claims) tell(ctx context.Context, by types.NamespacedName, target string) {
	_, id, _ := strings.Cut(target, "/")
	wakeTwins(ctx, c.client, id, c.released, func(obj *v1alpha1.DeviceTwin) bool { return client.ObjectKeyFromObject(obj) != by })
}
