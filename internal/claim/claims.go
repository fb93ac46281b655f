package claim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// Claims decide which of several DeviceTwins of one twin keeps it: one whose namespace
// has a scope of its own for the device, and else the first to be seen. Across a
// restart that stands in status.target; where a restore lost it, the smallest UID wins,
// since creation times start anew then as well. One that never writes claims nothing.
// It is safe for concurrent use.
type Claims struct {
	client   client.Reader
	hubs     Hubs
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

// Hubs say which hub an object may use.
type Hubs interface {
	Resolve(ctx context.Context, namespace string, ref v1alpha1.HubReference) (hubaccess.Hub, error)
	Read(ctx context.Context, key types.NamespacedName) (*v1alpha1.HubConnection, error)
}

// New returns claims of which none is known. reader is a cache with the indexes of
// internal/fieldindex. released is called for each DeviceTwin that may take a twin which no
// other one keeps any more; it must not block.
func New(reader client.Reader, hubs Hubs, released func(types.NamespacedName)) *Claims {
	return &Claims{
		client: reader, hubs: hubs, released: released,
		held: map[string]claim{}, by: map[types.NamespacedName]string{}, cleanUps: map[types.NamespacedName]struct{}{},
	}
}

// Take claims a twin for an object, or says who keeps it.
func (c *Claims) Take(ctx context.Context, obj *v1alpha1.DeviceTwin, host string) error {
	target, own := fieldindex.TargetName(obj, host), claim{client.ObjectKeyFromObject(obj), obj.UID}
	if c.keepsAnother(own.name, target) {
		c.Release(ctx, own.name) // the HubConnection leads to another host now
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

// Check says who keeps a twin from an object, as Take would, and claims nothing. An object
// that does not exist yet comes behind all that do, by its UID.
func (c *Claims) Check(ctx context.Context, obj *v1alpha1.DeviceTwin, host string) error {
	target, own := fieldindex.TargetName(obj, host), claim{client.ObjectKeyFromObject(obj), obj.UID}
	holder, _ := c.holder(target)
	stands := holder.name == own.name
	if holder != (claim{}) && !stands {
		var err error
		if stands, err = c.stands(ctx, obj, holder, target); err != nil {
			return err
		}
	}
	if !stands {
		var err error
		if holder, err = c.elect(ctx, obj, own, target); err != nil {
			return err
		}
	}
	if holder.name == own.name {
		return nil
	}
	return claimedBy(obj, holder)
}

// setCleanUp notes whether the hub is to be cleaned up behind a DeviceTwin: it may go
// without its finalizer, which other clients can take off.
func (c *Claims) setCleanUp(obj *v1alpha1.DeviceTwin) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name := client.ObjectKeyFromObject(obj); CleansUp(obj) {
		c.cleanUps[name] = struct{}{}
	} else {
		delete(c.cleanUps, name)
	}
}

// Owed tells whether a DeviceTwin keeps a twin that is to be cleaned up behind it.
func (c *Claims) Owed(name types.NamespacedName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, owed := c.cleanUps[name]
	return owed
}

// withdraw ends a claim, unless it is another one by now, and triggers those that wait for it.
func (c *Claims) withdraw(ctx context.Context, holder claim, target string) {
	c.mu.Lock()
	held := c.held[target] == holder
	if held {
		c.drop(holder.name, target)
		delete(c.cleanUps, holder.name)
	}
	c.mu.Unlock()
	if held {
		c.tell(ctx, types.NamespacedName{}, target) // the holder too has to be triggered
	}
}

// drop has to be called with the lock held.
func (c *Claims) drop(name types.NamespacedName, target string) {
	c.releases++
	delete(c.held, target)
	if c.by[name] == target {
		delete(c.by, name)
	}
}

func (c *Claims) keepsAnother(name types.NamespacedName, target string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept, keeps := c.by[name]
	return keeps && kept != target
}

// holder is the claim on a twin, empty when there is none, as of a number of releases.
func (c *Claims) holder(target string) (holder claim, releases uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[target], c.releases
}

// record notes for a claimant which claim holds a twin, and returns it. It reports false when
// that may have changed since the given number of releases: no release would follow for
// one that was deleted before it was recorded. What the holder kept before, on another host, it
// keeps no more.
func (c *Claims) record(ctx context.Context, target string, holder, own claim, releases uint64) (claim, bool) {
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

// Kept is the twin that an object is known to keep; "" while none was claimed
// for it since the start.
func (c *Claims) Kept(obj *v1alpha1.DeviceTwin) string {
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

// Release gives up what an object keeps, and triggers those that wait for it. It returns
// the UID of the object that kept it, "" when none did.
func (c *Claims) Release(ctx context.Context, name types.NamespacedName) types.UID {
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

// tell triggers the DeviceTwins of a target's device or module but for the one that gave it
// up, which may be in the cache still.
func (c *Claims) tell(ctx context.Context, by types.NamespacedName, target string) {
	_, id, _ := strings.Cut(target, "/")
	fieldindex.Trigger(ctx, c.client, id, c.released, func(obj *v1alpha1.DeviceTwin) bool { return client.ObjectKeyFromObject(obj) != by })
}
