package pages_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/examples/controller"
)

const (
	managerNamespace = "devicetwin-system"
	// managerName is what the chart calls the manager's Deployment and its account.
	managerName = "devicetwin-operator-manager"
	// namespace is where the guides and runbooks are followed: the current one of kubectl.
	namespace = "plant-redmond43"
)

// fleet is what the plant's hub holds before any page is followed.
const fleet = `devices:
- id: redmond-press-{{n}}
  count: 4
  tags: {location: {plant: Redmond43}, owner: quality}
  desired: {telemetry: {interval: 30}}
- id: thermostat-1
- id: retired
`

// plant is what the pages are about that say what to do with a running operator: a hub with devices, and the manager
// of the chart as a process of this machine.
type plant struct {
	hub *hubemulator.Server
	// dir is where the commands run. It has the hub's connection string and authority, and the manager's log.
	dir string
	// metrics is where the manager serves them, and its log's level.
	metrics string
	// patches are the hub's twin updates when they were last asked for.
	patches int64
	stop    func()
}

// newPlant starts the hub. The manager is started when its Deployment is there.
func newPlant(t *testing.T, dir string) *plant {
	t.Helper()
	g := NewWithT(t)
	p := &plant{dir: dir, metrics: freeAddress(t), stop: func() {}}
	t.Cleanup(func() {
		p.stop()
		if log, err := os.ReadFile(p.file("manager.log")); err == nil && t.Failed() {
			t.Logf("the manager's log ends so:\n%s", log[max(0, len(log)-10_000):])
		}
	})
	file := p.file("fleet.yaml")
	g.Expect(os.WriteFile(file, []byte(fleet), 0o600)).To(Succeed())
	devices, err := hubemulator.ReadFleet(file)
	g.Expect(err).NotTo(HaveOccurred())
	p.hub, err = hubemulator.Start(context.Background(), hubemulator.Options{Fleet: devices})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(p.hub.Close()).To(Succeed()) })
	connection, err := p.hub.ServiceConnectionString("service")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(os.WriteFile(p.file("connection-string"), []byte(connection), 0o600)).To(Succeed())
	return p
}

func (p *plant) file(name string) string { return filepath.Join(p.dir, name) }

// startManager runs it with the rights of the chart's account, until the plant is stopped.
func (p *plant) startManager(t *testing.T) {
	t.Helper()
	g := NewWithT(t)
	log, err := os.Create(p.file("manager.log"))
	g.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, p.file("bin/manager"),
		"--kubeconfig="+p.managerKubeconfig(t), "--leader-elect", "--leader-elect-namespace="+managerNamespace,
		"--allowed-host-suffixes=localhost", "--metrics-bind-address="+p.metrics, "--health-probe-bind-address=0")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	g.Expect(cmd.Start()).To(Succeed())
	stopNode := playNode(t, log.Name())
	p.stop = func() {
		p.stop = func() {}
		stopNode()
		cancel()
		_ = cmd.Wait() // it was told to end
		_ = log.Close()
	}
}

// managerKubeconfig outlives the step that starts the manager.
func (p *plant) managerKubeconfig(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(cluster.ServiceAccountKubeconfigFile(t, managerNamespace, managerName))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	file := p.file("manager.kubeconfig")
	NewWithT(t).Expect(os.WriteFile(file, text, 0o600)).To(Succeed())
	return file
}

// applied are commands that apply manifests.
func applied(manifests string) string { return "kubectl apply -f - <<'EOF'\n" + manifests + "EOF\n" }

// toTheHub is what a HubConnection of a page lacks that is to lead to the plant's hub, and to be quick.
func (p *plant) toTheHub() string {
	authority := base64.StdEncoding.EncodeToString(p.hub.CACertificatePEM())
	return `{"spec":{"caBundle":"` + authority + `","readBack":{"interval":"1s"},"tier":{"sku":"S3","units":10}}}`
}

// connected are commands that apply the HubConnection of a page, and have it lead to the plant's hub.
func (p *plant) connected(t *testing.T, page, name string) string {
	t.Helper()
	return applied(blocksOf(t, page, "yaml")[0]) +
		"kubectl patch hubconnection " + name + " --type merge -p '" + p.toTheHub() + "'\n" +
		"kubectl wait --for=condition=Ready --timeout=60s hubconnection/" + name + "\n"
}

// start is what the first page that needs the manager begins with.
func (p *plant) start(t *testing.T) string {
	t.Helper()
	p.startManager(t)
	return strings.ReplaceAll(`kubectl create namespace NAMESPACE
kubectl config set-context --current --namespace NAMESPACE
kubectl create secret generic factory-hub --from-file=connectionString=connection-string
`, "NAMESPACE", namespace) + p.connected(t, adopting, "factory")
}

// setTag is what another writer does.
func (p *plant) setTag(t *testing.T, device, tag, value string) {
	t.Helper()
	g := NewWithT(t)
	connection, err := p.hub.ServiceConnectionString("service")
	g.Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.hub.CACertificatePEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	writer := &controller.Hub{ConnectionString: connection, HTTP: &http.Client{Transport: transport}}
	g.Expect(writer.SetTag(t.Context(), device, tag, value)).To(Succeed())
}

// drift has another writer change a tag again and again, until it is no longer restored at once.
func (p *plant) drift(t *testing.T) string {
	t.Helper()
	for range 2 {
		p.setTag(t, "redmond-press-1", "owner", "another writer")
		NewWithT(t).Eventually(func() ([]byte, error) { return p.hub.TwinJSON("redmond-press-1") }, patience).
			Should(ContainSubstring(`"owner":"quality"`))
	}
	p.setTag(t, "redmond-press-1", "owner", "another writer")
	return "kubectl wait --for=condition=Contended --timeout=60s devicetwin/redmond-press-1\n"
}

// updates is how often a twin was updated since it was last asked for.
func (p *plant) updates() int64 {
	now := p.hub.Counters().Operations["updateTwin"].Calls
	since := now - p.patches
	p.patches = now
	return since
}

// reports has a device report, and waits until that tells whether it has taken over what is desired of it.
func (p *plant) reports(t *testing.T, report, acknowledged string) string {
	t.Helper()
	_, err := p.hub.Report("redmond-press-2", []byte(report))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return "kubectl wait --for=condition=Acknowledged=" + acknowledged + " --timeout=60s devicetwin/redmond-press-2\n"
}

// refuse has the device say that it does not take what is desired of it.
func (p *plant) refuse(t *testing.T) string {
	t.Helper()
	return p.reports(t, `{"telemetry":{"interval":{"value":60,"ac":400,"av":2,"ad":"not below 60"}}}`, "False")
}

// failToRead has the hub fail once to tell what moved.
func (p *plant) failToRead(t *testing.T) string {
	t.Helper()
	g := NewWithT(t)
	fault, err := p.hub.AddFault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultStatus, Status: http.StatusServiceUnavailable})
	g.Expect(err).NotTo(HaveOccurred())
	defer p.hub.RemoveFault(fault)
	g.Eventually(func() ([]byte, error) { return os.ReadFile(p.file("manager.log")) }, patience).Should(ContainSubstring(`"logger":"readback"`))
	return ""
}

// buildPrograms puts the project's own programs where the shell finds them.
func buildPrograms(t *testing.T, bin string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/manager", "./cmd/kubectl-twin")
	cmd.Dir = root
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	NewWithT(t).Expect(cmd.Run()).To(Succeed(), out.String())
}
