package kubectltwin_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

func (w *world) twins(names ...string) map[string]*v1alpha1.DeviceTwin {
	w.Helper()
	out := map[string]*v1alpha1.DeviceTwin{}
	for _, name := range names {
		out[name] = twin(name)
		out[name].Labels = map[string]string{"line": name}
		w.create(out[name])
	}
	return out
}

func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	twins := w.twins("a", "b", "c")
	suspended := func(name string) bool {
		w.get(twins[name])
		return twins[name].Spec.Suspend
	}
	r := w.run("suspend", "a")
	w.Expect(r).To(Equal(result{Out: "devicetwin/a of " + w.ns + " suspended\n", Err: "1 suspended, 0 unchanged, 0 failed\n"}))
	w.Expect(suspended("a")).To(BeTrue())
	w.Expect(suspended("b")).To(BeFalse())
	w.Expect(string(twins["a"].Spec.Tags.Raw)).To(MatchJSON(`{"plant":"Redmond43"}`), "nothing else is touched")
	w.Expect(twins["a"].ManagedFields).To(ContainElement(HaveField("Manager", cluster.FieldManager)))

	for _, mode := range []string{"client", "server"} {
		r = w.run("suspend", "--hub", "hub", "--dry-run="+mode)
		w.Expect(r.Code).To(Equal(0))
		w.Expect(r.Out).To(ContainSubstring("devicetwin/a of " + w.ns + " unchanged: suspended already"))
		w.Expect(r.Out).To(MatchRegexp(`devicetwin/b of \S+ suspended \((server )?dry run\)`))
		w.Expect(suspended("b")).To(BeFalse())
	}
	r = w.run("suspend", "--hub", "hub")
	w.Expect(r.Err).To(Equal("2 suspended, 1 unchanged, 0 failed\n"))
	w.Expect(w.run("resume", "-l", "line=b").Err).To(Equal("1 resumed, 0 unchanged, 0 failed\n"))
	w.Expect(suspended("b")).To(BeFalse())
	w.Expect(suspended("c")).To(BeTrue())
	w.Expect(w.run("resume", "--all").Err).To(Equal("2 resumed, 1 unchanged, 0 failed\n"))
}

func TestWhatFailsLeavesTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	twins := w.twins("a", "b")
	r := w.run("suspend", "a", "missing", "b")
	w.Expect(r.Code).To(Equal(cluster.ExitFound))
	w.Expect(strings.Split(r.Out, "\n")).To(HaveLen(3))
	w.Expect(r.Err).To(ContainSubstring(`devicetwin/missing failed: devicetwins.iothub.devicetwin.io "missing" not found`))
	w.Expect(r.Err).To(HaveSuffix("2 suspended, 0 unchanged, 1 failed\n"))
	w.as("reader", rbacv1.PolicyRule{APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"get", "list"}})
	r = w.run("resume", "a", "b")
	w.Expect(r.Code).To(Equal(cluster.ExitFound))
	w.Expect(r.Out).To(BeEmpty())
	w.Expect(r.Err).To(ContainSubstring("cannot patch resource"))
	w.Expect(r.Err).To(HaveSuffix("0 resumed, 0 unchanged, 2 failed\n"))
	w.get(twins["a"])
	w.Expect(twins["a"].Spec.Suspend).To(BeTrue())
}

func TestChangesWantToKnowWhich(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, verb := range []string{"suspend", "resume", "reconcile", "adopt", "release"} {
		w.Expect(w.refused(verb)).To(ContainSubstring("which DeviceTwins?"))
		w.Expect(w.refused(verb, "-A")).To(ContainSubstring("which DeviceTwins?"))
		w.Expect(w.refused(verb, "--all")).To(ContainSubstring("there is no DeviceTwin in namespace " + w.ns))
		w.Expect(w.refused(verb, "a", "--dry-run=maybe")).To(ContainSubstring("should be none, client or server"))
	}
	w.Expect(w.refused("approve")).To(ContainSubstring("requires at least 1 arg"))
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	twins := w.twins("a", "b")
	w.Expect(w.run("suspend", "b").Code).To(Equal(0))
	r := w.run("reconcile", "a", "b")
	w.Expect(r.Code).To(Equal(cluster.ExitFound))
	w.Expect(r.Out).To(Equal("devicetwin/a of " + w.ns + " asked to be reconciled\n"))
	w.Expect(r.Err).To(ContainSubstring("devicetwin/b of " + w.ns + " failed: it is suspended: resume it first"))
	w.get(twins["a"])
	asked := twins["a"].Annotations[v1alpha1.ReconcileAtAnnotation]
	w.Expect(time.Parse(time.RFC3339Nano, asked)).To(BeTemporally("~", time.Now(), patience))
	w.get(twins["b"])
	w.Expect(twins["b"].Annotations).NotTo(HaveKey(v1alpha1.ReconcileAtAnnotation))
	r = w.run("reconcile", "a", "--wait", "--timeout", "1s")
	w.Expect(r.Code).To(Equal(cluster.ExitFound))
	w.Expect(r.Err).To(ContainSubstring("no controller has acted upon it within 1s"))
}

func TestApprove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.factory()
	w.Expect(w.ok("approve", "hub")).To(Equal("hubconnection/hub of " + w.ns + " unchanged: its guard has stopped nothing\n"))
	conn.Status.Guard = &v1alpha1.GuardStatus{TrippedAt: ptr.To(metav1.Now()), Limit: 500, Waiting: 9500}
	w.Expect(w.client.Status().Update(w.Context(), conn)).To(Succeed())
	w.Expect(w.ok("approve", "hub", "--dry-run=server")).To(ContainSubstring("approved (server dry run)"))
	w.get(conn)
	w.Expect(conn.Annotations).To(BeEmpty())
	w.Expect(w.ok("approve", "hub")).To(Equal("hubconnection/hub of " + w.ns + " approved: 9500 twins that waited may be changed\n"))
	w.get(conn)
	w.Expect(conn.Annotations).To(HaveKey(v1alpha1.GuardResetAnnotation))
	r := w.run("approve", "missing")
	w.Expect(r.Code).To(Equal(cluster.ExitFound))
	w.Expect(r.Err).To(ContainSubstring(`"missing" not found`))
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	observed, enforced := twin("observed"), twin("enforced")
	observed.Spec.Policy = v1alpha1.PolicyObserve
	w.create(observed)
	w.create(enforced)
	w.said(observed, v1alpha1.DeviceTwinStatus{ETag: "AAAAAAAAAAE=", Plan: &v1alpha1.PlannedChange{Changes: 1, Removals: 2}})
	w.Expect(w.ok("adopt", "--all")).To(Equal("devicetwin/enforced of " + w.ns + " unchanged: spec.policy is Enforce, not Observe\n" +
		"devicetwin/observed of " + w.ns + " adopted: 1 leaves to write, 2 to delete\n"))
	w.get(observed)
	w.Expect(observed.Spec.Policy).To(Equal(v1alpha1.PolicyEnforce))
}

func TestRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain, registered := twin("plain"), twin("registered")
	plain.Spec.DeletionPolicy = v1alpha1.DeletionClear
	plain.Finalizers = []string{"example.com/keep"} // so that what becomes of it can be seen
	registered.Spec.Registration, registered.Spec.ConnectionSecretName = v1alpha1.RegistrationCreate, "keys"
	registered.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	w.create(plain)
	w.create(registered)
	w.Expect(w.ok("release", "--all", "--dry-run=server")).To(ContainSubstring("devicetwin/plain of " + w.ns + " released (server dry run)"))
	w.get(plain)
	w.Expect(plain.DeletionTimestamp).To(BeNil())
	w.Expect(plain.Spec.DeletionPolicy).To(Equal(v1alpha1.DeletionClear))

	w.Expect(w.run("release", "--all").Err).To(Equal("2 released, 0 unchanged, 0 failed\n"))
	for _, obj := range []*v1alpha1.DeviceTwin{plain, registered} {
		w.get(obj)
		w.Expect(obj.DeletionTimestamp).NotTo(BeNil())
		w.Expect(obj.Spec.DeletionPolicy).To(Equal(v1alpha1.DeletionRetain))
	}
	w.Expect(registered.Finalizers).To(ConsistOf(metav1.FinalizerOrphanDependents), "its Secret stays")
	w.Expect(w.ok("release", "plain")).To(ContainSubstring("unchanged: it is being deleted already, with deletionPolicy Retain"))
	plain.Finalizers = nil
	w.Expect(w.client.Update(w.Context(), plain)).To(Succeed())
	w.Expect(apierrors.IsNotFound(w.client.Get(w.Context(), client.ObjectKeyFromObject(plain), plain))).To(BeTrue())
}

// TestWhatMovedIsReadAgain: an object that another user writes between read and patch keeps what they wrote.
func TestWhatMovedIsReadAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		write func(*v1alpha1.DeviceTwin)
		says  string
	}{
		"a label":         {func(obj *v1alpha1.DeviceTwin) { obj.Labels = map[string]string{"theirs": "yes"} }, "1 suspended, 0 unchanged, 0 failed\n"},
		"the same change": {func(obj *v1alpha1.DeviceTwin) { obj.Spec.Suspend = true }, "0 suspended, 1 unchanged, 0 failed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			obj := twin("a")
			w.create(obj)
			patches := 0
			w.proxied(func(_ http.ResponseWriter, request *http.Request) bool {
				if request.Method != http.MethodPatch {
					return false
				}
				if patches++; patches == 1 {
					w.get(obj)
					tt.write(obj)
					w.Expect(w.client.Update(w.Context(), obj)).To(Succeed())
				}
				return false
			})
			w.Expect(w.run("suspend", "a").Err).To(Equal(tt.says))
			w.get(obj)
			w.Expect(obj.Spec.Suspend).To(BeTrue())
			written := obj.DeepCopy()
			tt.write(written)
			w.Expect(written.Labels).To(Equal(obj.Labels))
		})
	}
}
