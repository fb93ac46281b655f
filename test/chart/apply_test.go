package chart_test

import (
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// certManager holds the definitions of cert-manager's kinds.
const certManager = root + "/test/config/testdata/cert-manager"

// TestEveryExampleApplies has the API server judge every object, which knows
// neither cert-manager nor the Prometheus operator.
func TestEveryExampleApplies(t *testing.T) {
	c := newClient(t)
	files := examples(t)
	delete(files, "certmanager") // TestCertManagerIsNeededWhereItIsAskedFor
	files["default"] = chart + "/values.yaml"
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			in := testenv.Namespace(t, c, nil)
			ensureWatched(t, c)
			out, err := helm(t, cluster.KubeconfigFile(t), "template", release, chart, "--namespace", in, "--dry-run=server", "--values", file)
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			dryRun(t, c, decode(t, out))
		})
	}
}

// ensureWatched makes the namespaces that an example watches: a chart makes none.
func ensureWatched(t *testing.T, c client.Client) {
	t.Helper()
	for _, name := range []string{"plant-a", "plant-b"} {
		NewWithT(t).Expect(client.IgnoreAlreadyExists(c.Create(t.Context(), &corev1.Namespace{ObjectMeta: named("", name)}))).To(Succeed())
	}
}

func dryRun(t *testing.T, c client.Client, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, object := range objects {
		NewWithT(t).Expect(c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("chart-test"), client.DryRunAll)).
			To(Succeed(), "%s %s", object.GetKind(), object.GetName())
	}
}

func TestCertManagerIsNeededWhereItIsAskedFor(t *testing.T) {
	g := NewWithT(t)
	c := newClient(t)
	in := testenv.Namespace(t, c, nil)
	args := []string{release, chart, "--namespace", in, "--dry-run=server", "--values", examples(t)["certmanager"]}

	_, err := helm(t, cluster.KubeconfigFile(t), append([]string{"install"}, args...)...)
	g.Expect(err).To(MatchError(And(ContainSubstring(`no matches for kind "Certificate" in version "cert-manager.io/v1"`),
		ContainSubstring("ensure CRDs are installed first"))))

	_, err = envtest.InstallCRDs(cluster.Config(), envtest.CRDInstallOptions{Paths: []string{certManager}, ErrorIfPathMissing: true})
	g.Expect(err).NotTo(HaveOccurred())
	out, err := helm(t, cluster.KubeconfigFile(t), append([]string{"template"}, args...)...)
	g.Expect(err).NotTo(HaveOccurred())
	dryRun(t, newClient(t), decode(t, out))
}

// TestPodsPassTheRestrictedStandard lets the API server's own pod security
// admission judge the Pods of every example but the one in the node's network.
func TestPodsPassTheRestrictedStandard(t *testing.T) {
	c := newClient(t)
	in := testenv.Namespace(t, c, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	files := examples(t)
	delete(files, "bare")
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(c.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: named(in, "existing")})).
				To(Or(Succeed(), MatchError(apierrors.IsAlreadyExists, "exists already")))
			deployments := 0
			for _, object := range render(t, "--values", file) {
				var pod *corev1.Pod
				switch object.GetKind() {
				case "Deployment":
					deployments++
					pod = podOf(t, object, in)
				case "Pod": // of helm test
					pod = convert[corev1.Pod](t, object)
					pod.Namespace, pod.Spec.ServiceAccountName = in, "existing"
				default:
					continue
				}
				g.Expect(c.Create(t.Context(), pod.DeepCopy(), client.DryRunAll)).To(Succeed())

				pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = ptr.To(true)
				g.Expect(c.Create(t.Context(), pod, client.DryRunAll)).To(MatchError(apierrors.IsForbidden, "forbidden"),
					"the standard is not enforced")
			}
			g.Expect(deployments).To(BeNumerically(">", 0))
		})
	}
}

// podOf is what a Deployment would start if anything here ran Deployments. Its
// account is one that exists.
func podOf(t *testing.T, object *unstructured.Unstructured, in string) *corev1.Pod {
	t.Helper()
	var deployment appsv1.Deployment
	NewWithT(t).Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &deployment, true)).To(Succeed())
	template := deployment.Spec.Template
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Namespace, pod.GenerateName = in, "manager-"
	pod.Spec.ServiceAccountName = "existing"
	return pod
}
