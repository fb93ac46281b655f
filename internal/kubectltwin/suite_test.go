package kubectltwin_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// patience bounds every wait.
const patience = 60 * time.Second

// suite is what the tests share: an API server, nothing in it.
var suite struct{ env *testenv.Env }

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // as the program does
	os.Exit(testenv.Run(m, testenv.Options{}, func(env *testenv.Env) { suite.env = env }))
}

// world is one test's own namespace, and a user at a terminal.
type world struct {
	*testing.T
	WithT
	client     client.Client
	ns         string
	kubeconfig string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, WithT: *NewWithT(t), client: newClient(t), kubeconfig: suite.env.KubeconfigFile(t)}
	w.ns = testenv.Namespace(t, w.client, nil)
	return w
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	g := NewWithT(t)
	scheme := runtime.NewScheme()
	g.Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	g.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	c, err := client.New(suite.env.Config(), client.Options{Scheme: scheme})
	g.Expect(err).NotTo(HaveOccurred())
	return c
}

// quietClock is the wall clock, by which no command takes long: what it says of its progress depends on the machine.
type quietClock struct{ clock.RealClock }

// NewTicker implements clock.WithTicker.
func (quietClock) NewTicker(d time.Duration) clock.Ticker {
	return clocktesting.NewFakeClock(time.Now()).NewTicker(d)
}

// result is how a command ended.
type result struct {
	Out, Err string
	Code     int
}

// run runs kubectl twin in the test's namespace.
func (w *world) run(args ...string) result {
	w.Helper()
	return w.runWith(w.Context(), gbytes.NewBuffer(), args...)
}

func (w *world) runWith(ctx context.Context, out *gbytes.Buffer, args ...string) result {
	w.Helper()
	return w.runOn(ctx, strings.NewReader(""), out, args...)
}

// runOn is runWith with a standard input.
func (w *world) runOn(ctx context.Context, in io.Reader, out *gbytes.Buffer, args ...string) result {
	w.Helper()
	errOut := gbytes.NewBuffer()
	streams := genericiooptions.IOStreams{In: in, Out: out, ErrOut: errOut}
	access := cluster.New(streams)
	access.Clock = quietClock{}
	code := kubectltwin.Execute(ctx, access, append([]string{"--kubeconfig", w.kubeconfig, "--namespace", w.ns}, args...))
	return result{Out: string(out.Contents()), Err: string(errOut.Contents()), Code: code}
}

// ok runs a command that has to succeed, and returns its output.
func (w *world) ok(args ...string) string {
	w.Helper()
	r := w.run(args...)
	w.Expect(r.Code).To(Equal(0), r.Err)
	return r.Out
}

// refused runs a command that must end with 2 and one line on standard error, which it returns.
func (w *world) refused(args ...string) string {
	w.Helper()
	r := w.run(args...)
	w.Expect(r.Code).To(Equal(2), r.Out+r.Err)
	w.Expect(r.Out).To(BeEmpty())
	w.Expect(r.Err).To(HavePrefix("error: "))
	w.Expect(strings.Count(r.Err, "\n")).To(Equal(1), r.Err)
	return strings.TrimSpace(r.Err)
}

// as makes the user another one, who has what these rules grant in the namespace.
func (w *world) as(name string, rules ...rbacv1.PolicyRule) {
	w.Helper()
	config, err := suite.env.ServiceAccountConfig(w.ns, name)
	w.Expect(err).NotTo(HaveOccurred())
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}, Rules: rules}
	w.create(role)
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: role.ObjectMeta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "system:serviceaccount:" + w.ns + ":" + name}},
	})
	w.kubeconfig = w.kubeconfigOf(config)
}

func (w *world) kubeconfigOf(config *rest.Config) string {
	w.Helper()
	file := clientcmdapi.NewConfig()
	file.Clusters["c"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	file.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	file.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	file.CurrentContext = "x"
	path := filepath.Join(w.TempDir(), "kubeconfig")
	w.Expect(clientcmd.WriteToFile(*file, path)).To(Succeed())
	return path
}

// proxied puts a way to the API server before the user, as an administrator. answer answers a request in its place, or
// returns false.
func (w *world) proxied(answer func(http.ResponseWriter, *http.Request) bool) {
	w.Helper()
	config := suite.env.Config()
	transport, err := rest.TransportFor(config)
	w.Expect(err).NotTo(HaveOccurred())
	host, err := url.Parse(config.Host)
	w.Expect(err).NotTo(HaveOccurred())
	proxy := httputil.NewSingleHostReverseProxy(host)
	proxy.Transport = transport
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
		if !answer(out, request) {
			proxy.ServeHTTP(out, request)
		}
	}))
	w.Cleanup(server.Close)
	w.kubeconfig = w.kubeconfigOf(&rest.Config{Host: server.URL})
}

func (w *world) create(obj client.Object) {
	w.Helper()
	obj.SetResourceVersion("")
	if obj.GetNamespace() == "" {
		obj.SetNamespace(w.ns)
	}
	w.Expect(w.client.Create(w.Context(), obj)).To(Succeed())
}

func (w *world) get(obj client.Object) {
	w.Helper()
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
}

// twin is a DeviceTwin of the hub "hub" with a tag; the device has its name.
func twin(name string) *v1alpha1.DeviceTwin {
	return &v1alpha1.DeviceTwin{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.DeviceTwinSpec{HubRef: v1alpha1.HubReference{Name: "hub"}, DeviceID: name, Tags: raw(`{"plant":"Redmond43"}`)},
	}
}

// hub is a HubConnection; its Secret need not exist.
func hub(name string) *v1alpha1.HubConnection {
	return &v1alpha1.HubConnection{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.HubConnectionSpec{Auth: v1alpha1.HubAuth{
			ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: name + "-secret"},
		}},
	}
}

func raw(text string) *runtime.RawExtension {
	if !json.Valid([]byte(text)) {
		panic(text)
	}
	return &runtime.RawExtension{Raw: []byte(text)}
}

// said writes a status, as a controller does.
func (w *world) said(obj *v1alpha1.DeviceTwin, status v1alpha1.DeviceTwinStatus) {
	w.Helper()
	w.get(obj)
	status.ObservedGeneration = obj.Generation
	obj.Status = status
	w.Expect(w.client.Status().Update(w.Context(), obj)).To(Succeed())
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Hour)),
	}
}

// inStep are the conditions of a twin that is as declared.
func inStep(more ...metav1.Condition) []metav1.Condition {
	return append([]metav1.Condition{
		condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "the hub holds what is declared"),
		condition(v1alpha1.ConditionSynced, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "the hub holds what is declared"),
	}, more...)
}

// failing are the conditions of a twin that is not.
func failing(reason, message string, more ...metav1.Condition) []metav1.Condition {
	return append([]metav1.Condition{
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message),
		condition(v1alpha1.ConditionSynced, metav1.ConditionFalse, reason, message),
	}, more...)
}
