package membership

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// key is what a hub is asked.
type key struct {
	hub  types.NamespacedName
	from hub.Source
	text string
}

// record is all that is known of what TwinQueries ask in the same words.
type record struct {
	key
	condition *query.Condition
	// askers are the TwinQueries that ask it, and whether each waits for the answer that
	// another one is asking for. The answer and the scan go with the last of them.
	askers map[types.NamespacedName]bool

	// running tells that the hub is asked.
	running bool
	answer  Result
	asked   time.Time // when the hub was asked for the answer, zero for never

	selection *selection // nil while no TwinQuery shows it
	scan      *scan      // nil while none was wanted
}

// user is a TwinQuery. What it shows follows what it asks only when that was answered, and
// its status says so.
type user struct {
	asks, shows *record // nil for none
	// answered tells that shows is what its status was written by.
	answered bool
}

// record returns the record of what is asked. It has to be called with the lock held, and
// the record to be put into a user.
func (m *Memberships) record(of key, condition *query.Condition) *record {
	one := m.records[of]
	if one == nil {
		one = &record{key: of, condition: condition, askers: map[types.NamespacedName]bool{}}
		m.records[of] = one
	}
	return one
}

// put notes what a TwinQuery asks and shows from now on, and drops what no other one needs
// of what it did before. It has to be called with the lock held.
func (m *Memberships) put(name types.NamespacedName, now user) {
	before := m.users[name]
	m.users[name] = now
	if now == (user{}) {
		delete(m.users, name)
	}
	if before.asks != now.asks {
		if before.asks != nil {
			delete(before.asks.askers, name)
		}
		if now.asks != nil {
			now.asks.askers[name] = false
		}
	}
	if before.shows != now.shows {
		before.shows.hide(name.Namespace)
		now.shows.show(name.Namespace)
	}
	m.release(before.asks)
	m.release(before.shows)
}

// release drops what no TwinQuery needs of a record. It has to be called with the lock held.
func (m *Memberships) release(q *record) {
	if q == nil || len(q.askers) > 0 {
		return
	}
	m.endScan(q)
	q.answer, q.asked = Result{}, time.Time{}
	if q.selection == nil {
		delete(m.records, q.key)
	}
}

// show notes that one more TwinQuery of a namespace shows the selection.
func (q *record) show(namespace string) {
	if q == nil {
		return
	}
	if q.selection == nil {
		q.selection = &selection{judged: map[hub.ID]judgement{}, disputed: map[hub.ID]judgement{}, users: map[string]int{}}
	}
	q.selection.users[namespace]++
}

// hide notes that one less does. The selection goes with the last one.
func (q *record) hide(namespace string) {
	if q == nil {
		return
	}
	users := q.selection.users
	if users[namespace]--; users[namespace] == 0 {
		delete(users, namespace)
	}
	if len(users) == 0 {
		q.selection = nil
	}
}

// members are all that are known to be selected.
func (q *record) members() []string {
	if q == nil || q.selection == nil {
		return nil
	}
	return q.selection.members()
}

// list stores the devices that the hub listed when it was asked at a time, sorted, or those
// of them that have a DeviceTwin. It returns who joined or left, and the namespaces that show it.
func (q *record) list(devices []string, asked time.Time) (changed, namespaces []string) {
	if q.selection == nil || asked.Before(q.selection.listed) {
		return nil, nil
	}
	return q.selection.take(devices, asked), slices.Collect(maps.Keys(q.selection.users))
}

// listed tells whether the hub has been asked for the devices of the answer.
func (q *record) listed() bool { return q.selection != nil && !q.selection.listed.IsZero() }
