package synccache

import (
	"hash/maphash"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/claim"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// Cache remembers with which declaration each DeviceTwin was brought into step. It is safe
// for concurrent use.
type Cache struct {
	clock clock.PassiveClock
	seed  maphash.Seed

	mu      sync.Mutex
	entries map[types.NamespacedName]entry
}

// entry is what an object was brought into step with: the hash of a declaration, as there is
// one for each object; 0 for none.
type entry struct {
	uid         types.UID
	declaration uint64
	// recorded tells that the object had an ownership record.
	recorded bool
	schedule Schedule
}

// declaration is all that a plan for a twin is made from, beside the twin.
type declaration struct {
	generation int64
	handled    string
	target     string
	owner      v1alpha1.OwnerTag
}

// New returns a cache that knows of no object.
func New(c clock.PassiveClock) *Cache {
	return &Cache{clock: c, seed: maphash.MakeSeed(), entries: map[types.NamespacedName]entry{}}
}

func (c *Cache) hash(d declaration) uint64 { return max(1, maphash.Comparable(c.seed, d)) }

func declarationOf(obj *v1alpha1.DeviceTwin, found hubaccess.Hub) declaration {
	return declaration{
		generation: obj.Generation, handled: outcome.Handled(obj), target: fieldindex.TargetName(obj, found.Session.Host()),
		owner: ptr.Deref(found.Spec.OwnerTag, v1alpha1.OwnerTag{}),
	}
}

// UpToDate tells whether an object needs nothing of the hub, as far as is known without
// asking it. What this process has not reconciled yet is taken from its status.
func (c *Cache) UpToDate(obj *v1alpha1.DeviceTwin, found hubaccess.Hub) bool {
	known, ok := c.entry(obj)
	now := declarationOf(obj, found)
	if !ok {
		return statusUpToDate(obj, now)
	}
	ask := known.schedule.Ask
	return known.declaration == c.hash(now) && !known.lostRecord(obj) && (ask.IsZero() || c.clock.Now().Before(ask))
}

// statusUpToDate tells whether a status that an earlier process wrote says that the object
// is in step. Under another owner tag it is not; its twin's document tells.
func statusUpToDate(obj *v1alpha1.DeviceTwin, now declaration) bool {
	status := &obj.Status
	synced := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionSynced)
	return synced != nil && synced.Status == metav1.ConditionTrue && synced.ObservedGeneration == now.generation &&
		meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) &&
		(status.Target == now.target || status.Target == "" && !claim.Wanted(obj)) && status.LastHandledReconcileAt == now.handled && status.ETag != ""
}

// Set notes that an object was brought into step, and when it is to be reconciled again.
func (c *Cache) Set(obj *v1alpha1.DeviceTwin, found hubaccess.Hub, again Schedule) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[client.ObjectKeyFromObject(obj)] = entry{
		uid: obj.UID, declaration: c.hash(declarationOf(obj, found)), recorded: obj.Status.Record != "", schedule: again,
	}
}

// Invalidate has the hub asked for an object again.
func (c *Cache) Invalidate(obj *v1alpha1.DeviceTwin) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := client.ObjectKeyFromObject(obj)
	c.entries[name] = entry{uid: obj.UID, recorded: c.entries[name].recorded && c.entries[name].uid == obj.UID}
}

// UID is that of the object of a name that was reconciled last, "" for none.
func (c *Cache) UID(name types.NamespacedName) types.UID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[name].uid
}

// LostRecord tells whether an object that had an ownership record has none.
func (c *Cache) LostRecord(obj *v1alpha1.DeviceTwin) bool {
	known, _ := c.entry(obj)
	return known.lostRecord(obj)
}

// LossReported notes that an object's status says that its record is gone.
func (c *Cache) LossReported(obj *v1alpha1.DeviceTwin) {
	c.update(obj, func(e *entry) { e.recorded = obj.Status.Record != "" })
}

// Forget drops the object of a name.
func (c *Cache) Forget(name types.NamespacedName, _ types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, name)
}

// entry is what is known of an object: nothing of a namesake that it replaced.
func (c *Cache) entry(obj *v1alpha1.DeviceTwin) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.entries[client.ObjectKeyFromObject(obj)]
	if !ok || known.uid != obj.UID {
		return entry{}, false
	}
	return known, true
}

// update changes what is known of an object, if anything is.
func (c *Cache) update(obj *v1alpha1.DeviceTwin, change func(*entry)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := client.ObjectKeyFromObject(obj)
	if known, ok := c.entries[name]; ok && known.uid == obj.UID {
		change(&known)
		c.entries[name] = known
	}
}

func (e entry) lostRecord(obj *v1alpha1.DeviceTwin) bool {
	return e.recorded && obj.Status.Record == ""
}
