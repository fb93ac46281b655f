package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
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

// looksApart is how much longer the pause after a look at all objects is.
const looksApart = 5

// creators is how many objects are created at a time.
const creators = 32

// What the store is told: room for 100,000 objects with all their versions of five
// minutes, which is how long the API server keeps old ones.
const (
	storeQuota    = "--quota-backend-bytes=8589934592"
	storeCompacts = "--etcd-compaction-interval=5m"
)

// bed is a cluster with hubs and, once it is started, a manager.
type bed struct {
	bench   *bench
	work    string
	sup     *process.Supervisor
	cluster *controlplane.Cluster
	kube    client.Client
	hubs    []*hub
	manager *manager
	writes  *writes

	managerKubeconfig string
	cancel            context.CancelCauseFunc
	stirred           activity
	died              context.Context
}

// newBed starts a cluster that knows the operator's kinds, and nothing else yet. What
// dies in it ends its context.
func (b *bench) newBed(parent context.Context) (d *bed, ctx context.Context, err error) {
	work, logs, err := b.folders()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(parent)
	d = &bed{bench: b, work: work, sup: process.NewSupervisor(logs, cancel), cancel: cancel, died: ctx}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	b.say("etcd and kube-apiserver start")
	d.cluster, err = controlplane.Start(ctx, d.sup, controlplane.Options{
		Assets: b.opts.assets, Dir: filepath.Join(work, "cluster"), Logs: logs,
		EtcdArgs: []string{storeQuota}, APIServerArgs: []string{storeCompacts},
	})
	if err != nil {
		return nil, nil, err
	}
	d.managerKubeconfig = filepath.Join(work, "manager.kubeconfig")
	parts, err := d.cluster.Install(ctx, b.opts.root, d.managerKubeconfig)
	if err != nil {
		return nil, nil, err
	}
	d.writes = newWrites(&audit.Trail{Path: d.cluster.AuditLog, User: parts.User()})
	d.kube, err = newClient(d.cluster.Kubeconfig)
	return d, ctx, err
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

// close ends everything, and removes what it wrote.
func (d *bed) close() error {
	err := d.sup.StopAll()
	d.cancel(nil)
	return errors.Join(err, os.RemoveAll(d.work))
}

// create creates the DeviceTwins of a set from one number to another, both included,
// as fast as the API server takes them.
func (d *bed) create(ctx context.Context, h *hub, set string, from, to int) ([]*v1alpha1.DeviceTwin, error) {
	objects := make([]*v1alpha1.DeviceTwin, to-from+1)
	var created atomic.Int64
	err := d.parallel(ctx, "DeviceTwins are created", creators, len(objects), &created, func(ctx context.Context, i int) error {
		objects[i] = deviceTwin(h.name, set, from+i)
		objects[i].Labels = h.labels
		return d.kube.Create(ctx, objects[i])
	})
	return objects, err
}

// parallel does something n times, so many at a time, and says how far it is.
func (d *bed) parallel(ctx context.Context, phase string, atATime, n int, count *atomic.Int64, do func(context.Context, int) error) error {
	working, ctx := errgroup.WithContext(ctx)
	working.SetLimit(atATime)
	told := time.Now()
	for i := range n {
		working.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			defer count.Add(1)
			return do(ctx, i)
		})
		if time.Since(told) >= progressEvery {
			told = time.Now()
			d.bench.say("%s: %d of %d", phase, count.Load(), n)
		}
	}
	return working.Wait()
}

// ready counts the DeviceTwins of the bed that are Ready at their newest generation.
func (d *bed) ready(ctx context.Context) (int, error) {
	count := 0
	next := ""
	for {
		var list v1alpha1.DeviceTwinList
		if err := d.kube.List(ctx, &list, client.InNamespace(namespace), client.Limit(2000), client.Continue(next)); err != nil {
			return 0, fmt.Errorf("list DeviceTwins: %w", err)
		}
		for i := range list.Items {
			if isReady(&list.Items[i]) {
				count++
			}
		}
		if next = list.Continue; next == "" {
			return count, nil
		}
	}
}

func isReady(twin *v1alpha1.DeviceTwin) bool {
	for _, c := range twin.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			return c.Status == "True" && c.ObservedGeneration == twin.Generation
		}
	}
	return false
}

// awaitReady waits until n DeviceTwins are Ready. The audit log says when a look is
// worth its while.
func (d *bed) awaitReady(ctx context.Context, n int, limit time.Duration) error {
	looked, pause := time.Time{}, time.Second
	return d.bench.await(ctx, "DeviceTwins are Ready", limit, 50*time.Millisecond, func() (string, bool, error) {
		if err := d.writes.refresh(); err != nil {
			return "", false, err
		}
		seen := fmt.Sprintf("%d of %d have a status", len(d.writes.status), n)
		if len(d.writes.status) < n || time.Since(looked) < pause {
			return seen, false, nil
		}
		began := time.Now()
		ready, err := d.ready(ctx)
		looked = time.Now()
		pause = max(pause, looksApart*looked.Sub(began)) // a look takes the machine, too
		return fmt.Sprintf("%d of %d", ready, n), ready >= n, err
	})
}

// activity is the last write that was seen, and what was counted then.
type activity struct {
	at             time.Time
	calls          []calls
	patches, total int
}

// stir says that something was just done that may lead to writes.
func (d *bed) stir() { d.stirred = activity{at: time.Now(), patches: -1} }

// quiet waits until nothing was written for a time, neither to the hubs nor to the API
// server, and returns the last write.
func (d *bed) quiet(ctx context.Context, length time.Duration) (activity, error) {
	err := d.bench.await(ctx, "it becomes quiet", quietLimit, 500*time.Millisecond, func() (string, bool, error) {
		if err := d.look(ctx); err != nil {
			return "", false, err
		}
		still := time.Since(d.stirred.at)
		return fmt.Sprintf("%.0f s without a write", still.Seconds()), still >= length, nil
	})
	return d.stirred, err
}

// look notes whether there were writes since it last looked.
func (d *bed) look(ctx context.Context) error {
	if err := d.writes.refresh(); err != nil {
		return err
	}
	now := activity{at: time.Now(), total: d.writes.total}
	for _, h := range d.hubs {
		c, err := h.calls(ctx)
		if err != nil {
			return err
		}
		now.calls, now.patches = append(now.calls, c), now.patches+c.patch
	}
	if now.patches != d.stirred.patches || now.total != d.stirred.total {
		d.stirred = now
	}
	return nil
}
