package membership

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// session is what is needed of a hub's: who satisfies a condition, or how many, and how much
// of its rate there is to ask at.
type session interface {
	FindIDs(ctx context.Context, selection hub.Selection, seen func(page []hub.ID) error) error
	Count(ctx context.Context, from hub.Source, where string) (int64, error)
	Dispatcher() *dispatch.Share
}

// maxQueryTime bounds one query: at the 20 pages a minute of a small hub it is enough
// for as many as are listed.
const maxQueryTime = 10 * time.Minute

// Permit lets a query ask its hub. It may be nil where none is needed.
type Permit func() (*dispatch.Permit, error)

// Evaluate returns what the hub of a TwinQuery answers: an answer that is not older than so,
// or a new one. It does not wait while another TwinQuery asks the same, but returns an error
// of class outcome.Unseen, and Options.Answered is called later. Permits are asked for only
// when the hub is.
func (m *Memberships) Evaluate(ctx context.Context, name types.NamespacedName, q Query, notOlder time.Duration, permit Permit) (Evaluation, error) {
	one, free := m.begin(name, q)
	if !free {
		return Evaluation{Query: q}, outcome.NotSeen()
	}
	defer m.end(one)
	now := m.opts.Clock.Now()
	if !one.asked.IsZero() && now.Sub(one.asked) < notOlder {
		return Evaluation{Query: q, Result: one.answer, At: one.asked}, nil
	}
	answer, err := m.ask(ctx, q.Hub.Session, one, permit)
	if err != nil {
		return Evaluation{Query: q, At: now}, err
	}
	one.answer, one.asked = answer, now
	return Evaluation{Query: q, Result: answer, At: now}, nil
}

// begin returns the record of what a TwinQuery asks from now on, for its caller alone until
// end; or false, and has it triggered after that.
func (m *Memberships) begin(name types.NamespacedName, q Query) (one *record, free bool) {
	of := q.key()
	m.mu.Lock()
	defer m.mu.Unlock()
	one = m.record(of, q.Condition)
	now := m.users[name]
	now.asks = one
	m.put(name, now)
	if one.running {
		one.askers[name] = true
		return nil, false
	}
	one.running = true
	return one, true
}

func (m *Memberships) end(one *record) {
	var waiting []types.NamespacedName
	m.mu.Lock()
	one.running = false
	for name, waits := range one.askers {
		if waits {
			one.askers[name] = false
			waiting = append(waiting, name)
		}
	}
	m.mu.Unlock()
	for _, name := range waiting {
		m.opts.Answered(name)
	}
}

// ask asks a hub which twins satisfy a condition, or only how many when that was a
// large answer. One that became small by a tenth is listed again: one that moves
// around the bound does not change its kind each time.
func (m *Memberships) ask(ctx context.Context, at session, one *record, permit Permit) (Result, error) {
	held, err := permit()
	if err != nil {
		return Result{}, err
	}
	defer held.Done()
	ctx, cancel := context.WithTimeout(dispatch.With(ctx, held), maxQueryTime)
	defer cancel()
	if one.answer.Large {
		answer, err := one.count(ctx, at)
		if err != nil || answer.Count > int64(m.opts.Pages)*hub.PageRows*9/10 {
			return answer, err
		}
	}
	ids, all, err := hub.IDs(ctx, at, hub.Selection{From: one.from, Where: one.text}, m.opts.Pages)
	if err != nil {
		return Result{}, err
	}
	if !all {
		return one.count(ctx, at)
	}
	return Result{Count: int64(len(ids)), Devices: names(ids)}, nil
}

// count asks only how many they are, with one page.
func (q *record) count(ctx context.Context, at session) (Result, error) {
	count, err := at.Count(ctx, q.from, q.text)
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
