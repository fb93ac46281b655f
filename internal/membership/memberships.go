package membership

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// Query is what a TwinQuery asks a hub.
type Query struct {
	Hub  hubaccess.Hub
	From hub.Source
	// Condition is narrowed to the scope of the namespace; nil for one that cannot be asked.
	Condition *query.Condition
}

// key identifies what is asked, whichever TwinQuery asks it; zero for one that cannot be asked.
func (q Query) key() key {
	if q.Condition == nil {
		return key{}
	}
	return key{hub: q.Hub.Key, from: q.From, text: q.Condition.String()}
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

// Evaluation is what a hub answered to a query.
type Evaluation struct {
	Query
	Result
	// At is when the hub was asked; zero for never.
	At time.Time
}

// Memberships of all DeviceTwins in all TwinQueries. It is safe for concurrent use.
type Memberships struct {
	opts Options
	// due are the HubConnections at which a scan waits.
	due workqueue.TypedInterface[types.NamespacedName]

	// mu guards all that follows and what it leads to, but for the answer of a query that
	// is running, which only the Evaluate that runs it reads and writes. It is held for no
	// request, no look into the cache, and no function of Options that tells something.
	mu       sync.RWMutex
	records  map[key]*record
	users    map[types.NamespacedName]user
	scanning map[types.NamespacedName]*scanQueue // by HubConnection
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
	// each TwinQuery whose query another one was asking. They must not block.
	Changed, Answered func(types.NamespacedName)
	// Disagreed counts the twins that contradict again what a later answer said of them.
	Disagreed func()
}

// New returns memberships of which none is known.
func New(opts Options) *Memberships {
	return &Memberships{
		opts: opts, due: workqueue.NewTyped[types.NamespacedName](),
		records: map[key]*record{}, users: map[types.NamespacedName]user{}, scanning: map[types.NamespacedName]*scanQueue{},
	}
}

// Set takes over what a TwinQuery asks, and what its hub answered. Without a condition it
// selects no twin.
func (m *Memberships) Set(ctx context.Context, name types.NamespacedName, found Evaluation) {
	of := found.key()
	m.mu.Lock()
	before := m.users[name]
	now := user{asks: before.asks, answered: true}
	if found.Condition != nil {
		now.shows = m.record(of, found.Condition)
	}
	var left, joined, changed, namespaces []string
	if before.shows != now.shows {
		left, joined = before.shows.members(), now.shows.members()
	}
	m.put(name, now)
	if now.shows != nil && !found.Large {
		changed, namespaces = now.shows.list(found.Devices, found.At)
	}
	m.mu.Unlock()
	m.wake(ctx, now.shows, changed, namespaces...)
	m.wake(ctx, before.shows, left, name.Namespace)
	m.wake(ctx, now.shows, joined, name.Namespace)
}

// Drop drops what a hub answered to a TwinQuery that asks nothing for now.
func (m *Memberships) Drop(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one := m.users[name]
	one.asks = nil
	m.put(name, one)
}

// Forget drops a TwinQuery that is gone.
func (m *Memberships) Forget(ctx context.Context, name types.NamespacedName) {
	m.mu.Lock()
	shown := m.users[name].shows
	left := shown.members()
	m.put(name, user{})
	m.mu.Unlock()
	m.wake(ctx, shown, left, name.Namespace)
}

// ForgetHub ends the scans through a HubConnection that is gone.
func (m *Memberships) ForgetHub(conn types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for of, one := range m.records {
		if of.hub == conn {
			m.endScan(one)
		}
	}
}
