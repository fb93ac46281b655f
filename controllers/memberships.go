package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// maxMemberships is the schema's bound of status.memberships.
const maxMemberships = 32

// memberships remembers which devices each TwinQuery selects, and wakes the
// DeviceTwins of those that joined or left. The hub's answer is the base; a twin that
// was read since is judged by itself.
type memberships struct {
	clock   clock.PassiveClock
	changed chan event.GenericEvent // DeviceTwins known by namespace, hub and device

	mu      sync.RWMutex
	answers map[types.NamespacedName]answer // by TwinQuery
}

type answer struct {
	hub       types.NamespacedName
	modules   bool
	condition *query.Condition // nil while there is none that can be asked
	devices   []string         // or modules, as device/module; sorted
	// judged are the twins that were read since.
	judged map[hub.ID]verdict
}

// verdict is whether a twin satisfied a condition when it was read.
type verdict struct {
	member bool
	at     time.Time
}

// indexLag is how late a hub's answer may be: it counts for less than a twin that was
// read so long before it. IoT Hub's index was seen to be late by one to six seconds.
const indexLag = 30 * time.Second

func newMemberships(c clock.PassiveClock) *memberships {
	return &memberships{clock: c, changed: make(chan event.GenericEvent), answers: map[types.NamespacedName]answer{}}
}

// set stores a query's new answer.
func (m *memberships) set(ctx context.Context, name, at types.NamespacedName, found finding) {
	m.mu.Lock()
	before := m.answers[name]
	now := answer{hub: at, modules: found.question.from == hub.Modules, condition: found.condition, devices: found.devices}
	if before.condition != nil && now.condition != nil && before.hub == at && before.condition.String() == now.condition.String() {
		now.judged = maps.Clone(before.judged)
	}
	maps.DeleteFunc(now.judged, func(_ hub.ID, v verdict) bool { return v.at.Before(found.asked.Add(-indexLag)) })
	changed := difference(before.devices, now.devices)
	for id, judged := range before.judged {
		if judged.member != now.has(id) {
			changed = append(changed, id.String())
		}
	}
	m.answers[name] = now
	m.mu.Unlock()
	m.wake(ctx, name.Namespace, at, changed)
}

// judge holds a twin that was read against every query of its object's namespace and
// hub.
func (m *memberships) judge(namespace string, at types.NamespacedName, twin *hub.Twin) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var document map[string]any
	for name, known := range m.answers {
		if name.Namespace != namespace || known.hub != at || known.condition == nil || known.modules != (twin.ID.Module != "") {
			continue
		}
		if document == nil {
			var err error
			if document, err = twin.Document(); err != nil {
				return err
			}
		}
		if known.judged == nil {
			known.judged = map[hub.ID]verdict{}
			m.answers[name] = known
		}
		known.judged[twin.ID] = verdict{member: known.condition.Matches(document), at: m.clock.Now()}
	}
	return nil
}

// forget drops a query that is gone.
func (m *memberships) forget(ctx context.Context, query types.NamespacedName) {
	m.mu.Lock()
	before := m.answers[query]
	delete(m.answers, query)
	m.mu.Unlock()
	members := slices.Clone(before.devices)
	for id, judged := range before.judged {
		if judged.member {
			members = append(members, id.String())
		}
	}
	m.wake(ctx, query.Namespace, before.hub, members)
}

func (m *memberships) wake(ctx context.Context, namespace string, hub types.NamespacedName, devices []string) {
	for _, device := range devices {
		twin := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}
		twin.Spec.HubRef = v1alpha1.HubReference{Namespace: hub.Namespace, Name: hub.Name}
		twin.Spec.DeviceID, twin.Spec.ModuleID, _ = strings.Cut(device, "/")
		if !send(ctx, m.changed, twin) {
			return
		}
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
	if err := reader.List(ctx, &queries, client.InNamespace(obj.Namespace), client.MatchingFields{hubIndex: hub.String()}); err != nil {
		return nil, fmt.Errorf("listing TwinQueries: %w", err)
	}
	var names []string
	m.mu.RLock()
	for i := range queries.Items {
		name := queries.Items[i].Name
		found, answered := m.answers[client.ObjectKeyFromObject(&queries.Items[i])]
		member := slices.Contains(obj.Status.Memberships, name)
		if answered {
			member = found.has(idOf(obj))
		}
		if member {
			names = append(names, name)
		}
	}
	m.mu.RUnlock()
	slices.Sort(names)
	return names[:min(len(names), maxMemberships)], nil
}

// has tells whether the query selects a twin, by the newer evidence.
func (a answer) has(id hub.ID) bool {
	if judged, ok := a.judged[id]; ok {
		return judged.member
	}
	_, listed := slices.BinarySearch(a.devices, id.String())
	return listed
}
