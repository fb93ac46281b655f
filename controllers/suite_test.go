package controllers_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"go.uber.org/zap/zapcore"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
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
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

const (
	// patience bounds every wait; nothing here takes a tenth of it on an idle machine.
	patience = 30 * time.Second
	// readBack is the interval of the test hubs, the shortest that is allowed.
	readBack = time.Second
	// Namespaces of the accounts that the managers under test act as. Those of the first have
	// the generated roles in all namespaces, those of the second just what every manager
	// needs, and those of the third nothing but what each is given in its namespaces.
	managersNamespace  = "devicetwin-system"
	noSecretsNamespace = "devicetwin-no-secrets"
	boundNamespace     = "devicetwin-bound"
)

// namespaced has each manager act with Roles in its test's namespaces alone, in place of
// ClusterRoles.
var namespaced = flag.Bool("namespaced", false, "run managers with --watch-namespaces, and rights there alone")

// suite is what the tests of this package share: an API server, nothing in it.
var suite struct {
	env    *testenv.Env
	scheme *runtime.Scheme
	audit  string
}

func TestMain(m *testing.M) { os.Exit(runSuite(m)) }

func runSuite(m *testing.M) int {
	scratch, err := os.MkdirTemp("", "controllers-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	suite.audit = scratch + "/audit.log"
	log.SetLogger(zap.New(zap.WriteTo(os.Stderr), zap.Level(zapcore.FatalLevel))) // what reconcilers fail at is asserted, not printed
	return testenv.Run(m, testenv.Options{AuditLog: suite.audit}, func(env *testenv.Env) {
		suite.env = env
		suite.scheme = runtime.NewScheme()
		must(clientgoscheme.AddToScheme(suite.scheme))
		must(v1alpha1.AddToScheme(suite.scheme))
		must(grantManagers(env))
	})
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// grantManagers gives the generated roles to the accounts of all managers' namespaces but
// boundNamespace.
func grantManagers(env *testenv.Env) error {
	accounts := func(namespace string) rbacv1.Subject {
		return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + namespace}
	}
	return errors.Join(
		env.GrantRoles("", accounts(managersNamespace)),
		env.GrantRoles("", accounts(noSecretsNamespace), testenv.ManagerRole))
}

// world is one test's own: a hub, a namespace, and a manager that sees just that.
type world struct {
	*testing.T
	WithT
	client  client.Client
	hub     *hubemulator.Server
	ns      string
	account string
	// accounts is the namespace of account, by which it has its rights.
	accounts string
	stop     context.CancelFunc // ends the manager and waits
	options  controllers.Options
	// hubOptions of the hub, which has a device d1 unless they say otherwise.
	hubOptions hubemulator.Options
	log        logr.Logger // of the managers; the zero value is the suite's
	policy     string      // of the hub's connection string; service by default
	also       []string    // further namespaces the manager sees
	env        *testenv.Env
	// remembered lists what the manager remembers, for a test that sets it.
	remembered *func() []string
	// wire is put before the manager's way to the API server, for a test that sets it.
	wire func(http.RoundTripper) http.RoundTripper
	// uninstalled tells that the kinds are gone, and the objects with them.
	uninstalled bool
}

// Context does not end, unlike the test's own, before the checks at the test's end.
func (w *world) Context() context.Context { return context.WithoutCancel(w.T.Context()) }

type setting func(*world)

func withClock(c clock.PassiveClock) setting { return func(w *world) { w.options.Clock = c } }

// withPatience has the manager look at what waits so seldom that a test only sees
// what wakes it.
func withPatience() setting { return func(w *world) { w.options.RetryInterval = time.Hour } }

// withPolicy gives the manager another policy of the hub than the least one.
func withPolicy(name string) setting { return func(w *world) { w.policy = name } }

func withNamespace(name string) setting {
	return func(w *world) { w.also = append(w.also, name) }
}

// withAccountIn has the manager act as an account of another namespace, with other rights.
func withAccountIn(namespace string) setting { return func(w *world) { w.accounts = namespace } }

// withEnv gives the test an API server that it does not share.
func withEnv(env *testenv.Env) setting { return func(w *world) { w.env = env } }

// newWorld starts a hub with one device d1, and a manager.
func newWorld(t *testing.T, settings ...setting) *world {
	t.Helper()
	w := &world{T: t, WithT: *NewWithT(t), env: suite.env, accounts: managersNamespace}
	if *namespaced {
		w.accounts = boundNamespace
	}
	w.hubOptions.Devices = []string{"d1"}
	for _, set := range settings {
		set(w)
	}
	admin, err := client.New(w.env.Config(), client.Options{Scheme: suite.scheme})
	w.Expect(err).NotTo(HaveOccurred())
	w.client = admin
	w.hub, err = hubemulator.Start(context.Background(), w.hubOptions)
	w.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { w.Expect(w.hub.Close()).To(Succeed()) })
	w.ns = testenv.Namespace(t, admin, nil)
	w.account = "manager-" + w.ns
	w.startManager()
	t.Cleanup(func() {
		defer w.stop()
		if w.uninstalled {
			return
		}
		w.checkConditions()
		w.checkNoCredentials()
		// A later test's hub may get the port of this one's: managers of shards look at the
		// HubConnections of all namespaces.
		for _, namespace := range append([]string{w.ns}, w.also...) {
			w.Expect(w.client.DeleteAllOf(w.Context(), &v1alpha1.HubConnection{}, client.InNamespace(namespace))).To(Succeed())
		}
	})
	return w
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	admin, err := client.New(suite.env.Config(), client.Options{Scheme: suite.scheme})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return admin
}

// startManager runs a manager under an account of its own; an earlier one must
// have been stopped.
func (w *world) startManager() {
	w.Helper()
	w.standBy()()
}

// standBy makes another manager, under the same account, that begins to act when the
// function is called that it returns: as one that is elected then.
func (w *world) standBy() (elect func()) {
	w.Helper()
	account, err := w.env.ServiceAccountConfig(w.accounts, w.account)
	w.Expect(err).NotTo(HaveOccurred())
	if w.accounts == boundNamespace {
		w.bind()
	}
	if w.wire != nil {
		account.Wrap(w.wire)
	}
	mgr := w.newManager(account)
	options := w.options
	options.AllowedHostSuffixes = []string{"localhost", "127.0.0.1", ".azure-devices.net", ".invalid"}
	options.RetryInterval, options.MaxBackoff = cmp.Or(w.options.RetryInterval, 200*time.Millisecond), 200*time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	if w.remembered != nil {
		*w.remembered, err = controllers.SetupWatched(ctx, mgr, options)
	} else {
		err = controllers.Setup(ctx, mgr, options)
	}
	w.Expect(err).NotTo(HaveOccurred())
	elected := false
	w.Cleanup(func() {
		if !elected {
			cancel()
		}
	})
	return func() {
		elected = true
		ended := make(chan error, 1)
		go func() { ended <- mgr.Start(ctx) }()
		w.stop = func() {
			cancel()
			if ended != nil {
				w.Expect(<-ended).To(Succeed())
			}
			ended = nil
		}
	}
}

// bind gives the manager's account the generated roles in the namespaces that it sees, and
// has the manager watch those. It returns once the API server knows.
func (w *world) bind() {
	w.Helper()
	namespaces := append([]string{w.ns}, w.also...)
	user := "system:serviceaccount:" + w.accounts + ":" + w.account
	var err error
	w.options.Shard, err = w.options.Shard.In(strings.Join(namespaces, ","))
	w.Expect(err).NotTo(HaveOccurred())
	for _, namespace := range namespaces {
		w.Expect(w.env.GrantRoles(namespace, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user})).To(Succeed())
		w.Eventually(func() bool {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "create", Resource: "secrets"},
			}}
			w.create(review)
			return review.Status.Allowed
		}, patience, "10ms").Should(BeTrue())
	}
}

func (w *world) newManager(account *rest.Config) ctrl.Manager {
	w.Helper()
	namespaces := map[string]cache.Config{w.ns: {}}
	for _, name := range w.also {
		namespaces[name] = cache.Config{}
	}
	mgr, err := ctrl.NewManager(account, ctrl.Options{
		Scheme:  suite.scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   w.options.Shard.Cached(cache.Options{DefaultNamespaces: namespaces}),
		// A panic is the end of the test, not a retry that hides it.
		Controller: config.Controller{SkipNameValidation: ptr.To(true), RecoverPanic: ptr.To(false)},
		Logger:     w.log,
	})
	w.Expect(err).NotTo(HaveOccurred())
	return mgr
}

// connect declares the hub, with the least credential that suffices.
func (w *world) connect() *v1alpha1.HubConnection {
	w.Helper()
	w.createSecret("hub", w.credential(cmp.Or(w.policy, "service")))
	conn := w.connection("hub")
	w.create(conn)
	return conn
}

func (w *world) credential(policy string) string {
	w.Helper()
	text, err := w.hub.ServiceConnectionString(policy)
	w.Expect(err).NotTo(HaveOccurred())
	return text
}

func (w *world) createSecret(name, connectionString string) *corev1.Secret {
	w.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name},
		StringData: map[string]string{"connectionString": connectionString},
	}
	w.create(secret)
	return secret
}

func (w *world) connection(name string) *v1alpha1.HubConnection {
	conn := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
	conn.Spec.Auth.ConnectionStringSecretRef = &v1alpha1.SecretKeyReference{Name: name}
	conn.Spec.CABundle = w.hub.CACertificatePEM()
	conn.Spec.ReadBack.Interval.Duration = readBack
	conn.Spec.ReadBack.FullSweepInterval.Duration = readBack
	conn.Spec.Tier = v1alpha1.Tier{SKU: v1alpha1.SKUS3, Units: 10} // a hub without limits is declared as the largest one
	if tier := w.hubOptions.Tier; tier != "" {
		conn.Spec.Tier = v1alpha1.Tier{SKU: v1alpha1.SKU(tier), Units: 1}
	}
	conn.Spec.Budget.RatePercent = 100
	return conn
}

// twin makes a DeviceTwin that is not created yet; tags and desired are JSON, and
// left out when empty.
func (w *world) twin(name, device, tags, desired string) *v1alpha1.DeviceTwin {
	obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
	obj.Spec.HubRef.Name = "hub"
	obj.Spec.DeviceID = device
	obj.Spec.Tags, obj.Spec.Desired = raw(tags), raw(desired)
	return obj
}

func raw(text string) *runtime.RawExtension {
	if text == "" {
		return nil
	}
	return &runtime.RawExtension{Raw: []byte(text)}
}

func (w *world) query(name, where string) *v1alpha1.TwinQuery {
	obj := &v1alpha1.TwinQuery{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
	obj.Spec.HubRef.Name = "hub"
	obj.Spec.Where = where
	obj.Spec.Interval.Duration = 5 * time.Second
	return obj
}

func (w *world) create(obj client.Object) {
	w.Helper()
	w.Expect(w.client.Create(w.Context(), obj)).To(Succeed())
}

// edit changes an object as a person would, again if another client wrote in between.
func (w *world) edit(obj client.Object, change func()) {
	w.Helper()
	w.Eventually(func() error {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		change()
		err := w.client.Update(w.Context(), obj)
		if err != nil && !apierrors.IsConflict(err) {
			w.Fatalf("editing %T: %v", obj, err)
		}
		return err
	}, patience).Should(Succeed())
}

// setStatus changes what a status keeps, as only those can who may write status: a
// restore, or an administrator.
func (w *world) setStatus(obj *v1alpha1.DeviceTwin, change func()) {
	w.Helper()
	w.Eventually(func() error {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		change()
		err := w.client.Status().Update(w.Context(), obj)
		if err != nil && !apierrors.IsConflict(err) {
			w.Fatalf("changing the status of %s: %v", obj.Name, err)
		}
		return err
	}, patience).Should(Succeed())
}

func (w *world) delete(obj client.Object) {
	w.Helper()
	w.Expect(w.client.Delete(w.Context(), obj)).To(Succeed())
}

// await waits until an object's Ready condition has a status and reason, and
// speaks of the object's current generation. Tools conclude from it what it means.
func (w *world) await(obj kstatus.Object, status metav1.ConditionStatus, reason string) metav1.Condition {
	w.Helper()
	var found metav1.Condition
	w.Eventually(func() string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		ready := kstatus.Current(obj, v1alpha1.ConditionReady)
		if ready == nil {
			return "no condition yet"
		}
		found = *ready
		return string(found.Status) + " " + found.Reason
	}, patience, "20ms").Should(Equal(string(status)+" "+reason), func() string { return found.Message })
	w.Expect(kstatus.Check(obj)).To(Succeed())
	return found
}

func (w *world) awaitReady(obj kstatus.Object) {
	w.Helper()
	w.await(obj, metav1.ConditionTrue, v1alpha1.ReasonSucceeded)
}

// held is the twin on the hub.
func (w *world) held(device string) map[string]any {
	w.Helper()
	text, err := w.hub.TwinJSON(device)
	w.Expect(err).NotTo(HaveOccurred())
	var twin map[string]any
	w.Expect(json.Unmarshal(text, &twin)).To(Succeed())
	return twin
}

// tags are the tags on the hub, as JSON.
func (w *world) tags(device string) string {
	w.Helper()
	tags, ok := w.held(device)["tags"]
	if !ok {
		return "{}"
	}
	text, err := json.Marshal(tags)
	w.Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// desired are the desired properties on the hub, as JSON.
func (w *world) desired(device string) string {
	w.Helper()
	properties, _ := w.held(device)["properties"].(map[string]any)
	desired, _ := properties["desired"].(map[string]any)
	delete(desired, "$metadata")
	delete(desired, "$version")
	text, err := json.Marshal(desired)
	w.Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// anotherWriter writes to a twin behind the manager's back.
func (w *world) anotherWriter(device string, tags map[string]any) {
	w.Helper()
	w.anotherWriterPatches(device, hub.Patch{Tags: tags})
}

func (w *world) anotherWriterPatches(device string, patch hub.Patch) {
	w.Helper()
	w.patchAsAnother(hub.ID{Device: device}, patch)
}

// patchAsAnother writes to a twin of a device or module as another back end does.
func (w *world) patchAsAnother(id hub.ID, patch hub.Patch) {
	w.Helper()
	session := w.otherSession()
	w.Eventually(func() error {
		twin, err := session.GetTwin(w.Context(), id)
		w.Expect(err).NotTo(HaveOccurred())
		_, err = session.PatchTwin(w.Context(), id, twin.ETag, patch)
		return err
	}, patience).Should(Succeed())
}

// otherSession is another back end's.
func (w *world) otherSession() hub.Session {
	w.Helper()
	session, err := hub.Open(hub.Config{
		ConnectionString: w.credential("iothubowner"), CABundle: w.hub.CACertificatePEM(), AllowedHostSuffixes: []string{"localhost"},
	})
	w.Expect(err).NotTo(HaveOccurred())
	return session
}

// calls counts what the hub was asked, by operation.
func (w *world) calls(operation string) int {
	return int(w.hub.Counters().Operations[operation].Calls)
}

// awaitReadBacks waits until the hub was asked n more times what moved.
func (w *world) awaitReadBacks(n int) {
	w.Helper()
	before := w.calls("query")
	w.Eventually(func() int { return w.calls("query") - before }, patience, "20ms").Should(BeNumerically(">=", n))
}

// request is one that this world's manager made to the API server.
type request struct {
	Verb       string
	RequestURI string
	ObjectRef  struct{ Resource, Subresource, Namespace, Name string }
	// ResponseStatus has the HTTP status.
	ResponseStatus struct{ Code int }
}

// requests are all that the API server has answered so far, in its audit log.
func (w *world) requests() []request {
	w.Helper()
	text, err := os.ReadFile(suite.audit)
	w.Expect(err).NotTo(HaveOccurred())
	user := fmt.Sprintf("%q", "system:serviceaccount:"+w.accounts+":"+w.account)
	var out []request
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, user) {
			continue
		}
		var entry request
		w.Expect(json.Unmarshal([]byte(line), &entry)).To(Succeed())
		out = append(out, entry)
	}
	return out
}

// writes lists what this world's manager wrote to the API server, leases aside.
func (w *world) writes() []string {
	w.Helper()
	var out []string
	for _, r := range w.requests() {
		switch r.Verb {
		case "get", "list", "watch":
		default:
			out = append(out, strings.Join([]string{r.Verb, r.ObjectRef.Resource, r.ObjectRef.Subresource, r.ObjectRef.Name}, " "))
		}
	}
	return out
}
