package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// maxMemberships is the schema's bound of status.memberships.
const maxMemberships = 32

// memberships remembers which devices each TwinQuery selected last, and wakes the
// DeviceTwins of those that joined or left.
type memberships struct {
	changed chan event.GenericEvent // DeviceTwins known by namespace, hub and device

	mu      sync.RWMutex
	answers map[types.NamespacedName]answer // by TwinQuery
}

type answer struct {
	hub     types.NamespacedName
	devices []string // or modules, as device/module; sorted
}

func newMemberships() *memberships {
	return &memberships{changed: make(chan event.GenericEvent), answers: map[types.NamespacedName]answer{}}
}

// set stores a query's new answer. devices are sorted.
func (m *memberships) set(ctx context.Context, query, hub types.NamespacedName, devices []string) {
	m.mu.Lock()
	before := m.answers[query]
	m.answers[query] = answer{hub: hub, devices: devices}
	m.mu.Unlock()
	m.wake(ctx, query.Namespace, hub, difference(before.devices, devices))
}

// forget drops a query that is gone.
func (m *memberships) forget(ctx context.Context, query types.NamespacedName) {
	m.mu.Lock()
	before := m.answers[query]
	delete(m.answers, query)
	m.mu.Unlock()
	m.wake(ctx, query.Namespace, before.hub, before.devices)
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
			_, member = slices.BinarySearch(found.devices, idOf(obj).String())
		}
		if member {
			names = append(names, name)
		}
	}
	m.mu.RUnlock()
	slices.Sort(names)
	return names[:min(len(names), maxMemberships)], nil
}
