package hubaccess

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
)

// otherShardAge is how old what is known of the HubConnections of other shards may
// be. It bounds how often the API server is asked for them.
const otherShardAge = 10 * time.Second

// otherShards are the HubConnections that this manager does not keep, since they are
// not of its shard. They are not in its cache, and asked for when needed.
type otherShards struct {
	shard  shard.Shard
	reader client.Reader // not cached
	clock  clock.PassiveClock

	mu     sync.Mutex // held while the API server is asked, so that it is asked once
	read   map[types.NamespacedName]lookup
	listed []v1alpha1.HubConnection
	at     time.Time // when they were listed
}

// lookup is what the API server said of one name.
type lookup struct {
	found *v1alpha1.HubConnection
	err   error
	at    time.Time
}

func newOtherShards(part shard.Shard, reader client.Reader, clock clock.PassiveClock) *otherShards {
	return &otherShards{shard: part, reader: reader, clock: clock, read: map[types.NamespacedName]lookup{}}
}

// get reads a HubConnection that is not in the cache; absent is why it is not, and
// the answer where there are no shards.
func (o *otherShards) get(ctx context.Context, key types.NamespacedName, absent error) (*v1alpha1.HubConnection, error) {
	if !o.shard.Labelled() {
		return nil, absent
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clock.Now()
	if known, ok := o.read[key]; ok && now.Sub(known.at) < otherShardAge {
		return known.found, known.err
	}
	for name, known := range o.read {
		if now.Sub(known.at) >= otherShardAge {
			delete(o.read, name)
		}
	}
	var found v1alpha1.HubConnection
	err := o.reader.Get(ctx, key, &found)
	if client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	o.read[key] = lookup{found: &found, err: err, at: now}
	return &found, err
}

// forget drops what was read of a HubConnection.
func (o *otherShards) forget(key types.NamespacedName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.read, key)
}

// all lists them.
func (o *otherShards) all(ctx context.Context) ([]v1alpha1.HubConnection, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clock.Now()
	if !o.at.IsZero() && now.Sub(o.at) < otherShardAge {
		return o.listed, nil
	}
	var listed []v1alpha1.HubConnection
	for _, namespace := range o.shard.Namespaces() { // a manager has no rights beyond them
		var list v1alpha1.HubConnectionList
		if err := o.reader.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("listing the HubConnections of other shards: %w", err)
		}
		for i := range list.Items {
			if !o.shard.Holds(&list.Items[i]) {
				listed = append(listed, list.Items[i])
			}
		}
	}
	o.listed, o.at = listed, now
	return listed, nil
}

// admit refuses a host that a HubConnection of another shard uses. The one that was created
// first goes on, so that no later one can take a hub from those who use it.
func (o *otherShards) admit(ctx context.Context, conn *v1alpha1.HubConnection, host string) error {
	if !o.shard.Labelled() {
		return nil
	}
	others, err := o.all(ctx)
	if err != nil {
		return err
	}
	for i := range others {
		other := &others[i]
		if other.UID == conn.UID || !serves(other, host) || !elder(other, conn) {
			continue
		}
		name := "a HubConnection of another namespace"
		if other.Namespace == conn.Namespace {
			name = fmt.Sprintf("HubConnection %q", other.Name)
		}
		log.FromContext(ctx).Info("two shards have HubConnections of one host", "host", host, "other", client.ObjectKeyFromObject(other).String())
		return outcome.Stall(v1alpha1.ReasonHostInTwoShards, fmt.Sprintf(
			"%s leads to %s as well, is older, and is not of this manager's shard (--watch-label-selector=%s): all HubConnections of one hub, "+
				"with their DeviceTwins and TwinQueries, need the labels of one shard", name, host, o.shard))
	}
	return nil
}

// serves tells whether a HubConnection is in use by a manager, as far as can be told:
// one whose credential is refused is not.
func serves(conn *v1alpha1.HubConnection, host string) bool {
	return conn.DeletionTimestamp.IsZero() && hub.ClassicName(strings.ToLower(conn.Status.HostName)) == host &&
		!meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionStalled)
}

// elder orders HubConnections in a way on which all managers agree.
func elder(a, b *v1alpha1.HubConnection) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.UID < b.UID
}
