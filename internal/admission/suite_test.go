package admission_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/zap/zapcore"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/controllers"
	"github.com/devicetwin-io/devicetwin-operator/internal/admission"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// patience bounds every wait; a new certificate is noticed within ten seconds at
// the latest.
const patience = 30 * time.Second

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

// world is one test's own: a namespace whose objects are asked about at admission,
// one whose objects are not, and a manager that sees just these.
type world struct {
	*testing.T
	WithT
	client   client.Client
	warnings *warnings
	hooks    testenv.Webhooks
	on, off  string
	stop     context.CancelFunc // ends the manager and waits
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, WithT: *NewWithT(t), warnings: &warnings{}}
	config := suite.env.Config()
	config.WarningHandlerWithContext = w.warnings
	var err error
	w.client, err = client.New(config, client.Options{Scheme: suite.scheme})
	w.Expect(err).NotTo(HaveOccurred())
	w.on, w.off = testenv.Namespace(t, w.client, nil), testenv.Namespace(t, w.client, nil)
	w.hooks = suite.env.InstallWebhooks(t, w.on)
	return w
}

// in is this world in the hands of a subtest.
func (w *world) in(t *testing.T) *world {
	t.Helper()
	sub := *w
	sub.T, sub.WithT = t, *NewWithT(t)
	return &sub
}

// startManager runs the controllers, and the webhooks too if they are wanted; an
// earlier manager must have been stopped.
func (w *world) startManager(webhooks bool) {
	w.Helper()
	options := ctrl.Options{
		Scheme:     suite.scheme,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{w.on: {}, w.off: {}}},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
	}
	var err error
	if webhooks {
		options.WebhookServer, err = admission.NewServer(w.hooks.Address, w.hooks.CertDir)
		w.Expect(err).NotTo(HaveOccurred())
	}
	mgr, err := ctrl.NewManager(suite.env.Config(), options)
	w.Expect(err).NotTo(HaveOccurred())
	if webhooks {
		w.Expect(admission.Setup(mgr)).To(Succeed())
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.Expect(controllers.Setup(ctx, mgr, controllers.Options{
		RetryInterval: 200 * time.Millisecond, AllowedHostSuffixes: []string{"localhost"},
	})).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		w.Expect(<-ended).To(Succeed())
	})
	w.Cleanup(w.stop)
	if webhooks {
		w.awaitWebhooks()
	}
}

// awaitWebhooks waits until the API server asks at admission.
func (w *world) awaitWebhooks() {
	w.Helper()
	w.Eventually(func() bool {
		return apierrors.IsInvalid(w.client.Create(w.Context(), w.query(w.on, "probe", "AND"), client.DryRunAll))
	}, patience).Should(BeTrue())
}

func (w *world) twin(namespace, name, tags, desired string) *v1alpha1.DeviceTwin {
	obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	obj.Spec.HubRef.Name, obj.Spec.DeviceID = "hub", "d1"
	obj.Spec.Tags, obj.Spec.Desired = raw(tags), raw(desired)
	return obj
}

func raw(text string) *runtime.RawExtension {
	if text == "" {
		return nil
	}
	return &runtime.RawExtension{Raw: []byte(text)}
}

func (w *world) query(namespace, name, where string) *v1alpha1.TwinQuery {
	obj := &v1alpha1.TwinQuery{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	obj.Spec.HubRef.Name, obj.Spec.Where = "hub", where
	obj.Spec.Interval.Duration = time.Minute
	return obj
}

func (w *world) connection(namespace, name string) *v1alpha1.HubConnection {
	obj := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	obj.Spec.Auth.ConnectionStringSecretRef = &v1alpha1.SecretKeyReference{Name: "none"}
	obj.Spec.ReadBack.Interval.Duration = time.Minute
	return obj
}

func (w *world) create(obj client.Object) {
	w.Helper()
	w.Expect(w.client.Create(w.Context(), obj)).To(Succeed())
}

// stalled waits until the controller reports the object as stalled, and returns why.
func (w *world) stalled(obj kstatus.Object) metav1.Condition {
	w.Helper()
	var found *metav1.Condition
	w.Eventually(func() bool {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		found = kstatus.Current(obj, v1alpha1.ConditionStalled)
		return found != nil && found.Status == metav1.ConditionTrue
	}, patience, "20ms").Should(BeTrue(), "%s is not stalled", obj.GetName())
	return *found
}

// causes are what an error of the API server says of each field.
func causes(err error) []string {
	var out []string
	status, ok := err.(apierrors.APIStatus)
	if !ok || status.Status().Details == nil {
		return []string{fmt.Sprintf("no details: %v", err)}
	}
	for _, cause := range status.Status().Details.Causes {
		out = append(out, cause.Field+": "+cause.Message)
	}
	return out
}

// warnings keeps what the API server warns of.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

var _ rest.WarningHandlerWithContext = &warnings{}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

// taken returns the warnings since it was last called.
func (w *warnings) taken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.texts
	w.texts = nil
	return taken
}
