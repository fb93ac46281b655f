package membership

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// Query is what a TwinQuery asks a hub.
type Query struct {
	Hub  hubaccess.Hub
	From hub.Source
	// Condition is narrowed to the scope of the namespace; nil for one that cannot be asked.
	Condition *query.Condition
}

// key identifies the question, whichever TwinQuery asks it.
func (q Query) key() key {
	return key{hub: q.Hub.Key, from: q.From, text: q.Condition.String()}
}

// Evaluation is what a hub answered to a query.
type Evaluation struct {
	Query
	Result
	// At is when the hub was asked; zero for never.
	At time.Time

	question key
}

// Memberships of all DeviceTwins in all TwinQueries. It is safe for concurrent use.
type Memberships struct {
	cache   *cache
	members *members
	scanner *scanner
}

// Options of New.
type Options struct {
	// Clock tells how old answers are; Timers pace the scans.
	Clock  clock.PassiveClock
	Timers clock.Clock
	// Reader is a cache with the indexes of internal/fieldindex.
	Reader client.Reader
	// Pages is how many pages of an answer are listed at most; a larger one is counted, and
	// scanned for its members.
	Pages int
	// Changed is called for each DeviceTwin that joined or left a query, and Answered for
	// each TwinQuery whose question another one was asking. They must not block.
	Changed, Answered func(types.NamespacedName)
	// Disagreed counts the twins that contradict again what a later answer said of them.
	Disagreed func()
}

// New returns memberships of which none is known. ctx ends the scans.
func New(ctx context.Context, opts Options) *Memberships {
	members := newMembers(opts.Clock, opts.Reader, opts.Changed, opts.Disagreed)
	scanner := newScanner(ctx, opts.Timers, opts.Clock, opts.Reader, members.listManaged)
	return &Memberships{
		members: members, scanner: scanner,
		cache: newCache(opts.Clock, opts.Pages, opts.Answered, scanner.forget),
	}
}

// Start implements manager.Runnable: it returns when ctx and the scans have ended.
func (m *Memberships) Start(ctx context.Context) error { return m.scanner.Start(ctx) }

// Permit lets a query ask its hub. It may be nil where none is needed.
type Permit func() (*dispatch.Permit, error)

// Evaluate returns what the hub of a TwinQuery answers: an answer that is not older than so,
// or a new one. It does not wait while another TwinQuery asks the same, but returns an error
// of class outcome.Unseen, and Options.Answered is called later. Permits are asked for only
// when the hub is.
func (m *Memberships) Evaluate(ctx context.Context, name types.NamespacedName, q Query, notOlder time.Duration, permit Permit) (Evaluation, error) {
	question := q.key()
	said, asked, err := m.cache.answer(question, name, notOlder, func(large bool) (Result, error) {
		grant, err := permit()
		if err != nil {
			return Result{}, err
		}
		defer grant.Done()
		return m.cache.ask(dispatch.With(ctx, grant), q.Hub.Session, question, large)
	})
	return Evaluation{Query: q, Result: said, At: asked, question: question}, err
}

// Set takes over what a TwinQuery asks, and what its hub answered. Without a condition it
// selects no twin.
func (m *Memberships) Set(ctx context.Context, name types.NamespacedName, found Evaluation) {
	m.members.set(ctx, name, found)
}

// Scan finds out which DeviceTwins belong to an answer that is too large to list, if that is
// due after an interval, wanted now, or was never done.
func (m *Memberships) Scan(found Evaluation, interval time.Duration, wanted bool) {
	if found.Large {
		m.scanner.scan(found, interval, wanted || !m.members.listed(found.question))
	}
}

// Late tells whether the members of a large answer are not renewed, and why.
func (m *Memberships) Late(found Evaluation, interval time.Duration) (why outcome.Outcome, late bool) {
	if !found.Large {
		return outcome.Outcome{}, false
	}
	return m.scanner.late(found, interval)
}

// Observe holds a twin that was read against every query of a namespace and HubConnection.
func (m *Memberships) Observe(namespace string, conn types.NamespacedName, twin *hub.Twin) error {
	return m.members.judge(namespace, conn, twin)
}

// Of names the queries that select a DeviceTwin's twin, as many as a status holds, sorted. A
// query that was not answered yet keeps the place that it has in the status.
func (m *Memberships) Of(ctx context.Context, obj *v1alpha1.DeviceTwin, conn types.NamespacedName) ([]string, error) {
	return m.members.of(ctx, obj, conn)
}

// Drop drops what a hub answered to a TwinQuery that asks nothing for now.
func (m *Memberships) Drop(name types.NamespacedName) { m.cache.forget(name) }

// Forget drops a TwinQuery that is gone.
func (m *Memberships) Forget(ctx context.Context, name types.NamespacedName) {
	m.cache.forget(name)
	m.members.forget(ctx, name)
}

// ForgetHub ends the scans through a HubConnection that is gone.
func (m *Memberships) ForgetHub(conn types.NamespacedName) { m.scanner.forgetHub(conn) }
