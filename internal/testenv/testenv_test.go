package testenv_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// suite is what TestMain hands to the tests of this package.
type suite struct {
	env      *testenv.Env
	auditLog string
}

var shared suite

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "testenv-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	log := filepath.Join(dir, "audit.jsonl")
	return testenv.Run(m, testenv.Options{CRDDirs: []string{"testdata/crds"}, AuditLog: log}, func(e *testenv.Env) {
		shared = suite{env: e, auditLog: log}
	})
}

func newClient(t *testing.T, cfg *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(cfg, client.Options{})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return c
}

func gauge(namespace string, level int64) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "testenv.devicetwin.io/v1",
		"kind":       "Gauge",
		"metadata":   map[string]any{"namespace": namespace, "generateName": "g-"},
		"spec":       map[string]any{"level": level},
	}}
}

func TestCustomResourcesAreServedAndValidated(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	c := newClient(t, shared.env.Config())
	ns := testenv.Namespace(t, c, nil)

	g.Expect(c.Create(t.Context(), gauge(ns, 10))).To(Succeed())
	err := c.Create(t.Context(), gauge(ns, 11))
	g.Expect(apierrors.IsInvalid(err)).To(BeTrue(), "11 is over the schema's maximum, got: %v", err)
}

func TestNamespaceIsFreshAndLabelled(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	c := newClient(t, shared.env.Config())

	first := testenv.Namespace(t, c, map[string]string{"team": "plant"})
	second := testenv.Namespace(t, c, nil)

	g.Expect(first).NotTo(Equal(second))
	var got corev1.Namespace
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: first}, &got)).To(Succeed())
	g.Expect(got.Labels).To(HaveKeyWithValue("team", "plant"))
}

func TestConfigIsACopy(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	shared.env.Config().Host = "https://changed.invalid"
	g.Expect(shared.env.Config().Host).NotTo(ContainSubstring("changed"))
}

func TestServiceAccountHasOnlyWhatRBACGrants(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	ns := testenv.Namespace(t, newClient(t, shared.env.Config()), nil)
	cfg, err := shared.env.ServiceAccountConfig(ns, "without-roles")
	g.Expect(err).NotTo(HaveOccurred())

	err = newClient(t, cfg).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "x"}})

	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "nothing was granted, got: %v", err)
	user := "system:serviceaccount:" + ns + ":without-roles"
	g.Expect(err).To(MatchError(ContainSubstring(user)))
	g.Eventually(func() []string { return requestsOf(t, user) }).Should(ContainElement("create configmaps 403"))
}

// requestsOf reads the audit log: one "verb resource status" for each request of user.
func requestsOf(t *testing.T, user string) []string {
	t.Helper()
	g := NewWithT(t)
	file, err := os.Open(shared.auditLog)
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = file.Close() }()
	var found []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb           string
			User           struct{ Username string }
			ObjectRef      struct{ Resource string }
			ResponseStatus struct{ Code json.Number }
		}
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			break // the last line is still being written
		}
		if event.User.Username == user {
			found = append(found, event.Verb+" "+event.ObjectRef.Resource+" "+event.ResponseStatus.Code.String())
		}
	}
	return found
}

func TestKubectlReachesTheServer(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	kubeconfig := shared.env.KubeconfigFile(t)

	info, err := os.Stat(kubeconfig)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o600)))

	out, err := exec.CommandContext(t.Context(), shared.env.Kubectl(), "--kubeconfig", kubeconfig, "version", "--output=json").Output()
	g.Expect(err).NotTo(HaveOccurred())
	var version struct{ ClientVersion, ServerVersion struct{ GitVersion string } }
	g.Expect(json.Unmarshal(out, &version)).To(Succeed())
	g.Expect(version.ServerVersion.GitVersion).To(HavePrefix("v1."))
	g.Expect(version.ClientVersion).To(Equal(version.ServerVersion))
}

func TestStartSaysWhatToDo(t *testing.T) {
	t.Run("without the binaries", func(t *testing.T) {
		g := NewWithT(t)
		t.Setenv("KUBEBUILDER_ASSETS", "")
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		_, err := testenv.Start(testenv.Options{})
		g.Expect(err).To(MatchError(ContainSubstring("run `make controlplane` once")))
	})
	t.Run("outside the project", func(t *testing.T) {
		g := NewWithT(t)
		t.Chdir(t.TempDir())
		_, err := testenv.Start(testenv.Options{})
		g.Expect(err).To(MatchError(ContainSubstring("run the tests inside the project")))
	})
	t.Run("without the definitions", func(t *testing.T) {
		g := NewWithT(t)
		scratch := t.TempDir()
		t.Setenv("TMPDIR", scratch)
		_, err := testenv.Start(testenv.Options{CRDDirs: []string{"testdata/missing"}})
		g.Expect(err).To(MatchError(ContainSubstring("testdata/missing")))
		g.Expect(os.ReadDir(scratch)).To(BeEmpty(), "a failed start leaves nothing behind")
	})
}
