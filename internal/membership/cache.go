package membership

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// cache asks each hub each question once, however many TwinQueries ask it.
type cache struct {
	clock clock.PassiveClock
	// pages is how many pages of an answer are listed at most.
	pages int
	// answered is called for each TwinQuery that could not be told because another one
	// was asking the same.
	answered func(types.NamespacedName)

	// left is called for each question that no TwinQuery asks any more.
	left func(key)

	mu    sync.Mutex
	known map[key]*entry
	// asks is what each TwinQuery asks.
	asks map[types.NamespacedName]key
}

// key is what a hub is asked.
type key struct {
	hub  types.NamespacedName
	from hub.Source
	text string
}

// Result is what a hub answered to a query.
type Result struct {
	// Count of the twins that it selects.
	Count int64
	// Large tells that they are too many to list.
	Large bool
	// Devices are all of them, or modules as device/module, sorted; none when large.
	Devices []string
}

// entry is the last Result to a question.
type entry struct {
	Result
	asked time.Time // when the hub was asked, zero for never
	// users are how many TwinQueries ask it.
	users int
	// running tells that the hub is asked, and waiting who wants to know what it says.
	running bool
	waiting map[types.NamespacedName]struct{}
}

// maxQueryTime bounds one question: at the 20 pages a minute of a small hub it is enough
// for as many as are listed.
const maxQueryTime = 10 * time.Minute

func newCache(c clock.PassiveClock, pages int, answered func(types.NamespacedName), left func(key)) *cache {
	return &cache{
		clock: c, pages: pages, answered: answered, left: left,
		known: map[key]*entry{}, asks: map[types.NamespacedName]key{},
	}
}

// answer returns the Result to a question, and when it was asked for: one that is not
// older than so, or a new one. It does not wait while another one asks the same: the
// error says so, and who wants to know is triggered.
func (a *cache) answer(
	q key, who types.NamespacedName, notOlder time.Duration, ask func(large bool) (Result, error),
) (Result, time.Time, error) {
	a.use(who, q)
	one, free := a.begin(q, who)
	if !free {
		return Result{}, time.Time{}, outcome.NotSeen()
	}
	defer a.end(one)
	now := a.clock.Now()
	if !one.asked.IsZero() && now.Sub(one.asked) < notOlder {
		return one.Result, one.asked, nil
	}
	said, err := ask(one.Large)
	if err != nil {
		return Result{}, now, err
	}
	one.Result, one.asked = said, now
	return said, now, nil
}

// use notes what a TwinQuery asks from now on. The Result to what it asked before goes
// with its last user.
func (a *cache) use(who types.NamespacedName, q key) {
	a.mu.Lock()
	before, asked := a.asks[who]
	if asked && before == q {
		a.mu.Unlock()
		return
	}
	over := asked && a.leave(who, before)
	one := a.known[q]
	if one == nil {
		one = &entry{waiting: map[types.NamespacedName]struct{}{}}
		a.known[q] = one
	}
	one.users++
	a.asks[who] = q
	a.mu.Unlock()
	if over {
		a.left(before)
	}
}

// forget drops a TwinQuery that is gone, or that asks nothing any more.
func (a *cache) forget(who types.NamespacedName) {
	a.mu.Lock()
	q, asked := a.asks[who]
	over := asked && a.leave(who, q)
	a.mu.Unlock()
	if over {
		a.left(q)
	}
}

// leave tells whether that was the last one to ask a question. It has to be called with
// the lock held.
func (a *cache) leave(who types.NamespacedName, q key) bool {
	delete(a.asks, who)
	one := a.known[q]
	delete(one.waiting, who)
	one.users--
	if one.users == 0 {
		delete(a.known, q)
	}
	return one.users == 0
}

// begin returns a question for its caller alone, until end; or false, and has who
// triggered after it.
func (a *cache) begin(q key, who types.NamespacedName) (one *entry, free bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one = a.known[q]
	if one.running {
		one.waiting[who] = struct{}{}
		return nil, false
	}
	one.running = true
	return one, true
}

func (a *cache) end(one *entry) {
	a.mu.Lock()
	waiting := one.waiting
	one.running, one.waiting = false, map[types.NamespacedName]struct{}{}
	a.mu.Unlock()
	for name := range waiting {
		a.answered(name)
	}
}

// ask asks a hub which twins satisfy a condition, or only how many when that was a
// large answer. One that became small by a tenth is listed again: one that moves
// around the bound does not change its kind each time.
func (a *cache) ask(ctx context.Context, session hub.Session, q key, large bool) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, maxQueryTime)
	defer cancel()
	if large {
		said, err := q.count(ctx, session)
		if err != nil || said.Count > int64(a.pages)*hub.PageRows*9/10 {
			return said, err
		}
	}
	ids, all, err := hub.IDs(ctx, session, hub.Selection{From: q.from, Where: q.text}, a.pages)
	if err != nil {
		return Result{}, err
	}
	if !all {
		return q.count(ctx, session)
	}
	return Result{Count: int64(len(ids)), Devices: names(ids)}, nil
}

// count asks only how many they are, with one page.
func (q key) count(ctx context.Context, session hub.Session) (Result, error) {
	count, err := session.Count(ctx, q.from, q.text)
	return Result{Count: count, Large: true}, err
}

// names are ids as a status shows them, sorted.
func names(ids []hub.ID) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, id.String())
	}
	slices.Sort(out)
	return out
}
