package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// intruders are the HubConnections of another namespace that lead to the world's hub.
type intruders struct {
	*world
	namespace string
	conns     []*v1alpha1.HubConnection
}

// newIntruders is a hub of size S1 with devices and their DeviceTwins, in use, and a
// namespace beside it.
func newIntruders(t *testing.T, devices []string) (*intruders, *v1alpha1.HubConnection) {
	t.Helper()
	namespace := testenv.Namespace(t, newClient(t), nil)
	w := newWorld(t, withTier(devices...), withNamespace(namespace), withUses())
	w.createSecret("hub", w.credential("service"))
	conn := w.connection("hub")
	conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = 4*time.Second, time.Hour
	w.create(conn)
	w.awaitReady(conn)
	w.crowd("hub", devices)
	w.Eventually(func() int { return w.ready("hub") }, patience).Should(Equal(len(devices)))
	return &intruders{world: w, namespace: namespace}, conn
}

// add declares the hub in the other namespace.
func (i *intruders) add(name, credential string, change func(*v1alpha1.HubConnection)) {
	i.Helper()
	i.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: name}, StringData: map[string]string{"connectionString": credential},
	})
	conn := i.connection(name)
	conn.Namespace = i.namespace
	change(conn)
	i.create(conn)
	i.conns = append(i.conns, conn)
}

// wrongKey is the hub's connection string with a key that it does not know.
func (i *intruders) wrongKey() string {
	known := i.credential("service")
	return known[:strings.Index(known, "SharedAccessKey=")] + "SharedAccessKey=" + newKey()
}

// wake has each of them looked at four times a second, until it is stopped.
func (i *intruders) wake() (stop func()) {
	ctx, cancel := context.WithCancel(i.Context())
	var all sync.WaitGroup
	for _, conn := range i.conns {
		all.Go(func() {
			ticker := time.NewTicker(250 * time.Millisecond)
			defer ticker.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%d"}}}`, v1alpha1.ReconcileAtAnnotation, n)
				err := i.client.Patch(ctx, conn.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)))
				if err != nil && ctx.Err() == nil {
					i.Errorf("waking %s: %v", conn.Name, err)
				}
				select {
				case <-ticker.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// editAll changes each DeviceTwin of the world's own namespace, and returns how long it
// takes until all are in step.
func (i *intruders) editAll(devices []string, tag string) time.Duration {
	i.Helper()
	began := time.Now()
	for _, device := range devices {
		obj := i.twin(device, device, "", "")
		i.edit(obj, func() { obj.Spec.Tags = raw(fmt.Sprintf(`{"plant":%q}`, tag)) })
	}
	i.Eventually(func() bool {
		for _, device := range devices {
			if i.tags(device) != fmt.Sprintf(`{"plant":%q}`, tag) {
				return false
			}
		}
		return true
	}, "60s").Should(BeTrue())
	return time.Since(began)
}

// TestATenantIsNotSlowedDownByAnother who declares the same hub.
func TestATenantIsNotSlowedDownByAnother(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		declare func(*testing.T, *intruders)
		// why they are not ready; empty where they are.
		why string
	}{
		"certificates that do not match": {
			declare: func(t *testing.T, i *intruders) {
				t.Helper()
				other, err := hubemulator.Start(context.Background(), hubemulator.Options{})
				i.Expect(err).NotTo(HaveOccurred())
				t.Cleanup(func() { i.Expect(other.Close()).To(Succeed()) })
				for n := range 8 {
					i.add(fmt.Sprintf("wrong-%d", n), i.wrongKey(), func(conn *v1alpha1.HubConnection) { conn.Spec.CABundle = other.CACertificatePEM() })
				}
			},
			why: v1alpha1.ReasonUntrustedCertificate,
		},
		"a wrong key and a tiny share": {
			declare: func(_ *testing.T, i *intruders) { i.add("tiny", i.wrongKey(), tinyShare) },
			why:     v1alpha1.ReasonUnauthorized,
		},
		"the right key and a tiny share": {
			declare: func(_ *testing.T, i *intruders) { i.add("tiny", i.credential("service"), tinyShare) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			devices := numbered("c", 60)
			i, conn := newIntruders(t, devices)
			alone := i.editAll(devices, "alone")

			tt.declare(t, i)
			stop := i.wake()
			defer stop()
			i.awaitReadBacks(3)
			attacked := i.editAll(devices, "attacked")
			// Tests beside this one take the machine too: what is ruled out is a wait for the
			// other tenant's rate, or for its trouble to end.
			i.Expect(attacked).To(BeNumerically("<", 4*alone+5*time.Second))
			i.awaitReadBacks(1)
			stop()
			i.Expect(i.client.Get(i.Context(), client.ObjectKeyFromObject(conn), conn)).To(Succeed())
			i.Expect(meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue())
			i.Expect(conn.Status.EffectiveInterval.Duration).To(BeElementOf(time.Duration(0), 4*time.Second))
			i.Expect(meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionReady).LastTransitionTime.Time).
				To(BeTemporally("<", time.Now().Add(-attacked)), "it was so all the time")
			for _, intruder := range i.conns {
				if tt.why == "" {
					i.awaitReady(intruder)
					continue
				}
				i.await(intruder, metav1.ConditionFalse, tt.why)
				i.Expect(intruder.Status.HubUse).To(Equal(v1alpha1.HubUse{}), "nothing of the hub's use is told")
				i.Expect(meta.FindStatusCondition(intruder.Status.Conditions, v1alpha1.ConditionQuotaPressure)).To(BeNil())
			}
		})
	}
}

func tinyShare(conn *v1alpha1.HubConnection) {
	conn.Spec.Tier = v1alpha1.Tier{SKU: v1alpha1.SKUF1, Units: 1}
	conn.Spec.Budget.RatePercent, conn.Spec.Budget.DailyMessagesPercent = 1, 1
}

// TestWhoIsRefusedIsToldNoNumbers any more, of what stood there.
func TestWhoIsRefusedIsToldNoNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withUses())
	conn := w.connect()
	w.awaitReady(conn)
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.awaitReady(obj)
	w.Eventually(w.use(conn), patience).Should(HaveField("QuotaUsedPercent", BeEquivalentTo(1)))
	i := &intruders{world: w}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "hub"}}
	w.edit(secret, func() { secret.Data["connectionString"] = []byte(i.wrongKey()) })
	w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonUnauthorized)
	w.Eventually(w.use(conn), patience).Should(Equal(v1alpha1.HubUse{}), "once the refusal is borne out")
	w.edit(secret, func() { secret.Data["connectionString"] = []byte(w.credential("service")) })
	w.Eventually(w.use(conn), patience).Should(HaveField("QuotaUsedPercent", BeEquivalentTo(1)))
}

// TestTwinQueriesOfNamespacesTakeTurns: a new one does not wait for all those of another
// namespace.
func TestTwinQueriesOfNamespacesTakeTurns(t *testing.T) {
	t.Parallel()
	tenant := testenv.Namespace(t, newClient(t), nil)
	w := newWorld(t, withNamespace(tenant))
	w.createSecret("hub", w.credential("service"))
	conn := w.connection("hub")
	conn.Spec.Tier = v1alpha1.Tier{SKU: v1alpha1.SKUS1, Units: 3} // a query a second, and thirty at once
	conn.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll
	conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = time.Hour, time.Hour
	w.create(conn)
	w.awaitReady(conn)
	answered := func() int {
		var all v1alpha1.TwinQueryList
		w.Expect(w.client.List(w.Context(), &all, client.InNamespace(tenant))).To(Succeed())
		n := 0
		for i := range all.Items {
			if all.Items[i].Status.ObservedAt != nil {
				n++
			}
		}
		return n
	}
	const many = 80
	for n := range many {
		query := w.query(fmt.Sprintf("q%d", n), fmt.Sprintf("tags.line = %d", n))
		query.Namespace, query.Spec.HubRef.Namespace, query.Spec.Interval.Duration = tenant, w.ns, time.Hour
		w.create(query)
	}
	w.Eventually(answered, patience).Should(BeNumerically(">=", 30))
	query := w.query("mine", "deviceId = 'd1'")
	w.create(query)
	w.awaitDevices(query, "d1")
	w.Expect(answered()).To(BeNumerically("<", many-20))
	w.edit(conn, func() { conn.Spec.Tier.Units = 200 })
	w.Eventually(answered, patience).Should(Equal(many))
}
