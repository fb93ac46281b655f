package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/audit"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/controlplane"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

// What the store is told: room for 100,000 objects with all their versions of five
// minutes, which is how long the API server keeps old ones.
const (
	storeQuota    = "--quota-backend-bytes=8589934592"
	storeCompacts = "--etcd-compaction-interval=5m"
)

// environment is a cluster with hubs and, once it is started, a manager.
type environment struct {
	*progress
	opts    options
	work    string
	sup     *process.Supervisor
	cluster *controlplane.Cluster
	kube    client.Client
	hubs    []*hub
	manager *manager
	writes  *writes

	managerKubeconfig string
	lastWrite         activity
	// died is closed when one of its processes ended by itself, and death says how.
	died  <-chan struct{}
	death func() error
}

// newEnvironment starts a cluster that knows the operator's kinds, and nothing else yet.
func (b *bench) newEnvironment(ctx context.Context) (_ *environment, err error) {
	work, logs, err := b.folders()
	if err != nil {
		return nil, err
	}
	life, callOff := context.WithCancelCause(context.WithoutCancel(ctx))
	e := &environment{
		progress: b.progress, opts: b.opts, work: work, sup: process.NewSupervisor(logs, callOff),
		died: life.Done(), death: func() error { return context.Cause(life) },
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	ctx, stop := e.within(ctx)
	defer stop(nil)
	e.cluster, err = controlplane.Start(ctx, e.sup, controlplane.Options{
		Assets: b.opts.assets, Dir: filepath.Join(work, "cluster"), Logs: logs,
		EtcdArgs: []string{storeQuota}, APIServerArgs: []string{storeCompacts},
	})
	if err != nil {
		return nil, err
	}
	e.managerKubeconfig = filepath.Join(work, "manager.kubeconfig")
	parts, err := e.cluster.Install(ctx, b.opts.root, e.managerKubeconfig)
	if err != nil {
		return nil, err
	}
	e.writes = newWrites(&audit.Trail{Path: e.cluster.AuditLog, User: parts.User()})
	e.kube, err = newClient(e.cluster.Kubeconfig)
	return e, err
}

// folders makes an environment's folders for data and for logs.
func (b *bench) folders() (work, logs string, err error) {
	b.environments++
	if work, err = os.MkdirTemp("", "devicetwin-bench-"); err != nil {
		return "", "", err
	}
	logs = filepath.Join(work, "logs")
	if b.opts.keepLogs != "" {
		logs = filepath.Join(b.opts.keepLogs, fmt.Sprintf("%02d-%s", b.environments, b.row))
	}
	return work, logs, errors.Join(os.RemoveAll(logs), os.MkdirAll(logs, 0o755))
}

// newClient is a client as the manager has one: without a rate limit of its own.
func newClient(kubeconfig string) (client.Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	// Files that are followed are missed when the cluster is gone.
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, err
	}
	config.QPS = -1
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}

// within derives a context that ends, too, when one of the environment's processes
// ends by itself.
func (e *environment) within(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-e.died:
			cancel(e.death())
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// close ends everything, and removes what it wrote.
func (e *environment) close() error {
	return errors.Join(e.sup.StopAll(), os.RemoveAll(e.work))
}
