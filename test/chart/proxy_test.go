package chart_test

import (
	"context"
	"net"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/elazarl/goproxy"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// plantHub is a name that only the proxy can resolve. Go's programs call none of this machine's names through a proxy.
const plantHub = "plant-hub.invalid"

// forwardProxy opens connections for its clients, and takes down where to.
type forwardProxy struct {
	url   string
	mu    sync.Mutex
	asked []string
}

// newForwardProxy leads those who ask for plantHub to address, and refuses all others.
func newForwardProxy(t *testing.T, address string) *forwardProxy {
	t.Helper()
	p := &forwardProxy{}
	handler := goproxy.NewProxyHttpServer()
	handler.OnRequest().HandleConnectFunc(func(host string, _ *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		p.mu.Lock()
		p.asked = append(p.asked, host)
		p.mu.Unlock()
		if name, _, _ := strings.Cut(host, ":"); name != plantHub {
			return goproxy.RejectConnect, host
		}
		return goproxy.OkConnect, address
	})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// hosts are where clients wanted to go, each once.
func (p *forwardProxy) hosts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	hosts := slices.Clone(p.asked)
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// plant is a release of the chart behind a proxy, with a hub beyond it.
type plant struct {
	*installation
	hub   *hubemulator.Server
	proxy *forwardProxy
	ns    string
}

// newPlant installs the chart with further values of proxy.
func newPlant(t *testing.T, values ...string) *plant {
	t.Helper()
	p := &plant{installation: newInstallation(t)}
	var err error
	p.hub, err = hubemulator.Start(t.Context(), hubemulator.Options{Hostname: plantHub, Devices: []string{"press"}})
	p.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { p.Expect(p.hub.Close()).To(Succeed()) })
	p.proxy = newForwardProxy(t, p.hub.HTTPSAddress())
	p.helm(append([]string{"install", release, chart, "--create-namespace", "--set", "crds.keep=false,webhook.enabled=false,metrics.enabled=false",
		"--set", "allowedHostSuffixes={" + plantHub + "},ports.probes=" + freePort(t) + ",proxy.https=" + p.proxy.url}, values...)...)
	t.Cleanup(func() {
		_, err := helm(t, p.kubeconfig, "uninstall", release, "--namespace", namespace)
		p.Expect(err).NotTo(HaveOccurred())
		p.crdGone()
	})
	return p
}

// container is the manager's, as the chart renders it.
func (p *plant) container() corev1.Container {
	p.t.Helper()
	return get(p.installation, &appsv1.Deployment{ObjectMeta: named(namespace, release+"-manager")}).Spec.Template.Spec.Containers[0]
}

// start runs the manager with the container's environment and no more.
func (p *plant) start() {
	p.t.Helper()
	config, err := cluster.ServiceAccountConfig(namespace, release+"-manager")
	p.Expect(err).NotTo(HaveOccurred())
	apiServer, err := url.Parse(config.Host)
	p.Expect(err).NotTo(HaveOccurred())
	container := p.container()
	startManager(p.t, container, environment(container, apiServer.Hostname()),
		"--kubeconfig="+kubeconfigOf(p.t, config), "--leader-elect-namespace="+namespace)
}

// declare makes a HubConnection and a DeviceTwin, which are deleted before the manager ends.
func (p *plant) declare() (*v1alpha1.HubConnection, *v1alpha1.DeviceTwin) {
	p.t.Helper()
	p.ns = testenv.Namespace(p.t, p.client, nil)
	text, err := p.hub.ServiceConnectionString("service")
	p.Expect(err).NotTo(HaveOccurred())
	secret := &corev1.Secret{ObjectMeta: named(p.ns, "hub"), StringData: map[string]string{"connectionString": text}}
	p.Expect(p.client.Create(p.t.Context(), secret)).To(Succeed())
	connection := &v1alpha1.HubConnection{ObjectMeta: named(p.ns, "hub"), Spec: v1alpha1.HubConnectionSpec{
		Auth: v1alpha1.HubAuth{ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: "hub"}}, CABundle: p.hub.CACertificatePEM(),
	}}
	twin := &v1alpha1.DeviceTwin{ObjectMeta: named(p.ns, "press"), Spec: v1alpha1.DeviceTwinSpec{
		HubRef: v1alpha1.HubReference{Name: "hub"}, DeviceID: "press", Tags: &runtime.RawExtension{Raw: []byte(`{"plant":"Redmond43"}`)},
	}}
	p.Expect(p.client.Create(p.t.Context(), connection)).To(Succeed())
	p.Expect(p.client.Create(p.t.Context(), twin)).To(Succeed())
	p.t.Cleanup(func() {
		ctx := context.WithoutCancel(p.t.Context())
		p.Expect(p.client.Delete(ctx, twin)).To(Succeed())
		p.gone(twin)
		p.Expect(p.client.Delete(ctx, connection)).To(Succeed())
		p.gone(connection)
	})
	return connection, twin
}

func TestHubsAreCalledThroughTheProxy(t *testing.T) {
	p := newPlant(t)
	p.start()
	_, twin := p.declare()
	p.Eventually(func() bool {
		return meta.IsStatusConditionTrue(get(p.installation, twin).Status.Conditions, v1alpha1.ConditionReady)
	}, patience).Should(BeTrue(), "the DeviceTwin is not Ready")
	document, err := p.hub.TwinJSON("press")
	p.Expect(err).NotTo(HaveOccurred())
	p.Expect(string(document)).To(ContainSubstring("Redmond43"))
	_, port, err := net.SplitHostPort(p.hub.HTTPSAddress())
	p.Expect(err).NotTo(HaveOccurred())
	p.Expect(p.proxy.hosts()).To(Equal([]string{net.JoinHostPort(plantHub, port)}), "the hub, and not the API server")
}

func TestAHubOfNoProxyIsCalledDirectly(t *testing.T) {
	p := newPlant(t, "--set", "proxy.noProxy={"+plantHub+"}")
	p.start()
	connection, _ := p.declare()
	var ready *metav1.Condition
	p.Eventually(func() *metav1.Condition {
		ready = meta.FindStatusCondition(get(p.installation, connection).Status.Conditions, v1alpha1.ConditionReady)
		return ready
	}, patience).Should(HaveValue(HaveField("Reason", Or(Equal(v1alpha1.ReasonUnknownHost), Equal(v1alpha1.ReasonHubUnreachable)))),
		"this machine does not know the name, or has none to ask")
	p.Expect(p.proxy.hosts()).To(BeEmpty())
}

// TestTheAPIServerIsCalledDirectly under a name that, unlike those of this machine, would be called through the proxy.
func TestTheAPIServerIsCalledDirectly(t *testing.T) {
	const apiServer = "kubernetes.invalid"
	p := newPlant(t)
	config := cluster.Config()
	config.Host = "https://" + apiServer
	container := p.container()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "manager"), "--kubeconfig="+kubeconfigOf(t, config), "--health-probe-bind-address=0")
	printed := &started{}
	cmd.Env, cmd.Stdout, cmd.Stderr = environment(container, apiServer), printed, printed
	p.Expect(cmd.Start()).To(Succeed())
	p.Eventually(printed.log, patience).Should(ContainSubstring("lookup " + apiServer))
	cancel()
	_ = cmd.Wait() // it was killed, or has given up
	p.Expect(p.proxy.hosts()).To(BeEmpty())
}
