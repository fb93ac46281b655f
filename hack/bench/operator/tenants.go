package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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

// tenants is how long the edits take without an attack, and an authority that has not
// signed the hub's certificate.
type tenants struct {
	alone    time.Duration
	stranger []byte
}

func tenantsRow() scenario {
	m := &tenants{}
	return scenario{
		name: "tenants", title: "300 twins are edited while another tenant attacks their hub",
		hub: s1.String(), twins: atMost(tenantTwins),
		steps: []step{
			{"start a cluster", startCluster},
			{"start the hub", startHub(s1)},
			{"create the DeviceTwins", createTwins},
			{"start the manager", startManager},
			{"wait until all are Ready", awaitReady},
			{"make room for the other tenant", m.prepare},
			{"edit alone", m.editAlone},
			{"edit beside wrong certificates", m.editBeside(attack{
				name: "wrong certificates", conns: intruders,
				changed: func(conn *v1alpha1.HubConnection) { conn.Spec.CABundle = m.stranger },
			})},
			{"edit beside a wrong key", m.editBeside(attack{
				name: "a wrong key and a tiny share", conns: 1,
				changed: func(conn *v1alpha1.HubConnection) {
					conn.Spec.Tier, conn.Spec.Budget.RatePercent = v1alpha1.Tier{SKU: v1alpha1.SKUF1, Units: 1}, 1
				},
			})},
		},
		report: func(ctx context.Context, r *run) error {
			made, err := r.hub().calls(ctx)
			if err == nil {
				r.out.bound(bounds.None("answers with 429", made.refused))
			}
			return err
		},
	}
}

func (m *tenants) prepare(ctx context.Context, r *run) (err error) {
	if m.stranger, err = os.ReadFile(r.env.cluster.CA.CertFile()); err != nil {
		return err
	}
	return r.env.kube.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: intruderNamespace}})
}

func (m *tenants) editAlone(ctx context.Context, r *run) error {
	seen, err := r.attacked(ctx, attack{name: "alone"})
	if err != nil {
		return err
	}
	m.alone = seen.edits
	r.out.add("edits alone, until all are at the hub", seen.edits.Seconds(), "s")
	r.out.add("queries alone, in two minutes", float64(seen.queries), "")
	return nil
}

func (m *tenants) editBeside(a attack) action {
	return func(ctx context.Context, r *run) error {
		seen, err := r.attacked(ctx, a)
		if err != nil {
			return err
		}
		r.out.add("edits beside "+a.name, seen.edits.Seconds(), "s")
		r.out.bound(bounds.AtMost("edits beside "+a.name+", of the time alone", "%.2f times", seen.edits.Seconds()/m.alone.Seconds(), mostTimesBeside))
		r.out.bound(bounds.AtLeast("queries beside "+a.name+", an interval of the read-back", "%.2f",
			float64(seen.queries)/(tenantWindow.Seconds()/interval.Seconds()), leastReadBacks))
		r.out.bound(bounds.None("looks that find the HubConnection not Ready beside "+a.name, seen.notReady))
		return nil
	}
}

// attacked watches the hub for a while under an attack, in which every twin is edited.
func (r *run) attacked(ctx context.Context, a attack) (seen underAttack, err error) {
	conns, err := r.intrude(ctx, a)
	if err != nil {
		return seen, err
	}
	before, err := r.hub().calls(ctx)
	if err != nil {
		return seen, err
	}
	began := time.Now()
	attacking, ctx := errgroup.WithContext(ctx)
	for _, conn := range conns {
		attacking.Go(func() error { return r.wake(ctx, conn, began.Add(tenantWindow)) })
	}
	attacking.Go(func() (err error) {
		// The hub is read back before, so that what the attack spoils is spoilt by then.
		if err := r.pass(ctx, a.name, tenantWindow/4); err != nil {
			return err
		}
		seen.edits, err = r.editTwins(ctx, a.name)
		return err
	})
	attacking.Go(func() (err error) {
		seen.notReady, err = r.watchReady(ctx, began.Add(tenantWindow))
		return err
	})
	if err := attacking.Wait(); err != nil {
		return seen, err
	}
	after, err := r.hub().calls(context.WithoutCancel(ctx))
	seen.queries = after.since(before).query
	r.say("%s: %.1f s, %d queries, %d times not Ready", a.name, seen.edits.Seconds(), seen.queries, seen.notReady)
	return seen, err
}

// intrude creates the HubConnections of an attack, with a key that the hub does not know.
func (r *run) intrude(ctx context.Context, a attack) ([]*v1alpha1.HubConnection, error) {
	host, _, _ := strings.Cut(r.hub().Policies["service"], ";")
	var conns []*v1alpha1.HubConnection
	for i := range a.conns {
		var conn v1alpha1.HubConnection
		if err := r.env.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: r.hub().name}, &conn); err != nil {
			return nil, err
		}
		conn.ObjectMeta = metav1.ObjectMeta{Namespace: intruderNamespace, Name: fmt.Sprintf("%s-%d", strings.ReplaceAll(a.name, " ", "-"), i)}
		conn.Status = v1alpha1.HubConnectionStatus{}
		conn.Spec.Auth.ConnectionStringSecretRef = &v1alpha1.SecretKeyReference{Name: conn.Name}
		a.changed(&conn)
		err := errors.Join(
			r.env.kube.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: intruderNamespace, Name: conn.Name},
				StringData: map[string]string{"connectionString": host + ";SharedAccessKeyName=service;SharedAccessKey=" + deviceKey},
			}),
			r.env.kube.Create(ctx, &conn),
		)
		if err != nil {
			return nil, err
		}
		conns = append(conns, &conn)
	}
	return conns, nil
}

// wake has a HubConnection looked at again and again.
func (r *run) wake(ctx context.Context, conn *v1alpha1.HubConnection, until time.Time) error {
	n := 0
	return r.await(ctx, "an attack", 2*tenantWindow, wakeEvery, func() (string, bool, error) {
		n++
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%d"}}}`, v1alpha1.ReconcileAtAnnotation, n)
		err := r.env.kube.Patch(ctx, conn.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)))
		return fmt.Sprintf("%d wakes", n), time.Now().After(until), err
	})
}

// editTwins changes every twin, and returns how long it takes until all are at the hub.
func (r *run) editTwins(ctx context.Context, owner string) (time.Duration, error) {
	before, err := r.hub().calls(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := r.editFleet(ctx, r.out.N, owner); err != nil {
		return 0, err
	}
	last, err := r.patches(ctx, before.patch+r.out.N)
	return last.Sub(began), err
}

// watchReady counts the looks at the hub's own HubConnection that do not find it Ready.
func (r *run) watchReady(ctx context.Context, until time.Time) (notReady int, err error) {
	err = r.await(ctx, "the hub's HubConnection", 2*tenantWindow, time.Second, func() (string, bool, error) {
		var conn v1alpha1.HubConnection
		err := r.env.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: r.hub().name}, &conn)
		if !meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionReady) {
			notReady++
		}
		return fmt.Sprintf("%d times not Ready", notReady), time.Now().After(until), err
	})
	return notReady, err
}
