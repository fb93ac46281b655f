package kubectltwin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/controllers"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// live is a world with a hub, the HubConnection "hub" that leads there, and a manager.
type live struct {
	*world

	hub *hubemulator.Server
}

func newLive(t *testing.T, guard *v1alpha1.Guard, devices ...string) *live {
	t.Helper()
	l := &live{world: newWorld(t)}
	var err error
	l.hub, err = hubemulator.Start(context.Background(), hubemulator.Options{Devices: devices})
	l.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { l.Expect(l.hub.Close()).To(Succeed()) })
	mgr, err := ctrl.NewManager(suite.env.Config(), ctrl.Options{
		Scheme: l.client.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{l.ns: {}}},
		Controller: config.Controller{SkipNameValidation: ptr.To(true), RecoverPanic: ptr.To(false)},
	})
	l.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	l.Expect(controllers.Setup(ctx, mgr, controllers.Options{AllowedHostSuffixes: []string{"localhost"}})).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		l.Expect(<-ended).To(Succeed())
	})
	connection, err := l.hub.ServiceConnectionString("service")
	l.Expect(err).NotTo(HaveOccurred())
	l.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "hub-secret"}, StringData: map[string]string{"connectionString": connection}})
	conn := hub("hub")
	conn.Spec.CABundle, conn.Spec.Guard = l.hub.CACertificatePEM(), guard
	conn.Spec.ReadBack.Interval.Duration = time.Second
	conn.Spec.Tier = v1alpha1.Tier{SKU: v1alpha1.SKUS3, Units: 10}
	l.create(conn)
	return l
}

func (l *live) held(device string) string {
	l.Helper()
	text, err := l.hub.TwinJSON(device)
	l.Expect(err).NotTo(HaveOccurred())
	return string(text)
}

func (l *live) awaitReason(obj *v1alpha1.DeviceTwin, reason string) {
	l.Helper()
	l.Eventually(func() string {
		l.get(obj)
		ready := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || obj.Status.ObservedGeneration != obj.Generation {
			return ""
		}
		return ready.Reason
	}, patience).Should(Equal(reason))
}

// TestWithTheController: what the commands show and do means what it says to the controllers.
func TestWithTheController(t *testing.T) {
	t.Parallel()
	l := newLive(t, nil, "d1")
	obj := twin("d1")
	obj.Spec.Policy, obj.Spec.DeletionPolicy = v1alpha1.PolicyObserve, v1alpha1.DeletionClear
	l.create(obj)
	l.awaitReason(obj, v1alpha1.ReasonSucceeded)
	l.Expect(lineOf(l.ok("get", "d1"), "tags.plant")).To(Equal(`! tags.plant "Redmond43" - -`))

	l.Expect(l.ok("adopt", "d1")).To(Equal("devicetwin/d1 of " + l.ns + " adopted: 1 leaves to write, 0 to delete\n"))
	l.Eventually(func() string { return l.held("d1") }, patience).Should(ContainSubstring("Redmond43"))
	l.awaitReason(obj, v1alpha1.ReasonSucceeded)
	l.Expect(lineOf(l.ok("get", "d1"), "tags.plant")).To(Equal(`tags.plant "Redmond43" "Redmond43" -`))
	l.Expect(l.ok("reconcile", "d1", "--wait")).To(HaveSuffix("asked to be reconciled\n"))
	l.Expect(l.ok("status", "hub", "--exit-code")).To(ContainSubstring("1 in all, 1 ready"))

	l.ok("suspend", "d1")
	l.awaitReason(obj, v1alpha1.ReasonSuspended)
	l.Expect(lineOf(l.ok("get", "d1"), "tags.plant")).To(Equal(`? tags.plant "Redmond43" unknown -`), "nothing is read")
	l.ok("resume", "d1")
	l.awaitReason(obj, v1alpha1.ReasonSucceeded)

	lost := twin("nowhere")
	l.create(lost)
	l.awaitReason(lost, v1alpha1.ReasonDeviceNotFound)
	r := l.run("reconcile", "nowhere", "--wait")
	l.Expect(r.Code).To(Equal(cluster.ExitFound))
	l.Expect(r.Err).To(ContainSubstring("it was reconciled, and is not ready: DeviceNotFound: "))

	l.ok("release", "d1")
	l.Eventually(func() error {
		return client.IgnoreNotFound(l.client.Get(l.Context(), client.ObjectKeyFromObject(obj), obj))
	}, patience).Should(Succeed())
	l.Eventually(func() bool { return l.client.Get(l.Context(), client.ObjectKeyFromObject(obj), obj) != nil }, patience).Should(BeTrue())
	l.Expect(l.held("d1")).To(ContainSubstring("Redmond43"), "the hub is left as it is, though the object was to be cleaned up behind")
}

// TestApproveLetsChangesGoOn that a guard has stopped.
func TestApproveLetsChangesGoOn(t *testing.T) {
	t.Parallel()
	l := newLive(t, &v1alpha1.Guard{MaxChangesPerHour: 1}, "d1", "d2")
	first, second := twin("d1"), twin("d2")
	l.create(first)
	l.awaitReason(first, v1alpha1.ReasonSucceeded)
	l.create(second)
	l.awaitReason(second, v1alpha1.ReasonHubPaused)
	l.Expect(lineOf(l.ok("get", "d2"), "tags.plant")).To(Equal(`! tags.plant "Redmond43" differs -`))
	l.Eventually(func() string { return l.ok("status", "hub") }, patience).Should(ContainSubstring("kubectl twin approve hub"))
	l.Expect(l.ok("approve", "hub", "--wait")).To(ContainSubstring("hubconnection/hub of " + l.ns + " approved"))
	l.awaitReason(second, v1alpha1.ReasonSucceeded)
	l.Expect(strings.Count(l.ok("get", "--differing"), "!")).To(Equal(0))
}
