package model_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// What the other tenant's HubConnection is like. It leads to the same host in any case.
const (
	wrongKey   = "a wrong key"
	wrongCA    = "a certificate that does not match"
	smallShare = "the right key and a small share"
)

var tenantKinds = []string{wrongKey, wrongKey, wrongCA, smallShare}

const (
	// tenantDevice is the one that the other tenant may have something to do with.
	tenantDevice = "d3"
	// wakes is how often a HubConnection is woken.
	wakes = 250 * time.Millisecond
	// randomKey fits no policy of any hub.
	randomKey = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
)

// tenant is another party in the cluster, which means no good. Nothing that it does is an
// event to the rules: it may not change what they allow.
type tenant struct {
	ns   string
	kind string
	made int // objects so far
	// cancel ends the waking, once it has begun.
	cancel  context.CancelFunc
	waking  sync.WaitGroup
	objects []client.Object
}

func (n *tenant) stop() {
	if n.cancel != nil {
		n.cancel()
		n.waking.Wait()
	}
}

// actTenant begins with a HubConnection, which is woken from then on all the time.
func (w *world) actTenant(t *rapid.T) {
	n := w.tenant
	if n.cancel == nil {
		w.connectTenant()
		return
	}
	if len(n.objects) > 0 && rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
		obj := n.objects[0]
		n.objects = n.objects[1:]
		w.Expect(w.client.Delete(w.context(), obj)).To(Succeed())
		w.note("the other tenant deletes %s", obj.GetName())
		return
	}
	n.made++
	obj := w.tenantObject(t)
	w.Expect(w.client.Create(w.context(), obj)).To(Succeed())
	n.objects = append(n.objects, obj)
	w.note("the other tenant creates %T %s", obj, obj.GetName())
}

func (w *world) connectTenant() {
	n := w.tenant
	conn := w.connection(n.ns)
	credential := w.front.credential(w)
	switch n.kind {
	case wrongKey:
		credential = fmt.Sprintf("HostName=%s;SharedAccessKeyName=service;SharedAccessKey=%s", w.front.host(w), randomKey)
	case wrongCA:
		conn.Spec.CABundle = w.hub.CACertificatePEM()
	case smallShare:
		conn.Spec.Tier = v1alpha1.Tier{SKU: v1alpha1.SKUF1, Units: 1}
		conn.Spec.Budget.RatePercent = 1
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.ns, Name: "hub"}, StringData: map[string]string{"connectionString": credential},
	}
	w.Expect(w.client.Create(w.context(), secret)).To(Succeed())
	w.awaitYounger()
	w.Expect(w.client.Create(w.context(), conn)).To(Succeed())
	ctx, cancel := context.WithCancel(w.context())
	n.cancel = cancel
	n.waking.Go(func() {
		wait.UntilWithContext(ctx, func(ctx context.Context) {
			patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`,
				v1alpha1.ReconcileAtAnnotation, time.Now().Format(time.RFC3339Nano)))
			if err := w.client.Patch(ctx, &v1alpha1.HubConnection{ObjectMeta: conn.ObjectMeta}, patch); err != nil && ctx.Err() == nil {
				w.t.Errorf("waking a HubConnection: %v", err)
			}
		}, wakes)
	})
	w.note("another tenant's HubConnection has %s, and is woken all the time", n.kind)
}

// awaitYounger waits until what is created is younger than the first tenant's HubConnection,
// whose share rules as the eldest: creation times are in whole seconds.
func (w *world) awaitYounger() {
	var first v1alpha1.HubConnection
	w.Expect(w.client.Get(w.context(), client.ObjectKey{Namespace: w.ns, Name: "hub"}, &first)).To(Succeed())
	w.Eventually(func() bool { return time.Now().Unix() > first.CreationTimestamp.Unix() }, patience, poll).Should(BeTrue())
}

// tenantObject is one that is not created yet. One that reaches the hub keeps to a device
// of its own.
func (w *world) tenantObject(t *rapid.T) client.Object {
	n := w.tenant
	at := metav1.ObjectMeta{Namespace: n.ns, Name: fmt.Sprintf("t-%d", n.made)}
	if rapid.Bool().Draw(t, "a query") {
		query := &v1alpha1.TwinQuery{ObjectMeta: at}
		query.Spec.HubRef.Name, query.Spec.Where = "hub", fmt.Sprintf("tags.a = %d", n.made)
		query.Spec.Interval.Duration = 5 * time.Second
		return query
	}
	obj := &v1alpha1.DeviceTwin{ObjectMeta: at}
	obj.Spec.HubRef.Name, obj.Spec.DeviceID = "hub", tenantDevice
	obj.Spec.Policy = v1alpha1.PolicyObserve
	if n.kind != smallShare {
		obj.Spec.DeviceID = w.someDevice(t).id
		obj.Spec.Policy, obj.Spec.DeletionPolicy = somePolicy().Draw(t, "policy"), v1alpha1.DeletionClear
	}
	leaves := someLeaves(1, 3).Draw(t, "declaration")
	obj.Spec.Tags, obj.Spec.Desired = rawSection(leaves, "tags"), rawSection(leaves, "desired")
	return obj
}

// checkTenant holds the other tenant's HubConnection against what it may see: nothing,
// before it has proved that it may use the hub.
func (w *world) checkTenant() {
	if w.tenant.cancel == nil || w.tenant.kind == smallShare {
		return
	}
	var conn v1alpha1.HubConnection
	w.Expect(w.client.Get(w.context(), client.ObjectKey{Namespace: w.tenant.ns, Name: "hub"}, &conn)).To(Succeed())
	if meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionReady) || conn.Status.QuotaDay != "" || conn.Status.QuotaUsedPercent != 0 {
		w.fail(fmt.Errorf("a HubConnection with %s says: %+v", w.tenant.kind, conn.Status))
	}
}
