package installcheck_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/devicetwin-io/devicetwin-operator/internal/installcheck"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

func (w *world) grantMetrics() {
	w.Helper()
	w.grant("metrics", rbacv1.PolicyRule{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}})
}

func TestAnInstallationThatWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installWebhooks()
	w.connectHub()
	w.grantMetrics()
	w.startManager(w.hooks.CertDir)
	w.options.Patience = patience

	lines, err := w.run()
	w.Expect(err).NotTo(HaveOccurred(), "%q", lines)
	w.Expect(lines).To(HaveExactElements(
		"ok       kinds: the API server serves DeviceTwin, DeviceTwinSet, HubConnection, TwinQuery and TwinRequest at iothub.devicetwin.io/v1alpha1",
		"ok       webhook: the API server has it refuse a bad DeviceTwin, and let in a good one",
		MatchRegexp(`^ok       metrics: \d+ are served by 1 of 1 Services$`),
		MatchRegexp(`^ok       hub: a HubConnection to localhost:\d+ came to be Ready$`),
	))
	w.Eventually(w.hubConnections, patience).Should(BeEmpty(), "it leaves nothing behind")
}

func TestWhatIsNotInstalledIsSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lines, err := w.run()
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(lines[1:]).To(Equal([]string{
		"skipped  webhook: no webhooks are installed", "skipped  metrics: no metrics are served", "skipped  hub: no hub to reach is named",
	}))
}

// TestKinds has an API server of its own, without the definitions at first.
func TestKinds(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	env, err := testenv.Start(testenv.Options{CRDDirs: []string{}})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(env.Stop()).To(Succeed()) })
	w := &world{T: t, WithT: *g}
	w.options = installcheck.Options{Config: env.Config(), Namespace: "default", Patience: impatience, Webhooks: "validation", HubSecret: "hub"}

	w.expectFailed("kinds", "the API server does not serve iothub.devicetwin.io: install the CustomResourceDefinitions")
	lines, _ := w.run()
	w.Expect(lines[1:]).To(HaveEach(HavePrefix("skipped")))

	definitions := func(versions ...string) {
		install := envtest.CRDInstallOptions{Paths: []string{"../../config/crd/bases/iothub.devicetwin.io_devicetwins.yaml"}, ErrorIfPathMissing: true}
		g.Expect(envtest.ReadCRDFiles(&install)).To(Succeed())
		install.Paths = nil
		spec := &install.CRDs[0].Spec
		first := spec.Versions[0]
		spec.Versions = nil
		for i, version := range versions {
			first.Name, first.Storage = version, i == 0
			spec.Versions = append(spec.Versions, first)
		}
		_, err := envtest.InstallCRDs(env.Config(), install)
		g.Expect(err).NotTo(HaveOccurred())
	}
	definitions("v1beta1")
	w.expectFailed("kinds", "serves iothub.devicetwin.io at v1beta1, not at v1alpha1")
	definitions("v1beta1", "v1alpha1")
	w.expectFailed("kinds", "iothub.devicetwin.io/v1alpha1 has no devicetwinsets, devicetwinsets/status, hubconnections, hubconnections/status, twinqueries, twinqueries/status")
}

// configure changes the webhook configuration, and waits until the API server goes by it.
func (w *world) configure(change func(*admissionv1.ValidatingWebhookConfiguration)) {
	w.Helper()
	var configuration admissionv1.ValidatingWebhookConfiguration
	w.Expect(w.client.Get(w.Context(), client.ObjectKey{Name: w.hooks.Configuration}, &configuration)).To(Succeed())
	change(&configuration)
	w.Expect(w.client.Update(w.Context(), &configuration)).To(Succeed())
}

func TestTheWebhookDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installWebhooks()
	w.expectFailed("webhook", "was let in: the API server does not reach the webhook", "nothing answers at "+w.hooks.Address, "connection refused", "Pods Ready")

	w.configure(func(c *admissionv1.ValidatingWebhookConfiguration) {
		for i := range c.Webhooks {
			c.Webhooks[i].FailurePolicy = ptr.To(admissionv1.Fail)
		}
	})
	w.expectFailed("webhook", "failed calling webhook", "nothing answers at "+w.hooks.Address)
}

func TestTheWebhookHasAnotherCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.installWebhooks()
	w.startManager(selfSigned(w))
	w.options.MetricsURLs = nil
	w.expectFailed("webhook", "the certificate that "+w.hooks.Address+" serves is not one of caBundle", "certificate signed by unknown authority")
}

func TestTheWebhookHasNoAuthority(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		annotations map[string]string
		want        string
	}{
		"of cert-manager": {map[string]string{"cert-manager.io/inject-ca-from": "plant/webhook"}, "cert-manager has not issued the certificate"},
		"at all":          {nil, "has no caBundle: set webhook.certificate.caBundle"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.installWebhooks()
			w.configure(func(c *admissionv1.ValidatingWebhookConfiguration) {
				c.Annotations = tt.annotations
				for i := range c.Webhooks {
					c.Webhooks[i].ClientConfig.CABundle = nil
				}
			})
			w.expectFailed("webhook", tt.want)
			if tt.annotations != nil {
				w.expectFailed("webhook", "`kubectl -n plant describe certificate webhook`")
			}
		})
	}
}

func TestTheWebhookIsNotConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.options.Webhooks = "none"
	w.expectFailed("webhook", "there is no ValidatingWebhookConfiguration none")

	w.installWebhooks()
	w.configure(func(c *admissionv1.ValidatingWebhookConfiguration) { c.Webhooks = c.Webhooks[1:] })
	w.expectFailed("webhook", "has no webhook devicetwins.iothub.devicetwin.io")
}

// TestAnotherRefusal is not taken for the webhook's.
func TestAnotherRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.options.Webhooks, w.options.Namespace = "none", "does-not-exist"
	w.expectFailed("webhook", "though not by the webhook", `namespaces "does-not-exist" not found`)

	without, err := suite.env.ServiceAccountConfig(w.ns, "without-rights")
	w.Expect(err).NotTo(HaveOccurred())
	w.options.Config, w.options.Namespace = without, w.ns
	w.expectFailed("webhook", "the check lacks rights", "devicetwins")
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startManager("")
	w.expectFailed("metrics", "may not read metrics (403 Forbidden): bind its account to the ClusterRole")
	token := w.options.Config.BearerToken
	w.options.Config.BearerToken = "" // as with a client certificate
	w.options.Config.TLSClientConfig = suite.env.Config().TLSClientConfig
	w.expectFailed("metrics", "does not accept the token (401 Unauthorized)")
	w.options.Config.BearerToken = token

	w.options.MetricsURLs = []string{"https://" + freeAddress(w) + "/metrics"}
	w.expectFailed("metrics", w.options.MetricsURLs[0]+": nothing answers", "connection refused")
}

func TestMetricsOfAnotherProgram(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status     int
		text, want string
	}{
		"a page":                {http.StatusOK, "<html>", "no text of Prometheus"},
		"metrics of no program": {http.StatusOK, "up 1\n", "no go_info among the 1 metrics"},
		"an error":              {http.StatusBadGateway, "", "502 Bad Gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
				if request.Header.Get("Authorization") != "" {
					t.Error("the token is shown without TLS")
				}
				out.WriteHeader(tt.status)
				_, _ = out.Write([]byte(tt.text))
			}))
			t.Cleanup(server.Close)
			w.options.MetricsURLs = []string{server.URL}
			w.expectFailed("metrics", tt.want)
		})
	}
}

func TestAHubThatIsNotReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connectHub()
	w.expectFailed("hub", "no manager has taken up the HubConnection")
	w.Expect(w.hubConnections()).To(BeEmpty())

	w.startManager("")
	w.options.MetricsURLs = nil
	w.options.HubSecret = "none"
	w.expectFailed("hub", "the HubConnection is not Ready: ", `"none"`)

	w.create(&corev1.Secret{ObjectMeta: w.named("broken"), StringData: map[string]string{"connectionString": "HostName=localhost:1;SharedAccessKeyName=service;SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZg=="}})
	w.options.HubSecret = "broken"
	w.expectFailed("hub", "the HubConnection is not Ready: HubUnreachable: ", "nothing accepts connections there", "docs/conditions.md")
	w.Eventually(w.hubConnections, patience).Should(BeEmpty())
}

// selfSigned writes the certificate of an authority that no caBundle names.
func selfSigned(w *world) (dir string) {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	w.Expect(err).NotTo(HaveOccurred())
	keyDER, err := x509.MarshalECPrivateKey(key)
	w.Expect(err).NotTo(HaveOccurred())
	dir = w.TempDir()
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		w.Expect(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600)).To(Succeed())
	}
	return dir
}
