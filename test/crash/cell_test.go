package crash_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

const (
	// patience bounds every wait; nothing takes a tenth of it on an idle machine.
	patience = 60 * time.Second
	poll     = "20ms"
	// pollInterval is the same, of what polls by itself.
	pollInterval = 20 * time.Millisecond
	// readBack is the shortest interval that is allowed.
	readBack = time.Second
	// flight is longer than a manager waits for a write on its way.
	flight = 3 * time.Minute
	// thought is how long a manager may do something about an answer before it is killed.
	thought = 300 * time.Millisecond
)

// cell is one run: a hub and a namespace of its own, and the managers one after
// the other behind their gate.
type cell struct {
	*testing.T
	WithT
	client  client.Client
	ns      string
	hub     *hubemulator.Server
	gate    *gate
	api     *httptest.Server
	front   *httptest.Server // of the hub
	ca      []byte           // its certificate
	manager *manager
	forward time.Duration // that the managers' clocks were put
}

// Context does not end, unlike the test's own, before the checks at the test's end.
func (c *cell) Context() context.Context { return context.WithoutCancel(c.T.Context()) }

func newCell(t *testing.T, devices ...string) *cell {
	t.Helper()
	c := &cell{T: t, WithT: *NewWithT(t), gate: newGate()}
	admin, err := client.New(suite.env.Config(), client.Options{Scheme: suite.scheme})
	c.Expect(err).NotTo(HaveOccurred())
	c.client = admin
	c.ns = testenv.Namespace(t, admin, nil)
	c.hub, err = hubemulator.Start(c.Context(), hubemulator.Options{Devices: devices})
	c.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { c.Expect(c.hub.Close()).To(Succeed()) })
	c.frontAPIServer()
	c.frontHub()
	c.startManager()
	t.Cleanup(func() {
		c.manager.kill(c)
		if t.Failed() {
			t.Logf("the last manager:\n%s", c.manager.logs.String())
		}
	})
	return c
}

// frontAPIServer lets the managers reach the API server through the gate.
func (c *cell) frontAPIServer() {
	c.Helper()
	account, err := suite.env.ServiceAccountConfig(managersNamespace, managersAccount)
	c.Expect(err).NotTo(HaveOccurred())
	transport, err := rest.TransportFor(account)
	c.Expect(err).NotTo(HaveOccurred())
	c.api = httptest.NewServer(c.gate.guard(proxyTo(c, account.Host, transport), apiWrite))
	c.Cleanup(c.api.Close)
}

// frontHub lets them reach the hub through it, under a name that tokens are for.
func (c *cell) frontHub() {
	c.Helper()
	trusted := x509.NewCertPool()
	c.Expect(trusted.AppendCertsFromPEM(c.hub.CACertificatePEM())).To(BeTrue())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: "localhost", MinVersion: tls.VersionTLS12}}
	c.Cleanup(transport.CloseIdleConnections)
	certificate, key, err := cert.GenerateSelfSignedCertKey("localhost", nil, nil)
	c.Expect(err).NotTo(HaveOccurred())
	pair, err := tls.X509KeyPair(certificate, key)
	c.Expect(err).NotTo(HaveOccurred())
	c.front = httptest.NewUnstartedServer(c.gate.guard(c.gate.countCalls(proxyTo(c, "https://"+c.hub.HTTPSAddress(), transport)), hubWrite))
	c.front.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	c.front.StartTLS()
	c.ca = certificate
	c.Cleanup(c.front.Close)
}

func proxyTo(c *cell, server string, transport http.RoundTripper) http.Handler {
	c.Helper()
	target, err := url.Parse(server)
	c.Expect(err).NotTo(HaveOccurred())
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del(callSite)
		},
		Transport: transport, FlushInterval: -1, // watches
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
}

// manager is a child process.
type manager struct {
	process *exec.Cmd
	orders  io.WriteCloser
	logs    bytes.Buffer // to be read when it is dead
	once    sync.Once
}

func (c *cell) startManager() {
	c.Helper()
	program, err := os.Executable()
	c.Expect(err).NotTo(HaveOccurred())
	m := &manager{process: exec.CommandContext(c.Context(), program)}
	m.process.Env = append(os.Environ(), managerVariable+"=1")
	m.process.Stdout, m.process.Stderr = &m.logs, &m.logs
	m.orders, err = m.process.StdinPipe()
	c.Expect(err).NotTo(HaveOccurred())
	c.Expect(m.process.Start()).To(Succeed())
	c.manager = m
	c.order(assignment{APIServer: c.api.URL, Namespace: c.ns, Forward: c.forward})
}

func (c *cell) order(what any) {
	c.Helper()
	c.Expect(json.NewEncoder(c.manager.orders).Encode(what)).To(Succeed())
}

// putForward puts the manager's clock forward.
func (c *cell) putForward(by time.Duration) {
	c.Helper()
	c.forward += by
	c.order(by)
}

// kill is SIGKILL; it returns when the process is gone.
func (m *manager) kill(c *cell) {
	c.Helper()
	m.once.Do(func() {
		c.Expect(m.process.Process.Kill()).To(Succeed())
		_ = m.process.Wait() // says that it was killed
	})
}

// connect declares the hub, and waits until it is known to answer.
func (c *cell) connect(policy string) {
	c.Helper()
	text, err := c.hub.ServiceConnectionString(policy)
	c.Expect(err).NotTo(HaveOccurred())
	_, port, err := net.SplitHostPort(c.front.Listener.Addr().String())
	c.Expect(err).NotTo(HaveOccurred())
	_, rest, _ := strings.Cut(text, ";")
	c.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.ns, Name: "hub"},
		StringData: map[string]string{"connectionString": "HostName=" + net.JoinHostPort("localhost", port) + ";" + rest},
	})
	conn := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: c.ns, Name: "hub"}}
	conn.Spec.Auth.ConnectionStringSecretRef = &v1alpha1.SecretKeyReference{Name: "hub"}
	conn.Spec.CABundle = c.ca
	conn.Spec.ReadBack.Interval.Duration = readBack
	conn.Spec.Tier = v1alpha1.Tier{SKU: v1alpha1.SKUS3, Units: 10}
	conn.Spec.Budget.RatePercent = 100
	c.create(conn)
	c.awaitReady(conn)
}

func (c *cell) create(obj client.Object) {
	c.Helper()
	c.Expect(c.client.Create(c.Context(), obj)).To(Succeed())
}

func (c *cell) awaitReady(obj kstatus.Object) {
	c.Helper()
	c.Eventually(func() string {
		c.Expect(c.client.Get(c.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		if ready := kstatus.Current(obj, v1alpha1.ConditionReady); ready != nil {
			return string(ready.Status) + " " + ready.Message
		}
		return "no condition yet"
	}, patience, poll).Should(HavePrefix("True "))
}

// anotherWriter writes tags to a twin as another back end does.
func (c *cell) anotherWriter(device string, tags map[string]any) {
	c.Helper()
	session := c.session("service")
	twin, err := session.GetTwin(c.Context(), hub.ID{Device: device})
	c.Expect(err).NotTo(HaveOccurred())
	_, err = session.PatchTwin(c.Context(), hub.ID{Device: device}, twin.ETag, hub.Patch{Tags: tags})
	c.Expect(err).NotTo(HaveOccurred())
}

// session is another back end's, that no gate stands before.
func (c *cell) session(policy string) hub.Session {
	c.Helper()
	text, err := c.hub.ServiceConnectionString(policy)
	c.Expect(err).NotTo(HaveOccurred())
	session, err := hub.Open(hub.Config{
		ConnectionString: text, CABundle: c.hub.CACertificatePEM(), AllowedHostSuffixes: []string{"localhost"},
	})
	c.Expect(err).NotTo(HaveOccurred())
	return session
}

// twinOnHub is what the hub holds of a device's tags and desired properties, as
// JSON; "" when it does not know the device.
func (c *cell) twinOnHub(device string) string {
	c.Helper()
	text, err := c.hub.TwinJSON(device)
	if err != nil {
		return ""
	}
	var twin struct {
		Tags       map[string]any
		Properties struct{ Desired map[string]any }
	}
	c.Expect(json.Unmarshal(text, &twin)).To(Succeed())
	delete(twin.Properties.Desired, "$metadata")
	delete(twin.Properties.Desired, "$version")
	out, err := json.Marshal([]any{twin.Tags, twin.Properties.Desired})
	c.Expect(err).NotTo(HaveOccurred())
	return string(out)
}

func (c *cell) etag(device string) string {
	c.Helper()
	text, err := c.hub.TwinJSON(device)
	c.Expect(err).NotTo(HaveOccurred())
	var twin struct{ Etag string }
	c.Expect(json.Unmarshal(text, &twin)).To(Succeed())
	return twin.Etag
}

// applied is how many twin updates the hub has made.
func (c *cell) applied() int {
	return int(c.hub.Counters().Operations["updateTwin"].Statuses["200"])
}

// awaitReadBacks waits until the hub was asked n more times what moved.
func (c *cell) awaitReadBacks(n int64) {
	c.Helper()
	reads := func() int64 { return c.hub.Counters().Operations["query"].Calls }
	enough := reads() + n
	c.Eventually(reads, patience, poll).Should(BeNumerically(">=", enough))
}
