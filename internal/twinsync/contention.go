package twinsync

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

const (
	// contendedAfter is the reversal of one leaf that is not answered at once any more.
	contendedAfter = 3
	// ContendedWithin is the time in which reversals count together.
	ContendedWithin = time.Hour
	// The back-off between two restorations of a contended leaf: each one may wake
	// a device and is billed.
	minContention = time.Minute
	maxContention = time.Hour
)

// Contention remembers which leaves another writer keeps changing. It is lost with the
// process: it then starts over, and is noticed again. It is safe for concurrent use.
type Contention struct {
	clock clock.PassiveClock

	mu        sync.Mutex
	histories map[types.UID]map[string]*history
}

// history is what became of one leaf.
type history struct {
	restored  int       // how often we restored it
	contended bool      // it was changed back often enough to be reported
	respelled bool      // by the hub, in its very answer
	last      time.Time // when we did so last
	shown     string    // both values as last seen
	// by is the configuration or deployment that wrote the other value; "" when the hub
	// does not tell who did.
	by string
}

// NewContention returns a memory of no leaf.
func NewContention(c clock.PassiveClock) *Contention {
	return &Contention{clock: c, histories: map[types.UID]map[string]*history{}}
}

// backoff is how long the next restoration waits behind the last one.
func (f *history) backoff() time.Duration {
	if f.respelled {
		return maxContention
	}
	return Backoff(f.restored)
}

// Backoff is how long the next restoration waits behind the last of so many.
func Backoff(restored int) time.Duration {
	over := restored - (contendedAfter - 1)
	if over < 0 {
		return 0
	}
	return min(minContention<<min(over, 10), maxContention)
}

// over tells whether the last restoration has lasted.
func (f *history) over(now time.Time) bool {
	return now.Sub(f.last) > max(ContendedWithin, 2*f.backoff())
}

// restored notes leaves that were restored after another writer changed them; held says
// what is known of that writer.
func (c *Contention) restored(uid types.UID, drifted twin.Differences, held twin.Stamps) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	for _, d := range drifted {
		leaves := c.histories[uid]
		if leaves == nil {
			leaves = map[string]*history{}
			c.histories[uid] = leaves
		}
		f := leaves[d.Path.String()]
		if f == nil || f.over(now) {
			f = &history{}
			leaves[d.Path.String()] = f
		}
		f.restored++
		f.contended = f.contended || f.restored >= contendedAfter && !f.respelled
		f.last, f.shown, f.by = now, d.String(), held.Writer(d.Path)
	}
}

// waits notes leaves that another writer changed again and that are not restored yet.
func (c *Contention) waits(uid types.UID, postponed twin.Differences, held twin.Stamps) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range postponed {
		if f := c.histories[uid][d.Path.String()]; f != nil && !f.respelled {
			f.contended, f.shown, f.by = true, d.String(), held.Writer(d.Path)
		}
	}
}

// respelled notes leaves that the hub took and does not hold as they were written: no
// other writer is to blame, and to write them again at once is of no use.
func (c *Contention) respelled(uid types.UID, differs twin.Differences) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range differs {
		if c.histories[uid] == nil {
			c.histories[uid] = map[string]*history{}
		}
		c.histories[uid][d.Path.String()] = &history{respelled: true, last: c.clock.Now(), shown: d.String()}
	}
}

// notKept are those of several leaves that the hub does not hold as they were written.
func (c *Contention) notKept(uid types.UID, among twin.Differences) twin.Differences {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out twin.Differences
	for _, d := range among {
		if f := c.histories[uid][d.Path.String()]; f != nil && f.respelled {
			out = append(out, d)
		}
	}
	return out
}

// postponed tells for each leaf of an object whether it has to wait.
func (c *Contention) postponed(uid types.UID) func(twin.Path) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	waiting := map[string]bool{}
	for leaf, f := range c.histories[uid] {
		waiting[leaf] = now.Before(f.last.Add(f.backoff()))
	}
	return func(leaf twin.Path) bool { return waiting[leaf.String()] }
}

// Contended is what another writer keeps changing of one object.
type Contended struct {
	// Leaves are shown with both values, and with the configuration that writes them where
	// the hub tells; "" for none.
	Leaves string
	// Wait is how long the next restoration waits at most.
	Wait time.Duration
	// By are the configurations and deployments that are known to write them, sorted.
	By []string
}

// Advice says what to do about it.
func (c Contended) Advice() string {
	if len(c.By) == 0 {
		return "Find the other writer, or set a policy"
	}
	return "Change configuration " + strings.Join(c.By, ", ") + " at the hub (its content, or its target condition), or set a policy"
}

// Of says which leaves of an object another writer keeps changing.
func (c *Contention) Of(uid types.UID) (found Contended) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	leaves := c.histories[uid]
	maps.DeleteFunc(leaves, func(_ string, f *history) bool { return f.over(now) })
	if len(leaves) == 0 {
		delete(c.histories, uid)
	}
	var shown []string
	for _, leaf := range slices.Sorted(maps.Keys(leaves)) {
		f := leaves[leaf]
		if !f.contended {
			continue
		}
		text := f.shown
		if f.by != "" {
			text += ", by configuration " + strconv.Quote(f.by)
			found.By = append(found.By, strconv.Quote(f.by))
		}
		shown = append(shown, text)
		found.Wait = max(found.Wait, f.last.Add(f.backoff()).Sub(now))
	}
	slices.Sort(found.By)
	found.Leaves, found.By = strings.Join(shown, ", "), slices.Compact(found.By)
	return found
}

// Forget drops an object that is gone.
func (c *Contention) Forget(_ types.NamespacedName, uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.histories, uid)
}
