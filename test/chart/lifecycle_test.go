package chart_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

const (
	crdName    = "devicetwins.iothub.devicetwin.io"
	secretName = release + "-webhook-certificate"
	renewAfter = "iothub.devicetwin.io/renew-after"
)

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// installation is a release of the chart on the cluster.
type installation struct {
	*WithT
	t          *testing.T
	client     client.Client
	kubeconfig string
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	scheme := runtime.NewScheme()
	g := NewWithT(t)
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme} {
		g.Expect(add(scheme)).To(Succeed())
	}
	c, err := client.New(cluster.Config(), client.Options{Scheme: scheme})
	g.Expect(err).NotTo(HaveOccurred())
	return &installation{WithT: g, t: t, client: c, kubeconfig: cluster.KubeconfigFile(t)}
}

func (i *installation) helm(args ...string) {
	i.t.Helper()
	_, err := helm(i.t, i.kubeconfig, append(args, "--namespace", namespace)...)
	i.Expect(err).NotTo(HaveOccurred())
}

func get[T client.Object](i *installation, object T) T {
	i.t.Helper()
	i.Expect(i.client.Get(i.t.Context(), client.ObjectKeyFromObject(object), object)).To(Succeed())
	return object
}

func (i *installation) crd() *apiextensionsv1.CustomResourceDefinition {
	i.t.Helper()
	return get(i, &apiextensionsv1.CustomResourceDefinition{ObjectMeta: named("", crdName)})
}

// gone waits until the API server has no such object, or not even its kind.
func (i *installation) gone(object client.Object) {
	i.t.Helper()
	i.Eventually(func() bool {
		err := i.client.Get(context.WithoutCancel(i.t.Context()), client.ObjectKeyFromObject(object), object) // cleanups wait too
		return apierrors.IsNotFound(err) || meta.IsNoMatchError(err)
	}, patience).Should(BeTrue(), "%s is still there", object.GetName())
}

// crdGone waits until the API server has taken the definition away, and all objects with it. It retries a deletion that failed
// after ever longer times, minutes at last, unless the definition changes.
func (i *installation) crdGone() {
	i.t.Helper()
	ctx := context.WithoutCancel(i.t.Context()) // cleanups wait too
	crd := i.crdReference()
	began := time.Now()
	i.Eventually(func() bool {
		err := i.client.Get(ctx, client.ObjectKeyFromObject(crd), crd)
		if apierrors.IsNotFound(err) || time.Since(began) < retriesAreLate {
			return apierrors.IsNotFound(err)
		}
		changed := crd.DeepCopy()
		metav1.SetMetaDataAnnotation(&changed.ObjectMeta, "devicetwin.io/waited", time.Since(began).String())
		_ = i.client.Patch(ctx, changed, client.MergeFrom(crd)) // it may be gone by now
		return false
	}, 3*patience, "1s").Should(BeTrue(), func() string { return fmt.Sprintf("%s is still there: %+v", crd.Name, crd.Status.Conditions) })
	if took := time.Since(began); took > retriesAreLate {
		i.t.Logf("%s was gone after %s: %+v", crd.Name, took.Round(time.Second), crd.Status.Conditions)
	}
}

// retriesAreLate is when the API server's pauses between two attempts to take a definition away are longer than they need be.
const retriesAreLate = 10 * time.Second

// TestALifeOfTheChart installs the chart as it was when DeviceTwins had no short
// name, upgrades it, uninstalls it, installs it again over what was kept, and
// uninstalls it for good.
func TestALifeOfTheChart(t *testing.T) {
	i := newInstallation(t)
	i.helm("install", release, olderChart(t), "--create-namespace")
	i.Expect(i.crd().Spec.Names.ShortNames).To(BeEmpty())
	twin := &v1alpha1.DeviceTwin{
		ObjectMeta: named("default", "press"),
		Spec:       v1alpha1.DeviceTwinSpec{HubRef: v1alpha1.HubReference{Name: "hub"}, DeviceID: "press"},
	}
	i.Eventually(func() error { return i.client.Create(t.Context(), twin.DeepCopy()) }, patience).Should(Succeed())
	kept := get(i, twin.DeepCopy())

	i.helm("upgrade", release, chart, "--set", "replicaCount=3")
	i.Expect(i.crd().Spec.Names.ShortNames).NotTo(BeEmpty(), "an upgrade upgrades the definitions")
	deployment := get(i, &appsv1.Deployment{ObjectMeta: named(namespace, release+"-manager")})
	i.Expect(deployment.Spec.Replicas).To(HaveValue(BeEquivalentTo(3)))

	i.helm("uninstall", release)
	i.gone(deployment)
	i.Expect(i.crd().DeletionTimestamp).To(BeNil(), "an uninstall leaves the definitions, which delete their objects with a delay")
	i.Expect(get(i, twin.DeepCopy())).To(Equal(kept), "and the objects")

	i.helm("install", release, chart)
	i.Expect(get(i, twin.DeepCopy())).To(Equal(kept), "so does an install over them")

	i.helm("upgrade", release, chart, "--set", "crds.keep=false")
	i.helm("uninstall", release)
	i.crdGone()
	i.gone(twin)
}

func (i *installation) crdReference() *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{ObjectMeta: named("", crdName)}
}

// olderChart is a copy of the chart whose DeviceTwins have no short names.
func olderChart(t *testing.T) string {
	t.Helper()
	g := NewWithT(t)
	dir := filepath.Join(t.TempDir(), "devicetwin-operator")
	g.Expect(os.CopyFS(dir, os.DirFS(chart))).To(Succeed())
	file := filepath.Join(dir, "files/crds/iothub.devicetwin.io_devicetwins.yaml")
	text, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred())
	before, after, found := strings.Cut(string(text), "    shortNames:\n")
	g.Expect(found).To(BeTrue())
	_, after, _ = strings.Cut(after, "\n")
	g.Expect(os.WriteFile(file, []byte(before+after), 0o600)).To(Succeed())
	return dir
}

// TestTheCertificateOfTheWebhooks: an upgrade keeps it while it is young; a new one
// is trusted beside the old one, which managers serve until they have taken it up.
func TestTheCertificateOfTheWebhooks(t *testing.T) {
	i := newInstallation(t)
	i.helm("install", release, chart, "--create-namespace")
	t.Cleanup(func() {
		_, err := helm(t, i.kubeconfig, "uninstall", release, "--namespace", namespace)
		i.Expect(err).NotTo(HaveOccurred())
	})
	first, bundle := i.certificate()
	i.expectTrust(bundle, first)

	i.helm("upgrade", release, chart)
	same, sameBundle := i.certificate()
	i.Expect(same).To(Equal(first))
	i.Expect(sameBundle).To(Equal(bundle))

	i.makeOld()
	i.helm("upgrade", release, chart, "--force-conflicts") // with makeOld, whose field manager is another
	second, bundle := i.certificate()
	i.Expect(second).NotTo(Equal(first))
	i.expectTrust(bundle, first, second)

	i.makeOld()
	i.helm("upgrade", release, chart, "--force-conflicts") // with makeOld, whose field manager is another
	third, bundle := i.certificate()
	i.expectTrust(bundle, second, third)
	i.Expect(strings.Count(string(bundle), "BEGIN CERTIFICATE")).To(Equal(2), "the first one's time is over")
}

// certificate is what the managers serve, and what the API server trusts.
func (i *installation) certificate() (*x509.Certificate, []byte) {
	i.t.Helper()
	secret := get(i, &corev1.Secret{ObjectMeta: named(namespace, secretName)})
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	i.Expect(err).NotTo(HaveOccurred())
	configuration := get(i, &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: named("", release+"-validation")})
	i.Expect(configuration.Webhooks).To(HaveLen(5))
	for _, webhook := range configuration.Webhooks {
		i.Expect(webhook.ClientConfig.CABundle).To(Equal(secret.Data["ca.crt"]))
	}
	return pair.Leaf, secret.Data["ca.crt"]
}

func (i *installation) expectTrust(bundle []byte, certificates ...*x509.Certificate) {
	i.t.Helper()
	roots := x509.NewCertPool()
	i.Expect(roots.AppendCertsFromPEM(bundle)).To(BeTrue())
	for _, certificate := range certificates {
		_, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: release + "-webhook." + namespace + ".svc"})
		i.Expect(err).NotTo(HaveOccurred())
	}
}

// makeOld lets the certificate's time to be renewed come.
func (i *installation) makeOld() {
	i.t.Helper()
	secret := get(i, &corev1.Secret{ObjectMeta: named(namespace, secretName)})
	secret.Annotations[renewAfter] = "1"
	i.Expect(i.client.Update(i.t.Context(), secret)).To(Succeed())
}
