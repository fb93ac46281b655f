package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// maxMemberships is the schema's bound of status.memberships.
const maxMemberships = 32

// maxQueries is where status.queries is cut; the schema leaves room for ",…" behind it.
const maxQueries = 1024

// inOneLine joins names for a column, whole, as far as there is room.
func inOneLine(names []string) string {
	line := strings.Join(names, ",")
	if len(line) <= maxQueries {
		return line
	}
	return line[:strings.LastIndexByte(line[:maxQueries+1], ',')] + ",…"
}

// memberships remembers which devices each TwinQuery selects, and wakes the
// DeviceTwins of those that joined or left. The hub's answer is the base; a twin that
// was read since is judged by itself. TwinQueries that ask the same share both.
type memberships struct {
	clock   clock.PassiveClock
	reader  client.Reader
	changed func(types.NamespacedName) // is told of DeviceTwins that joined or left
	metrics *Metrics

	mu      sync.RWMutex
	answers map[question]*answer
	// asks is what each TwinQuery asks; the zero question when that cannot be asked.
	asks map[types.NamespacedName]question
}

// answer is what is known of who satisfies a condition.
type answer struct {
	condition *query.Condition
	// devices are those that the hub listed, or modules, as device/module; sorted.
	devices []string
	// listed is when the hub was asked for them, zero for never.
	listed time.Time
	// judged are the twins that were read since.
	judged map[hub.ID]verdict
	// disputed are what twins were judged that the hub's answer contradicted for long, and
	// since when.
	disputed map[hub.ID]verdict
	// users are how many TwinQueries of each namespace ask for it.
	users map[string]int
}

// verdict is whether a twin satisfied a condition when it was read.
type verdict struct {
	member bool
	at     time.Time
}

// indexLag is how late a hub's answer may be: it counts for less than a twin that was
// read so long before it. IoT Hub's index was seen to be late by one to six seconds.
const indexLag = 30 * time.Second

// longestDispute is how long it is remembered that the hub's answer contradicts a twin
// that was read: one that is not read again within it may be gone.
const longestDispute = time.Hour

func newMemberships(c clock.PassiveClock, reader client.Reader, metrics *Metrics, changed func(types.NamespacedName)) *memberships {
	return &memberships{
		clock: c, reader: reader, changed: changed, metrics: metrics,
		answers: map[question]*answer{}, asks: map[types.NamespacedName]question{},
	}
}

// set notes what a query asks, and the hub's new answer.
func (m *memberships) set(ctx context.Context, name types.NamespacedName, found finding) {
	m.mu.Lock()
	before, known := m.asks[name]
	var left, joined []string
	if !known || before != found.question {
		left = m.leave(name)
		joined = m.join(name, found)
	}
	m.mu.Unlock()
	if !found.said.large {
		m.list(ctx, found.question, found.said.devices, found.asked)
	}
	m.wake(ctx, name.Namespace, before.hub, left)
	m.wake(ctx, name.Namespace, found.question.hub, joined)
}

// leave has to be called with the lock held; it returns whom the query selected.
func (m *memberships) leave(name types.NamespacedName) []string {
	q := m.asks[name]
	delete(m.asks, name)
	a := m.answers[q]
	if a == nil {
		return nil
	}
	if a.users[name.Namespace]--; a.users[name.Namespace] == 0 {
		delete(a.users, name.Namespace)
	}
	if len(a.users) == 0 {
		delete(m.answers, q)
	}
	return a.members()
}

// join has to be called with the lock held; it returns whom the query selects.
func (m *memberships) join(name types.NamespacedName, found finding) []string {
	if found.condition == nil {
		m.asks[name] = question{}
		return nil
	}
	m.asks[name] = found.question
	a := m.answers[found.question]
	if a == nil {
		a = &answer{condition: found.condition, judged: map[hub.ID]verdict{}, disputed: map[hub.ID]verdict{}, users: map[string]int{}}
		m.answers[found.question] = a
	}
	a.users[name.Namespace]++
	return a.members()
}

// list stores what the hub was asked for at a time: the devices that satisfy a
// condition, sorted, or those of them that have a DeviceTwin.
func (m *memberships) list(ctx context.Context, q question, devices []string, asked time.Time) {
	m.mu.Lock()
	a := m.answers[q]
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
func (m *memberships) listManaged(ctx context.Context, q question, devices []string, asked time.Time) {
	first := !m.listed(q)
	m.list(ctx, q, devices, asked)
	if !first {
		return
	}
	m.mu.RLock()
	var namespaces []string
	if a := m.answers[q]; a != nil {
		namespaces = slices.Collect(maps.Keys(a.users))
	}
	m.mu.RUnlock()
	for _, namespace := range namespaces {
		m.wake(ctx, namespace, q.hub, m.leftover(ctx, q, namespace, devices))
	}
}

// listed tells whether the hub was ever asked for the devices of an answer.
func (m *memberships) listed(q question) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	a := m.answers[q]
	return a != nil && !a.listed.IsZero()
}

// leftover are the devices whose status names a query that does not list them: of a
// manager before this one, or of another condition of the query.
func (m *memberships) leftover(ctx context.Context, q question, namespace string, devices []string) []string {
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

// take returns who joined or left, as far as that is known.
func (a *answer) take(devices []string, asked time.Time) []string {
	var changed []string
	old := asked.Add(-indexLag)
	for id, judged := range a.judged {
		_, listed := slices.BinarySearch(devices, id.String())
		if judged.member == listed {
			delete(a.disputed, id)
		} else if judged.at.Before(old) {
			a.disputed[id] = verdict{member: judged.member, at: asked}
			changed = append(changed, id.String())
		}
	}
	changed = append(changed, difference(a.devices, devices)...)
	maps.DeleteFunc(a.judged, func(_ hub.ID, v verdict) bool { return v.at.Before(old) })
	over := asked.Add(-longestDispute)
	maps.DeleteFunc(a.disputed, func(_ hub.ID, v verdict) bool { return v.at.Before(over) })
	a.devices, a.listed = devices, asked
	return changed
}

// members are all that are known to be selected.
func (a *answer) members() []string {
	members := slices.Clone(a.devices)
	for id, judged := range a.judged {
		if judged.member {
			members = append(members, id.String())
		}
	}
	return members
}

// judge holds a twin that was read against every query of its object's namespace and
// hub.
func (m *memberships) judge(namespace string, at types.NamespacedName, twin *hub.Twin) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var document map[string]any
	for q, known := range m.answers {
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
		known.judged[twin.ID] = verdict{member: member, at: m.clock.Now()}
		if before, disputed := known.disputed[twin.ID]; disputed {
			delete(known.disputed, twin.ID)
			if before.member == member {
				m.metrics.disagreed()
			}
		}
	}
	return nil
}

// forget drops a query that is gone.
func (m *memberships) forget(ctx context.Context, query types.NamespacedName) {
	m.mu.Lock()
	at := m.asks[query].hub
	left := m.leave(query)
	m.mu.Unlock()
	m.wake(ctx, query.Namespace, at, left)
}

// wake has the DeviceTwins of a namespace and hub visited that are of some devices.
func (m *memberships) wake(ctx context.Context, namespace string, conn types.NamespacedName, devices []string) {
	for _, device := range devices {
		wakeTwins(ctx, m.reader, device, m.changed, func(obj *v1alpha1.DeviceTwin) bool {
			return obj.Namespace == namespace && fieldindex.HubOf(obj) == conn
		})
	}
}

// difference is what is in one of two sorted lists and not in the other.
func difference(a, b []string) []string {
	var out []string
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			a, b = a[1:], b[1:]
		case a[0] < b[0]:
			out, a = append(out, a[0]), a[1:]
		default:
			out, b = append(out, b[0]), b[1:]
		}
	}
	return slices.Concat(out, a, b)
}

// of names the queries that select a device. A query that this process has not
// had answered yet keeps the place that it has in the status.
func (m *memberships) of(ctx context.Context, reader client.Reader, obj *v1alpha1.DeviceTwin, hub types.NamespacedName) ([]string, error) {
	var queries v1alpha1.TwinQueryList
	if err := reader.List(ctx, &queries, client.InNamespace(obj.Namespace), fieldindex.ByHub(hub)); err != nil {
		return nil, fmt.Errorf("listing TwinQueries: %w", err)
	}
	var names []string
	m.mu.RLock()
	for i := range queries.Items {
		name := queries.Items[i].Name
		q, answered := m.asks[client.ObjectKeyFromObject(&queries.Items[i])]
		member := slices.Contains(obj.Status.Memberships, name)
		if answered {
			member = m.answers[q].has(fieldindex.IDOf(obj), member)
		}
		if member {
			names = append(names, name)
		}
	}
	m.mu.RUnlock()
	slices.Sort(names)
	return names[:min(len(names), maxMemberships)], nil
}

// has tells whether a twin is selected, by the newer evidence; without any it is as
// it was.
func (a *answer) has(id hub.ID, was bool) bool {
	if a == nil {
		return false
	}
	if judged, ok := a.judged[id]; ok {
		return judged.member
	}
	if a.listed.IsZero() {
		return was
	}
	_, listed := slices.BinarySearch(a.devices, id.String())
	return listed
}
