package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/monitoring"
)

// scrapePatience bounds every wait of these tests.
const scrapePatience = time.Minute

// scraped is a manager as a process, the hub that it keeps, and Prometheus, which scrapes it.
type scraped struct {
	*testing.T
	WithT
	client     client.Client
	ns         string
	hub        *hubemulator.Server
	prometheus string // its address
	// stopManager ends the manager at once, and endRefusals has the small hub accept changes again.
	stopManager, endRefusals func()
}

// newScraped starts all three, the manager with some more arguments. Prometheus has the token of an account
// that the shipped role is bound to; as a stranger it has that of another one.
func newScraped(t *testing.T, devices []string, args ...string) *scraped {
	t.Helper()
	program := monitoring.Program(t, "prometheus")
	s := &scraped{T: t, WithT: *NewWithT(t)}
	scheme, err := newScheme()
	s.Expect(err).NotTo(HaveOccurred())
	s.client, err = client.New(suite.env.Config(), client.Options{Scheme: scheme})
	s.Expect(err).NotTo(HaveOccurred())
	s.ns = testenv.Namespace(t, s.client, nil)
	s.hub, err = hubemulator.Start(context.Background(), hubemulator.Options{Devices: devices})
	s.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { s.Expect(s.hub.Close()).To(Succeed()) })
	s.grantReader("prometheus")
	addresses := freeAddresses(t, 3)
	self, err := os.Executable()
	s.Expect(err).NotTo(HaveOccurred())
	s.stopManager = s.run(self, []string{managerVariable + "=1"}, append(args, "--kubeconfig", suite.env.KubeconfigFile(t), "--leader-elect", "--leader-elect-namespace", s.ns,
		"--watch-label-selector", "scraped="+s.ns, // other tests have objects there too
		"--allowed-host-suffixes", "localhost", "--health-probe-bind-address", addresses[0], "--metrics-bind-address", addresses[1], "--zap-log-level", "error")...)
	s.prometheus = "http://" + addresses[2]
	s.run(program, nil, "--config.file", s.configure(addresses[1]), "--storage.tsdb.path", t.TempDir(), "--web.listen-address", addresses[2], "--log.level", "error")
	return s
}

// run starts a program, which is killed at the test's end, or before.
func (s *scraped) run(program string, env []string, args ...string) (stop func()) {
	s.Helper()
	ctx, kill := context.WithCancel(context.Background()) // not the test's own, which ends before its cleanup
	var logs bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &logs, &logs
	s.Expect(cmd.Start()).To(Succeed())
	var ending sync.WaitGroup
	ending.Go(func() { _ = cmd.Wait() }) // it is killed
	stop = func() {
		kill()
		ending.Wait()
	}
	s.Cleanup(func() {
		stop()
		if s.Failed() {
			s.Logf("%s:\n%s", filepath.Base(program), logs.String())
		}
	})
	return stop
}

// grantReader binds the ClusterRole metrics-reader of config/rbac to an account.
func (s *scraped) grantReader(account string) {
	s.Helper()
	file, err := os.Open(monitoring.File(s.T, "config/rbac/metrics.yaml"))
	s.Expect(err).NotTo(HaveOccurred())
	defer file.Close()
	for _, object := range testenv.Decode(s.T, file) {
		if object.GetName() == "metrics-reader" {
			s.bind(object, account)
			return
		}
	}
	s.Fatal("config/rbac has no metrics-reader")
}

func (s *scraped) bind(object *unstructured.Unstructured, account string) {
	s.Helper()
	var role rbacv1.ClusterRole
	s.Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &role, true)).To(Succeed())
	role.Name += "-" + s.ns
	s.Expect(s.client.Create(s.Context(), &role)).To(Succeed())
	s.Expect(s.client.Create(s.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.ns, Name: account}},
	})).To(Succeed())
}

// token writes a token of an account to a file.
func (s *scraped) token(account string) (file string) {
	s.Helper()
	of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.ns, Name: account}}
	s.Expect(s.client.Create(s.Context(), of)).To(Succeed())
	var request authenticationv1.TokenRequest
	s.Expect(s.client.SubResource("token").Create(s.Context(), of, &request)).To(Succeed())
	file = filepath.Join(s.TempDir(), "token")
	s.Expect(os.WriteFile(file, []byte(request.Status.Token), 0o600)).To(Succeed())
	return file
}

// configure writes Prometheus' configuration: the rules as they are shipped, and the manager.
func (s *scraped) configure(target string) (file string) {
	s.Helper()
	job := func(name, account string) string {
		return fmt.Sprintf(`
- job_name: %s
  scheme: https
  authorization: {credentials_file: %q}
  tls_config: {insecure_skip_verify: true}
  static_configs: [{targets: [%q], labels: {namespace: devicetwin-system, pod: manager}}]`, name, s.token(account), target)
	}
	text := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:",
		monitoring.File(s.T, "config/monitoring/rules.yaml")) + job("devicetwin-operator", "prometheus") + job("stranger", "stranger") + "\n"
	file = filepath.Join(s.TempDir(), "prometheus.yml")
	s.Expect(os.WriteFile(file, []byte(text), 0o600)).To(Succeed())
	return file
}

// sample is one series of an answer.
type sample struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}

// query asks Prometheus. What it does not understand is an error.
func (s *scraped) query(expr string) ([]sample, error) {
	res, err := http.PostForm(s.prometheus+"/api/v1/query", url.Values{"query": {expr}})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s: %s", expr, answer.Error)
	}
	var samples []sample
	return samples, json.Unmarshal(answer.Data.Result, &samples)
}

// value is that of the only series of an answer; "" for none, or while Prometheus does not answer.
func (s *scraped) value(expr string) func() string {
	return func() string {
		samples, err := s.query(expr)
		if err != nil || len(samples) != 1 {
			return ""
		}
		return fmt.Sprint(samples[0].Value[1])
	}
}

// sooner are the parts of expressions that no test can wait for: two minutes, and an hour of the day.
var sooner = strings.NewReplacer("> 120", "> 2", "hour() < 22", "hour() < 24")

// holds are the alerts whose expressions hold now.
func (s *scraped) holds() (names []string) {
	s.Helper()
	for _, alert := range monitoring.Alerts(s.T) {
		samples, err := s.query(sooner.Replace(alert.Expr))
		s.Expect(err).NotTo(HaveOccurred(), alert.Name)
		if len(samples) > 0 {
			names = append(names, alert.Name)
		}
	}
	return names
}

// meta names an object that the manager sees.
func (s *scraped) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.ns, Name: name, Labels: map[string]string{"scraped": s.ns}}
}

// connect declares a hub, with a credential.
func (s *scraped) connect(name, connectionString string, change func(*v1alpha1.HubConnection)) {
	s.Helper()
	s.Expect(s.client.Create(s.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.ns, Name: name}, StringData: map[string]string{"connectionString": connectionString},
	})).To(Succeed())
	conn := &v1alpha1.HubConnection{ObjectMeta: s.meta(name)}
	conn.Spec.Auth.ConnectionStringSecretRef = &v1alpha1.SecretKeyReference{Name: name}
	conn.Spec.CABundle = s.hub.CACertificatePEM()
	conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = time.Second, time.Second
	conn.Spec.Tier, conn.Spec.Budget.RatePercent = v1alpha1.Tier{SKU: v1alpha1.SKUS3, Units: 10}, 100
	change(conn)
	s.Expect(s.client.Create(s.Context(), conn)).To(Succeed())
}

func (s *scraped) declare(conn, device, desired string) {
	s.Helper()
	s.declareAs(device, conn, device, desired)
}

func (s *scraped) declareAs(name, conn, device, desired string) {
	s.Helper()
	obj := &v1alpha1.DeviceTwin{ObjectMeta: s.meta(name)}
	obj.Spec.HubRef.Name, obj.Spec.DeviceID = conn, device
	obj.Spec.Desired = &runtime.RawExtension{Raw: []byte(desired)}
	s.Expect(s.client.Create(s.Context(), obj)).To(Succeed())
}

// drift changes a twin as another back end does.
func (s *scraped) drift(credential, device string) {
	s.Helper()
	session, err := hub.Open(hub.Config{ConnectionString: credential, CABundle: s.hub.CACertificatePEM(), AllowedHostSuffixes: []string{"localhost"}})
	s.Expect(err).NotTo(HaveOccurred())
	s.Eventually(func() error {
		twin, err := session.GetTwin(s.Context(), hub.ID{Device: device})
		s.Expect(err).NotTo(HaveOccurred())
		_, err = session.PatchTwin(s.Context(), twin.ID, twin.ETag, hub.Patch{Desired: map[string]any{"on": false}})
		return err
	}, scrapePatience).Should(Succeed())
}
