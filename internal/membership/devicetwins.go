package membership

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// maxMemberships is the schema's bound of status.memberships.
const maxMemberships = 32

// Of names the queries that select a DeviceTwin's twin, as many as a status holds, sorted. A
// query that was not answered yet keeps the place that it has in the status.
func (m *Memberships) Of(ctx context.Context, obj *v1alpha1.DeviceTwin, conn types.NamespacedName) ([]string, error) {
	var queries v1alpha1.TwinQueryList
	if err := m.opts.Reader.List(ctx, &queries, client.InNamespace(obj.Namespace), fieldindex.ByHub(conn)); err != nil {
		return nil, fmt.Errorf("listing TwinQueries: %w", err)
	}
	var names []string
	m.mu.RLock()
	for i := range queries.Items {
		name := queries.Items[i].Name
		member := slices.Contains(obj.Status.Memberships, name)
		if one := m.users[client.ObjectKeyFromObject(&queries.Items[i])]; one.answered {
			member = one.shows != nil && one.shows.selection.has(fieldindex.IDOf(obj), member)
		}
		if member {
			names = append(names, name)
		}
	}
	m.mu.RUnlock()
	slices.Sort(names)
	return names[:min(len(names), maxMemberships)], nil
}

// Observe holds a twin that was read against every query of a namespace and HubConnection.
func (m *Memberships) Observe(namespace string, conn types.NamespacedName, twin *hub.Twin) error {
	disagreed, err := m.judge(namespace, conn, twin)
	for range disagreed {
		m.opts.Disagreed()
	}
	return err
}

// judge returns how many answers the twin contradicts again.
func (m *Memberships) judge(namespace string, conn types.NamespacedName, twin *hub.Twin) (disagreed int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var document map[string]any
	for of, one := range m.records {
		if one.selection == nil || one.selection.users[namespace] == 0 || of.hub != conn || (of.from == hub.Modules) != (twin.ID.Module != "") {
			continue
		}
		if document == nil {
			if document, err = twin.Document(); err != nil {
				return 0, err
			}
		}
		if one.selection.judge(twin.ID, one.condition.Matches(document), m.opts.Clock.Now()) {
			disagreed++
		}
	}
	return disagreed, nil
}

// listManaged takes over which managed twins belong to an answer that was not listed with its
// query: until the first time its members are who they were.
func (m *Memberships) listManaged(ctx context.Context, q *record, devices []string, asked time.Time) {
	m.mu.Lock()
	first := !q.listed()
	changed, namespaces := q.list(devices, asked)
	m.mu.Unlock()
	m.wake(ctx, q, changed, namespaces...)
	if !first {
		return
	}
	for _, namespace := range namespaces {
		m.wake(ctx, q, m.leftover(ctx, q, namespace, devices), namespace)
	}
}

// leftover are the devices whose status names a query that does not list them: of a
// manager before this one, or of another condition of the query.
func (m *Memberships) leftover(ctx context.Context, q *record, namespace string, devices []string) []string {
	twins, err := fieldindex.TwinsAt(ctx, m.opts.Reader, q.hub, q.from, client.InNamespace(namespace))
	if err != nil {
		log.FromContext(ctx).Error(err, "who is selected no more waits for its twin to be read")
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var left []string
	for i := range twins {
		id := fieldindex.IDOf(&twins[i]).String()
		named := slices.ContainsFunc(twins[i].Status.Memberships, func(name string) bool {
			return m.users[types.NamespacedName{Namespace: namespace, Name: name}].shows == q
		})
		if _, listed := slices.BinarySearch(devices, id); named && !listed {
			left = append(left, id)
		}
	}
	return left
}

// wake has the DeviceTwins of some namespaces reconciled that are of some devices of the hub
// of a record.
func (m *Memberships) wake(ctx context.Context, q *record, devices []string, namespaces ...string) {
	for _, device := range devices {
		fieldindex.Trigger(ctx, m.opts.Reader, device, m.opts.Changed, func(obj *v1alpha1.DeviceTwin) bool {
			return slices.Contains(namespaces, obj.Namespace) && fieldindex.HubOf(obj) == q.hub
		})
	}
}
