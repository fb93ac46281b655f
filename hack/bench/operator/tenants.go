package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

const (
	tenantTwins = 300
	// tenantWindow is how long the hub is watched, alone and under each attack.
	tenantWindow = 2 * time.Minute
	// wakeEvery is the time between two wakes of a HubConnection that attacks.
	wakeEvery = 250 * time.Millisecond
	// intruderNamespace holds what attacks.
	intruderNamespace = "intruder"
	intruders         = 8
	// mostTimesBeside bounds the time under attack by that alone, and leastReadBacks the
	// queries by one for each interval of the read-back.
	mostTimesBeside = 2
	leastReadBacks  = 0.8
)

// attack is what another tenant declares of the same hub.
type attack struct {
	name    string
	conns   int
	changed func(*v1alpha1.HubConnection)
}

// underAttack is what is seen of the hub meanwhile.
type underAttack struct {
	edits    time.Duration
	queries  int
	notReady int // looks at the HubConnection that did not find it Ready
}

func measureTenants(ctx context.Context, b *bench, out *result) (err error) {
	if err := b.close(); err != nil {
		return err
	}
	s1 := profile{sku: v1alpha1.SKUS1, units: 1, rate: s1Percent, throttled: true}
	out.N, out.Hub = min(b.opts.n, tenantTwins), s1.String()
	d, ctx, err := b.newBed(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	h, attacks, err := d.tenants(ctx, s1, out.N)
	if err != nil {
		return err
	}
	alone, err := d.attacked(ctx, h, attack{name: "alone"}, out.N)
	if err != nil {
		return err
	}
	out.add("edits alone, until all are at the hub", alone.edits.Seconds(), "s")
	out.add("queries alone, in two minutes", float64(alone.queries), "")
	for _, a := range attacks {
		seen, err := d.attacked(ctx, h, a, out.N)
		if err != nil {
			return err
		}
		out.add("edits beside "+a.name, seen.edits.Seconds(), "s")
		out.bound(bounds.AtMost("edits beside "+a.name+", of the time alone", "%.2f times", seen.edits.Seconds()/alone.edits.Seconds(), mostTimesBeside))
		out.bound(bounds.AtLeast("queries beside "+a.name+", an interval of the read-back", "%.2f",
			float64(seen.queries)/(tenantWindow.Seconds()/interval.Seconds()), leastReadBacks))
		out.bound(bounds.None("looks that find the HubConnection not Ready beside "+a.name, seen.notReady))
	}
	made, err := h.calls(ctx)
	if err == nil {
		out.bound(bounds.None("answers with 429", made.refused))
	}
	return err
}

// tenants prepares a hub in use, and says who attacks it.
func (d *bed) tenants(ctx context.Context, p profile, n int) (*hub, []attack, error) {
	h, err := d.addHub(ctx, "hub", p, map[string]int{fleetSet: n})
	if err != nil {
		return nil, nil, err
	}
	if _, err := d.create(ctx, h, fleetSet, 1, n); err != nil {
		return nil, nil, err
	}
	if _, _, err := d.startManager(ctx); err != nil {
		return nil, nil, err
	}
	if err := d.awaitReady(ctx, n, convergeLimit(n)); err != nil {
		return nil, nil, err
	}
	stranger, err := d.clusterCA()
	if err != nil {
		return nil, nil, err
	}
	err = d.kube.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: intruderNamespace}})
	return h, []attack{
		{name: "wrong certificates", conns: intruders, changed: func(conn *v1alpha1.HubConnection) { conn.Spec.CABundle = stranger }},
		{name: "a wrong key and a tiny share", conns: 1, changed: func(conn *v1alpha1.HubConnection) {
			conn.Spec.Tier, conn.Spec.Budget.RatePercent = v1alpha1.Tier{SKU: v1alpha1.SKUF1, Units: 1}, 1
		}},
	}, err
}

// clusterCA is a certificate that has not signed the hub's.
func (d *bed) clusterCA() ([]byte, error) {
	config, err := clientcmd.BuildConfigFromFlags("", d.cluster.Kubeconfig)
	if err != nil {
		return nil, err
	}
	err = rest.LoadTLSFiles(config)
	return config.CAData, err
}

// attacked watches the hub for a while under an attack, in which every twin is edited.
func (d *bed) attacked(ctx context.Context, h *hub, a attack, n int) (seen underAttack, err error) {
	conns, err := d.intrude(ctx, h, a)
	if err != nil {
		return seen, err
	}
	before, err := h.calls(ctx)
	if err != nil {
		return seen, err
	}
	began := time.Now()
	attacking, ctx := errgroup.WithContext(ctx)
	for _, conn := range conns {
		attacking.Go(func() error { return d.wake(ctx, conn, began.Add(tenantWindow)) })
	}
	attacking.Go(func() (err error) {
		// The hub is read back before, so that what the attack spoils is spoilt by then.
		if err := d.bench.pass(ctx, a.name, tenantWindow/4); err != nil {
			return err
		}
		seen.edits, err = d.editTwins(ctx, h, a.name, n)
		return err
	})
	attacking.Go(func() (err error) {
		seen.notReady, err = d.watchReady(ctx, h, began.Add(tenantWindow))
		return err
	})
	if err := attacking.Wait(); err != nil {
		return seen, err
	}
	after, err := h.calls(context.WithoutCancel(ctx))
	seen.queries = after.since(before).query
	d.bench.say("%s: %.1f s, %d queries, %d times not Ready", a.name, seen.edits.Seconds(), seen.queries, seen.notReady)
	return seen, err
}

// intrude creates the HubConnections of an attack, with a key that the hub does not know.
func (d *bed) intrude(ctx context.Context, h *hub, a attack) ([]*v1alpha1.HubConnection, error) {
	host, _, _ := strings.Cut(h.Policies["service"], ";")
	var conns []*v1alpha1.HubConnection
	for i := range a.conns {
		var conn v1alpha1.HubConnection
		if err := d.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: h.name}, &conn); err != nil {
			return nil, err
		}
		conn.ObjectMeta = metav1.ObjectMeta{Namespace: intruderNamespace, Name: fmt.Sprintf("%s-%d", strings.ReplaceAll(a.name, " ", "-"), i)}
		conn.Status = v1alpha1.HubConnectionStatus{}
		conn.Spec.Auth.ConnectionStringSecretRef = &v1alpha1.SecretKeyReference{Name: conn.Name}
		a.changed(&conn)
		err := errors.Join(
			d.kube.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: intruderNamespace, Name: conn.Name},
				StringData: map[string]string{"connectionString": host + ";SharedAccessKeyName=service;SharedAccessKey=" + deviceKey},
			}),
			d.kube.Create(ctx, &conn),
		)
		if err != nil {
			return nil, err
		}
		conns = append(conns, &conn)
	}
	return conns, nil
}

// wake has a HubConnection looked at again and again.
func (d *bed) wake(ctx context.Context, conn *v1alpha1.HubConnection, until time.Time) error {
	n := 0
	return d.bench.await(ctx, "an attack", 2*tenantWindow, wakeEvery, func() (string, bool, error) {
		n++
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%d"}}}`, v1alpha1.ReconcileAtAnnotation, n)
		err := d.kube.Patch(ctx, conn.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)))
		return fmt.Sprintf("%d wakes", n), time.Now().After(until), err
	})
}

// editTwins changes every twin, and returns how long it takes until all are at the hub.
func (d *bed) editTwins(ctx context.Context, h *hub, owner string, n int) (time.Duration, error) {
	before, err := h.calls(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	var edited atomic.Int64
	err = d.parallel(ctx, "DeviceTwins are edited", creators, n, &edited, func(ctx context.Context, i int) error {
		twin := deviceTwin(h.name, fleetSet, i+1)
		before := twin.DeepCopy()
		changed := tags(i + 1)
		changed["owner"] = owner
		twin.Spec.Tags = document(changed)
		return d.kube.Patch(ctx, twin, client.MergeFrom(before))
	})
	if err != nil {
		return 0, err
	}
	last, err := d.patches(ctx, h, before.patch+n)
	return last.Sub(began), err
}

// watchReady counts the looks at the hub's own HubConnection that do not find it Ready.
func (d *bed) watchReady(ctx context.Context, h *hub, until time.Time) (notReady int, err error) {
	err = d.bench.await(ctx, "the hub's HubConnection", 2*tenantWindow, time.Second, func() (string, bool, error) {
		var conn v1alpha1.HubConnection
		err := d.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: h.name}, &conn)
		if !meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionReady) {
			notReady++
		}
		return fmt.Sprintf("%d times not Ready", notReady), time.Now().After(until), err
	})
	return notReady, err
}
