package kubectltwin_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// installed puts a manager's Deployment and Lease into the test's namespace.
func (w *world) installed(readyPods int32, renewed time.Time) {
	w.Helper()
	labels := map[string]string{"app.kubernetes.io/name": "devicetwin-operator", "app.kubernetes.io/component": "manager"}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "manager", Labels: labels}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			ServiceAccountName: "manager", Containers: []corev1.Container{{Name: "manager", Image: "registry.example.com/devicetwin-operator"}},
		}},
	}}
	w.create(deployment)
	deployment.Status = appsv1.DeploymentStatus{Replicas: 1, ReadyReplicas: readyPods}
	w.Expect(w.client.Status().Update(w.Context(), deployment)).To(Succeed())
	w.create(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "devicetwin-operator.iothub.devicetwin.io"}, Spec: coordinationv1.LeaseSpec{
		HolderIdentity: ptr.To("manager-1"), LeaseDurationSeconds: ptr.To[int32](15), RenewTime: ptr.To(metav1.NewMicroTime(renewed)),
	}})
}

// mayWork grants the manager of the test's namespace its generated role, there.
func (w *world) mayWork() {
	w.Helper()
	root, err := testenv.ProjectRoot()
	w.Expect(err).NotTo(HaveOccurred())
	text, err := os.Open(root + "/config/rbac/role.yaml")
	w.Expect(err).NotTo(HaveOccurred())
	defer text.Close()
	role := testenv.Decode(w.T, text)[0]
	role.SetName("manager-role-" + w.ns)
	w.Expect(w.client.Create(w.Context(), role)).To(Succeed())
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "manager"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.GetName()},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.ns, Name: "manager"}},
	})
}

func (w *world) doctor(code int) string {
	w.Helper()
	r := w.run("doctor", "--manager-namespace", w.ns)
	w.Expect(r.Code).To(Equal(code), r.Out+r.Err)
	return r.Out
}

func TestDoctorOfWhatIsWell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.factory()
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "hub-secret"}})
	w.installed(1, time.Now())
	w.mayWork()
	out := w.doctor(0)
	w.Expect(out).NotTo(ContainSubstring("FAIL"))
	for _, tt := range []struct{ about, want string }{
		{"API server", "ok API server v1."},
		{"clock", "ok clock this machine and the API server agree"},
		{"CRD devicetwins", "ok CRD devicetwins serves v1alpha1, as this program knows it"},
		{"your rights", "ok your rights you may read and change"},
		{"Deployment", "ok Deployment manager 1 of 1 Pods are ready, image registry.example.com/devicetwin-operator"},
		{"rights of", "ok rights of ServiceAccount " + w.ns + "/manager it may do its work"},
		{"Lease", "ok Lease devicetwin-operator.iothub.devicetwin.io held by manager-1"},
		{"Secret", "ok HubConnection " + w.ns + "/hub its Secret hub-secret is there"},
		{"is ready", "ok HubConnection " + w.ns + "/hub is ready: the hub answered"},
	} {
		w.Expect(lineOf(out, tt.about)).To(HavePrefix(tt.want))
	}
	var printed struct {
		Checks []struct{ Status, Subject string }
	}
	w.Expect(json.Unmarshal([]byte(w.ok("doctor", "--manager-namespace", w.ns, "-o", "json")), &printed)).To(Succeed())
	w.Expect(len(printed.Checks)).To(BeNumerically(">", 8))
}

func TestDoctorOfWhatIsNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.factory()
	w.installed(0, time.Now().Add(-time.Hour))
	conn.Status.ReadBackAsOf = ptr.To(metav1.NewTime(time.Now().Add(-10 * time.Minute)))
	conn.Status.Conditions = []metav1.Condition{
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonUnauthorized, "the hub refused the credential"),
		condition(v1alpha1.ConditionReadBackLate, metav1.ConditionTrue, v1alpha1.ReasonReadBackBlocked, "no answer"),
		condition(v1alpha1.ConditionPaused, metav1.ConditionTrue, v1alpha1.ReasonGuardTripped, "500 twins were changed"),
	}
	w.Expect(w.client.Status().Update(w.Context(), conn)).To(Succeed())
	out := w.doctor(cluster.ExitFound)
	for _, tt := range []struct{ about, want string }{
		{"Deployment", "FAIL Deployment manager 0 of 1 Pods are ready"},
		{"rights of", "FAIL rights of ServiceAccount " + w.ns + "/manager in namespace " + w.ns + " it may not get devicetwins"},
		{"Lease", "FAIL Lease devicetwin-operator.iothub.devicetwin.io was renewed 60m ago by manager-1, and lasts 15s: no manager acts"},
		{"Secret", "FAIL HubConnection " + w.ns + "/hub its Secret hub-secret is not there: create it"},
		{"not ready", "FAIL HubConnection " + w.ns + "/hub is not ready: Unauthorized: the hub refused the credential"},
		{"read back late", "FAIL HubConnection " + w.ns + "/hub its hub is read back late: last complete 10m ago, no answer"},
		{"Paused", "warn HubConnection " + w.ns + "/hub Paused: 500 twins were changed"},
	} {
		w.Expect(lineOf(out, tt.about)).To(HavePrefix(tt.want))
	}
}

// TestDoctorOfAStranger: what may not be seen is no failure.
func TestDoctorOfAStranger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.as("stranger")
	out := w.doctor(0)
	for _, about := range []string{"CRD devicetwins", "manager", "Lease", "webhooks", "HubConnections"} {
		w.Expect(lineOf(out, about)).To(HavePrefix("warn "+about+" not checked: "), about)
	}
	w.Expect(lineOf(out, "your rights")).To(HavePrefix("warn your rights in namespace " + w.ns + " you may not get devicetwins"))
	w.Expect(w.refused("--server", "https://127.0.0.1:1", "doctor")).To(ContainSubstring("the API server does not answer"))
}

func TestDoctorOfWebhooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hooks := suite.env.InstallWebhooks(t, w.ns)
	w.Expect(hooks.Address).NotTo(BeEmpty())
	out := w.run("doctor", "--manager-namespace", w.ns).Out
	w.Expect(lineOf(out, "webhook devicetwins")).To(MatchRegexp(`^(ok|warn) webhook devicetwins.iothub.devicetwin.io its certificate authority (is good until|expires on) \d{4}-`))
	w.Expect(lineOf(out, "admission")).To(HavePrefix("warn admission does not answer for namespace "+w.ns), "nothing serves them")
}

// TestWithoutDefinitions: a cluster that does not know the kinds is told from one that has no objects.
func TestWithoutDefinitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	env, err := testenv.Start(testenv.Options{CRDDirs: []string{}})
	w.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { w.Expect(env.Stop()).To(Succeed()) })
	w.kubeconfig = env.KubeconfigFile(t)
	for _, args := range [][]string{{"get"}, {"get", "-A"}, {"status", "hub"}, {"suspend", "--all"}} {
		w.Expect(w.refused(args...)).To(ContainSubstring("install the custom resource definitions"), args[0])
	}
	out := w.doctor(cluster.ExitFound)
	w.Expect(lineOf(out, "CRD devicetwins")).To(Equal("FAIL CRD devicetwins is not there: install the custom resource definitions, crds.yaml of the release"))
}
