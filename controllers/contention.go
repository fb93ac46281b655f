package controllers

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
	// contendedAfter is the reversal of one leaf that is not answered at once any
	// more, and contendedWithin the time in which reversals count together.
	contendedAfter  = 3
	contendedWithin = time.Hour
	// The back-off between two restorations of a contended leaf: each one may wake
	// a device and is billed.
	minContention = time.Minute
	maxContention = time.Hour
)

// contention remembers which leaves somebody else keeps changing. It is lost with
// the process: a war then starts over, and is noticed again.
type contention struct {
	clock clock.PassiveClock

	mu     sync.Mutex
	fights map[types.UID]map[string]*fight
}

// fight is the history of one leaf.
type fight struct {
	restored  int       // how often we restored it
	war       bool      // it was changed back often enough to be told of
	respelled bool      // by the hub, in its very answer
	last      time.Time // when we did so last
	shown     string    // both values as last seen
	// by is the configuration or deployment that wrote the other value; "" when the hub
	// does not tell who did.
	by string
}

func newContention(c clock.PassiveClock) *contention {
	return &contention{clock: c, fights: map[types.UID]map[string]*fight{}}
}

// backoff is how long the next restoration waits behind the last one.
func (f *fight) backoff() time.Duration {
	if f.respelled {
		return maxContention
	}
	over := f.restored - (contendedAfter - 1)
	if over < 0 {
		return 0
	}
	return min(minContention<<min(over, 10), maxContention)
}

// over tells whether the last restoration has lasted.
func (f *fight) over(now time.Time) bool {
	return now.Sub(f.last) > max(contendedWithin, 2*f.backoff())
}

// restored notes leaves that were restored after another writer changed them; held says
// what is known of that writer.
func (c *contention) restored(uid types.UID, drifted twin.Differences, held twin.Stamps) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	for _, d := range drifted {
		leaves := c.fights[uid]
		if leaves == nil {
			leaves = map[string]*fight{}
			c.fights[uid] = leaves
		}
		f := leaves[d.Path.String()]
		if f == nil || f.over(now) {
			f = &fight{}
			leaves[d.Path.String()] = f
		}
		f.restored++
		f.war = f.war || f.restored >= contendedAfter && !f.respelled
		f.last, f.shown, f.by = now, d.String(), held.Writer(d.Path)
	}
}

// waits notes leaves that another writer changed again and that are not restored yet.
func (c *contention) waits(uid types.UID, postponed twin.Differences, held twin.Stamps) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range postponed {
		if f := c.fights[uid][d.Path.String()]; f != nil && !f.respelled {
			f.war, f.shown, f.by = true, d.String(), held.Writer(d.Path)
		}
	}
}

// respelled notes leaves that the hub took and does not hold as they were written: no
// other writer is to blame, and to write them again at once is of no use.
func (c *contention) respelled(uid types.UID, differs twin.Differences) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range differs {
		if c.fights[uid] == nil {
			c.fights[uid] = map[string]*fight{}
		}
		c.fights[uid][d.Path.String()] = &fight{respelled: true, last: c.clock.Now(), shown: d.String()}
	}
}

// notKept are those of several leaves that the hub does not hold as they were written.
func (c *contention) notKept(uid types.UID, among twin.Differences) twin.Differences {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out twin.Differences
	for _, d := range among {
		if f := c.fights[uid][d.Path.String()]; f != nil && f.respelled {
			out = append(out, d)
		}
	}
	return out
}

// postponed tells for each leaf of an object whether it has to wait.
func (c *contention) postponed(uid types.UID) func(twin.Path) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	waiting := map[string]bool{}
	for leaf, f := range c.fights[uid] {
		waiting[leaf] = now.Before(f.last.Add(f.backoff()))
	}
	return func(leaf twin.Path) bool { return waiting[leaf.String()] }
}

// war is what is being fought over of one object.
type war struct {
	// shown are the leaves with both values, and with the configuration that writes them
	// where the hub tells; "" when there is no war.
	shown string
	// wait is how long the next restoration waits at most.
	wait time.Duration
	// by are the configurations and deployments that are known to write them, sorted.
	by []string
}

// advice says what to do about a war.
func (w war) advice() string {
	if len(w.by) == 0 {
		return "Find the other writer, or set a policy"
	}
	return "Change configuration " + strings.Join(w.by, ", ") + " at the hub (its content, or its target condition), or set a policy"
}

// contended says which leaves of an object are being fought over.
func (c *contention) contended(uid types.UID) (found war) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	leaves := c.fights[uid]
	maps.DeleteFunc(leaves, func(_ string, f *fight) bool { return f.over(now) })
	if len(leaves) == 0 {
		delete(c.fights, uid)
	}
	var shown []string
	for _, leaf := range slices.Sorted(maps.Keys(leaves)) {
		f := leaves[leaf]
		if !f.war {
			continue
		}
		text := f.shown
		if f.by != "" {
			text += ", by configuration " + strconv.Quote(f.by)
			found.by = append(found.by, strconv.Quote(f.by))
		}
		shown = append(shown, text)
		found.wait = max(found.wait, f.last.Add(f.backoff()).Sub(now))
	}
	slices.Sort(found.by)
	found.shown, found.by = strings.Join(shown, ", "), slices.Compact(found.by)
	return found
}

// forget drops an object that is gone.
func (c *contention) forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fights, uid)
}
