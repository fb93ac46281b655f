package installcheck_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/zap/zapcore"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/controllers"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/admission"
	"github.com/devicetwin-io/devicetwin-operator/internal/installcheck"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

const (
	// patience is for checks that come to succeed, impatience for those that do not.
	patience   = 30 * time.Second
	impatience = 3 * time.Second
	account    = "checker"
)

// suite is what the tests of this package share: an API server, nothing in it.
var suite struct {
	env    *testenv.Env
	scheme *runtime.Scheme
}

func TestMain(m *testing.M) {
	log.SetLogger(zap.New(zap.WriteTo(os.Stderr), zap.Level(zapcore.FatalLevel))) // what fails is asserted, not printed
	os.Exit(testenv.Run(m, testenv.Options{}, func(env *testenv.Env) {
		suite.env = env
		suite.scheme = runtime.NewScheme()
		for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
			if err := add(suite.scheme); err != nil {
				panic(err)
			}
		}
	}))
}

// world is one test's own: a namespace with an account that has the rights of the chart's test, and what is installed.
type world struct {
	*testing.T
	WithT
	client  client.Client
	ns      string
	hooks   testenv.Webhooks
	metrics string
	options installcheck.Options
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, WithT: *NewWithT(t)}
	var err error
	w.client, err = client.New(suite.env.Config(), client.Options{Scheme: suite.scheme})
	w.Expect(err).NotTo(HaveOccurred())
	w.ns = testenv.Namespace(t, w.client, nil)
	// The first of a kind takes the API server its time; later ones it does not.
	first := &v1alpha1.DeviceTwin{ObjectMeta: w.named("first"), Spec: v1alpha1.DeviceTwinSpec{HubRef: v1alpha1.HubReference{Name: "hub"}, DeviceID: "d1"}}
	w.Expect(w.client.Create(t.Context(), first, client.DryRunAll)).To(Succeed())
	w.create(&corev1.ServiceAccount{ObjectMeta: w.named(account)})
	w.grant("objects", rbacv1.PolicyRule{APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"devicetwins"}, Verbs: []string{"create"}},
		rbacv1.PolicyRule{APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"hubconnections"}, Verbs: []string{"create", "watch", "delete"}},
		rbacv1.PolicyRule{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"validatingwebhookconfigurations"}, Verbs: []string{"get"}})
	w.options = installcheck.Options{Config: w.asAccount(), Namespace: w.ns, Patience: impatience}
	return w
}

func (w *world) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.ns, Name: name}
}

func (w *world) create(object client.Object) {
	w.Helper()
	w.Expect(w.client.Create(w.Context(), object)).To(Succeed())
}

// grant gives the account rights in all namespaces.
func (w *world) grant(name string, rules ...rbacv1.PolicyRule) {
	w.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: w.ns + "-" + name}, Rules: rules}
	w.create(role)
	w.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.ns, Name: account}},
	})
}

// asAccount reaches the API server as a Pod of the account does, with its token.
func (w *world) asAccount() *rest.Config {
	w.Helper()
	request := &authenticationv1.TokenRequest{}
	w.Expect(w.client.SubResource("token").Create(w.Context(), &corev1.ServiceAccount{ObjectMeta: w.named(account)}, request)).To(Succeed())
	config := rest.AnonymousClientConfig(suite.env.Config())
	config.BearerToken = request.Status.Token
	return config
}

// installWebhooks registers the webhooks; serveWebhooks decides whether they answer.
func (w *world) installWebhooks() {
	w.Helper()
	w.hooks = suite.env.InstallWebhooks(w.T, w.ns)
	w.options.Webhooks = w.hooks.Configuration
}

// startManager runs controllers, webhooks from the certificate in certDir, and metrics.
func (w *world) startManager(certDir string) {
	w.Helper()
	w.metrics = freeAddress(w)
	options := ctrl.Options{
		Scheme: suite.scheme,
		Metrics: metricsserver.Options{
			BindAddress: w.metrics, SecureServing: true, FilterProvider: filters.WithAuthenticationAndAuthorization,
			TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }},
		},
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{w.ns: {}}},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
	}
	var server webhook.Server
	if certDir != "" {
		var err error
		server, err = admission.NewServer(w.hooks.Address, certDir)
		w.Expect(err).NotTo(HaveOccurred())
		options.WebhookServer = server
	}
	mgr, err := ctrl.NewManager(suite.env.Config(), options)
	w.Expect(err).NotTo(HaveOccurred())
	if server != nil {
		w.Expect(admission.Setup(mgr)).To(Succeed())
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.Expect(controllers.Setup(ctx, mgr, controllers.Options{RetryInterval: 200 * time.Millisecond, AllowedHostSuffixes: []string{"localhost"}})).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	w.Cleanup(func() {
		cancel()
		w.Expect(<-ended).To(Succeed())
	})
	w.options.MetricsURLs = []string{"https://" + w.metrics + "/metrics"}
}

func freeAddress(w *world) string {
	w.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	return listener.Addr().String()
}

// connectHub starts a hub, and puts its connection string into the Secret hub.
func (w *world) connectHub() {
	w.Helper()
	hub, err := hubemulator.Start(context.Background(), hubemulator.Options{})
	w.Expect(err).NotTo(HaveOccurred())
	w.Cleanup(func() { w.Expect(hub.Close()).To(Succeed()) })
	text, err := hub.ServiceConnectionString("service")
	w.Expect(err).NotTo(HaveOccurred())
	w.create(&corev1.Secret{ObjectMeta: w.named("hub"), StringData: map[string]string{"connectionString": text}})
	w.options.HubSecret, w.options.HubCA = "hub", hub.CACertificatePEM()
}

// run returns the lines of the check.
func (w *world) run() ([]string, error) {
	w.Helper()
	var out bytes.Buffer
	err := installcheck.Run(w.Context(), w.options, &out)
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"), err
}

// expectFailed expects that exactly one check fails, with these words.
func (w *world) expectFailed(name string, words ...string) {
	w.Helper()
	lines, err := w.run()
	w.Expect(err).To(MatchError(installcheck.ErrFailed))
	var failed []string
	for _, line := range lines {
		if strings.HasPrefix(line, "FAILED") {
			failed = append(failed, line)
		}
	}
	w.Expect(failed).To(HaveLen(1))
	w.Expect(failed[0]).To(HavePrefix("FAILED   " + name + ": "))
	for _, word := range words {
		w.Expect(failed[0]).To(ContainSubstring(word))
	}
}

func (w *world) hubConnections() []v1alpha1.HubConnection {
	w.Helper()
	var list v1alpha1.HubConnectionList
	w.Expect(w.client.List(w.Context(), &list, client.InNamespace(w.ns))).To(Succeed())
	return list.Items
}
