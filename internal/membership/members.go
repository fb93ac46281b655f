package membership

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// maxMemberships is the schema's bound of status.memberships.
const maxMemberships = 32

// members remember which devices each TwinQuery selects, and triggers the
// DeviceTwins of those that joined or left. The hub's answer is the base; a twin that
// was read since is judged by itself. TwinQueries that ask the same share both.
type members struct {
	clock   clock.PassiveClock
	reader  client.Reader
	changed func(types.NamespacedName) // is told of DeviceTwins that joined or left
	// disagreed counts the twins that contradict again what a later answer said of them.
	disagreed func()

	mu       sync.RWMutex
	selected map[key]*selection
	// asks is what each TwinQuery asks; the zero question when that cannot be asked.
	asks map[types.NamespacedName]key
}

func newMembers(c clock.PassiveClock, reader client.Reader, changed func(types.NamespacedName), disagreed func()) *members {
	return &members{
		clock: c, reader: reader, changed: changed, disagreed: disagreed,
		selected: map[key]*selection{}, asks: map[types.NamespacedName]key{},
	}
}

// set notes what a query asks, and the hub's new answer.
func (m *members) set(ctx context.Context, name types.NamespacedName, found Evaluation) {
	m.mu.Lock()
	before, known := m.asks[name]
	var left, joined []string
	if !known || before != found.question {
		left = m.leave(name)
		joined = m.join(name, found)
	}
	m.mu.Unlock()
	if !found.Large {
		m.list(ctx, found.question, found.Devices, found.At)
	}
	m.wake(ctx, name.Namespace, before.hub, left)
	m.wake(ctx, name.Namespace, found.question.hub, joined)
}

// leave has to be called with the lock held; it returns whom the query selected.
func (m *members) leave(name types.NamespacedName) []string {
	q := m.asks[name]
	delete(m.asks, name)
	a := m.selected[q]
	if a == nil {
		return nil
	}
	if a.users[name.Namespace]--; a.users[name.Namespace] == 0 {
		delete(a.users, name.Namespace)
	}
	if len(a.users) == 0 {
		delete(m.selected, q)
	}
	return a.members()
}

// join has to be called with the lock held; it returns whom the query selects.
func (m *members) join(name types.NamespacedName, found Evaluation) []string {
	if found.Condition == nil {
		m.asks[name] = key{}
		return nil
	}
	m.asks[name] = found.question
	a := m.selected[found.question]
	if a == nil {
		a = &selection{condition: found.Condition, judged: map[hub.ID]judgement{}, disputed: map[hub.ID]judgement{}, users: map[string]int{}}
		m.selected[found.question] = a
	}
	a.users[name.Namespace]++
	return a.members()
}

// list stores what the hub was asked for at a time: the devices that satisfy a
// condition, sorted, or those of them that have a DeviceTwin.
func (m *members) list(ctx context.Context, q key, devices []string, asked time.Time) {
	m.mu.Lock()
	a := m.selected[q]
	if a == nil || asked.Before(a.listed) {
		m.mu.Unlock()
		return
	}
	changed := a.take(devices, asked)
	namespaces := slices.Collect(maps.Keys(a.users))
	m.mu.Unlock()
	for _, namespace := range namespaces {
		m.wake(ctx, namespace, q.hub, changed)
	}
}

// listManaged is list for an answer that was not listed with its query: until the first
// time its members are who they were.
func (m *members) listManaged(ctx context.Context, q key, devices []string, asked time.Time) {
	first := !m.listed(q)
	m.list(ctx, q, devices, asked)
	if !first {
		return
	}
	m.mu.RLock()
	var namespaces []string
	if a := m.selected[q]; a != nil {
		namespaces = slices.Collect(maps.Keys(a.users))
	}
	m.mu.RUnlock()
	for _, namespace := range namespaces {
		m.wake(ctx, namespace, q.hub, m.leftover(ctx, q, namespace, devices))
	}
}

// listed tells whether the hub has been asked for the devices of an answer.
func (m *members) listed(q key) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	a := m.selected[q]
	return a != nil && !a.listed.IsZero()
}

// leftover are the devices whose status names a query that does not list them: of a
// manager before this one, or of another condition of the query.
func (m *members) leftover(ctx context.Context, q key, namespace string, devices []string) []string {
	twins, err := fieldindex.TwinsAt(ctx, m.reader, q.hub, q.from, client.InNamespace(namespace))
	if err != nil {
		log.FromContext(ctx).Error(err, "who is selected no more waits for its twin to be read")
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var left []string
	for i := range twins {
		id := fieldindex.IDOf(&twins[i]).String()
		named := slices.ContainsFunc(twins[i].Status.Memberships, func(name string) bool {
			return m.asks[types.NamespacedName{Namespace: namespace, Name: name}] == q
		})
		if _, listed := slices.BinarySearch(devices, id); named && !listed {
			left = append(left, id)
		}
	}
	return left
}

// judge holds a twin that was read against every query of its object's namespace and
// hub.
func (m *members) judge(namespace string, at types.NamespacedName, twin *hub.Twin) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var document map[string]any
	for q, known := range m.selected {
		if known.users[namespace] == 0 || q.hub != at || (q.from == hub.Modules) != (twin.ID.Module != "") {
			continue
		}
		if document == nil {
			var err error
			if document, err = twin.Document(); err != nil {
				return err
			}
		}
		member := known.condition.Matches(document)
		known.judged[twin.ID] = judgement{member: member, at: m.clock.Now()}
		if before, disputed := known.disputed[twin.ID]; disputed {
			delete(known.disputed, twin.ID)
			if before.member == member {
				m.disagreed()
			}
		}
	}
	return nil
}

// forget drops a query that is gone.
func (m *members) forget(ctx context.Context, query types.NamespacedName) {
	m.mu.Lock()
	at := m.asks[query].hub
	left := m.leave(query)
	m.mu.Unlock()
	m.wake(ctx, query.Namespace, at, left)
}

// wake has the DeviceTwins of a namespace and hub reconciled that are of some devices.
func (m *members) wake(ctx context.Context, namespace string, conn types.NamespacedName, devices []string) {
	for _, device := range devices {
		fieldindex.Trigger(ctx, m.reader, device, m.changed, func(obj *v1alpha1.DeviceTwin) bool {
			return obj.Namespace == namespace && fieldindex.HubOf(obj) == conn
		})
	}
}

// of names the queries that select a device. A query that this process has not
// had answered yet keeps the place that it has in the status.
func (m *members) of(ctx context.Context, obj *v1alpha1.DeviceTwin, hub types.NamespacedName) ([]string, error) {
	var queries v1alpha1.TwinQueryList
	if err := m.reader.List(ctx, &queries, client.InNamespace(obj.Namespace), fieldindex.ByHub(hub)); err != nil {
		return nil, fmt.Errorf("listing TwinQueries: %w", err)
	}
	var names []string
	m.mu.RLock()
	for i := range queries.Items {
		name := queries.Items[i].Name
		q, answered := m.asks[client.ObjectKeyFromObject(&queries.Items[i])]
		member := slices.Contains(obj.Status.Memberships, name)
		if answered {
			member = m.selected[q].has(fieldindex.IDOf(obj), member)
		}
		if member {
			names = append(names, name)
		}
	}
	m.mu.RUnlock()
	slices.Sort(names)
	return names[:min(len(names), maxMemberships)], nil
}
