package main

import (
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/devicetwin-io/devicetwin-operator/internal/lease"
)

// election is how managers that stand by elect a leader.
type election struct {
	namespace string
	// The defaults are those of Kubernetes' own components.
	lease, renew, retry time.Duration
}

// lock returns the lock of the election, nil where there is none.
func (o options) lock(config *rest.Config, name string) (*lease.Lock, error) {
	if !o.leaderElect {
		return nil, nil
	}
	e := o.election
	if e.renew >= e.lease || e.retry >= e.renew {
		return nil, fmt.Errorf("--leader-elect-lease-duration (%s) has to be longer than --leader-elect-renew-deadline (%s), and that longer than --leader-elect-retry-period (%s)",
			e.lease, e.renew, e.retry)
	}
	namespace, err := e.where()
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("naming this manager in the leader election: %w", err)
	}
	config = rest.AddUserAgent(config, "leader-election")
	config.Timeout = max(time.Second, e.renew/2) // one request that hangs must not lose the Lease
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the leader election: %w", err)
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, namespace, name, kube.CoreV1(), kube.CoordinationV1(),
		resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())})
	if err != nil {
		return nil, fmt.Errorf("making the lock of the leader election: %w", err)
	}
	return lease.New(lock, e.lease, nil), nil
}

// where is the namespace of the Lease: the manager's own in a cluster.
func (e election) where() (string, error) {
	if e.namespace != "" {
		return e.namespace, nil
	}
	namespace, _, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).Namespace()
	if err != nil {
		return "", fmt.Errorf("finding the namespace for the leader election (name one with --leader-elect-namespace): %w", err)
	}
	return namespace, nil
}
