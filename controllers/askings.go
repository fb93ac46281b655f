package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// askings ask each hub each question once, however many TwinQueries ask it.
type askings struct {
	clock clock.PassiveClock
	// pages is how many pages of an answer are listed at most.
	pages int
	// answered is called for each TwinQuery that could not be told because somebody
	// else asked the same.
	answered func(types.NamespacedName)

	// left is called for each question that no TwinQuery asks any more.
	left func(question)

	mu    sync.Mutex
	known map[question]*asking
	// asks is what each TwinQuery asks.
	asks map[types.NamespacedName]question
}

// question is what a hub is asked.
type question struct {
	hub  types.NamespacedName
	from hub.Source
	text string
}

// reply is what a hub says to a question.
type reply struct {
	// count of the devices that it lists.
	count int64
	// large tells that they are too many to list.
	large bool
	// devices are all of them, sorted; none when large.
	devices []string
}

// asking is the last reply to a question.
type asking struct {
	reply
	asked time.Time // when the hub was asked, zero for never
	// users are how many TwinQueries ask it.
	users int
	// running tells that the hub is asked, and waiting who wants to know what it says.
	running bool
	waiting map[types.NamespacedName]struct{}
}

// soonest is the shortest time to the next look at a query.
const soonest = 100 * time.Millisecond

func newAskings(c clock.PassiveClock, pages int, answered func(types.NamespacedName), left func(question)) *askings {
	return &askings{
		clock: c, pages: pages, answered: answered, left: left,
		known: map[question]*asking{}, asks: map[types.NamespacedName]question{},
	}
}

// answer returns the reply to a question, and when it was asked for: one that is not
// older than so, or a new one. It does not wait while somebody else asks the same: the
// error says so, and who wants to know is woken.
func (a *askings) answer(
	q question, who types.NamespacedName, notOlder time.Duration, ask func(large bool) (reply, error),
) (reply, time.Time, error) {
	a.use(who, q)
	one, free := a.begin(q, who)
	if !free {
		return reply{}, time.Time{}, outcome.NotSeen()
	}
	defer a.end(one)
	now := a.clock.Now()
	if !one.asked.IsZero() && now.Sub(one.asked) < notOlder {
		return one.reply, one.asked, nil
	}
	said, err := ask(one.large)
	if err != nil {
		return reply{}, now, err
	}
	one.reply, one.asked = said, now
	return said, now, nil
}

// use notes what a TwinQuery asks from now on. The reply to what it asked before goes
// with its last user.
func (a *askings) use(who types.NamespacedName, q question) {
	a.mu.Lock()
	before, asked := a.asks[who]
	if asked && before == q {
		a.mu.Unlock()
		return
	}
	over := asked && a.leave(who, before)
	one := a.known[q]
	if one == nil {
		one = &asking{waiting: map[types.NamespacedName]struct{}{}}
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
func (a *askings) forget(who types.NamespacedName) {
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
func (a *askings) leave(who types.NamespacedName, q question) bool {
	delete(a.asks, who)
	one := a.known[q]
	delete(one.waiting, who)
	one.users--
	if one.users == 0 {
		delete(a.known, q)
	}
	return one.users == 0
}

// begin returns a question for its caller alone, until end; or false, and wakes him
// after it.
func (a *askings) begin(q question, who types.NamespacedName) (one *asking, free bool) {
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

func (a *askings) end(one *asking) {
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
func (a *askings) ask(ctx context.Context, session hub.Session, q question, large bool) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, maxQueryTime)
	defer cancel()
	if large {
		said, err := q.count(ctx, session)
		if err != nil || said.count > int64(a.pages)*hub.PageRows*9/10 {
			return said, err
		}
	}
	ids, all, err := hub.IDs(ctx, session, hub.Selection{From: q.from, Where: q.text}, a.pages)
	if err != nil {
		return reply{}, err
	}
	if !all {
		return q.count(ctx, session)
	}
	return reply{count: int64(len(ids)), devices: names(ids)}, nil
}

// count asks only how many they are, with one page.
func (q question) count(ctx context.Context, session hub.Session) (reply, error) {
	count, err := session.Count(ctx, q.from, q.text)
	return reply{count: count, large: true}, err
}
