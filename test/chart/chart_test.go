// Package chart_test renders the Helm chart and holds it against a real API
// server, against config, and against what it says of itself.
package chart_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

const (
	root      = "../.."
	chart     = root + "/charts/devicetwin-operator"
	release   = "devicetwin-operator"
	namespace = "devicetwin-system"
)

// patience is how long to wait for the API server to serve or to drop a kind.
const patience = time.Minute

// TestMain sets these: an API server with no custom resource definition, since the
// chart brings them, where Helm is, and the folder of the project's programs.
var (
	cluster  *testenv.Env
	helmCLI  string
	programs string
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // what fails is asserted, not printed
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if helmCLI, err = testenv.Tool("hack/tools/helm/go.mod", "-n", "helm"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	helmCLI = strings.TrimSpace(helmCLI)
	if programs, err = os.MkdirTemp("", "chart-programs-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(programs) }()
	build := exec.Command("go", "build", "-o", programs, "./cmd/manager", "./cmd/devicesim", "./cmd/hubemulator")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
		return 1
	}
	// Services have addresses on which the tests can listen.
	opts := testenv.Options{CRDDirs: []string{}, ServiceRange: "127.0.0.0/24"}
	return testenv.Run(m, opts, func(e *testenv.Env) { cluster = e })
}

// helm runs Helm, against the cluster where kubeconfig names it. What it says on
// standard error is part of the error.
func helm(t *testing.T, kubeconfig string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute) // cleanups run it too
	defer cancel()
	cmd := exec.CommandContext(ctx, helmCLI, args...)
	home := t.TempDir() // no repositories, plugins or settings of the user's
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w: %s", args[0], err, &stderr)
	}
	return stdout.String(), nil
}

// render renders the chart without a cluster, as GitOps tools do.
func render(t *testing.T, args ...string) []*unstructured.Unstructured {
	t.Helper()
	out, err := helm(t, "", append([]string{"template", release, chart, "--namespace", namespace}, args...)...)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return decode(t, out)
}

// decode leaves out documents of comments alone, as templates give.
func decode(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	objects := slices.DeleteFunc(testenv.Decode(t, strings.NewReader(text)), func(object *unstructured.Unstructured) bool { return len(object.Object) == 0 })
	NewWithT(t).Expect(objects).NotTo(BeEmpty())
	return objects
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	return cluster.StrictClient(t)
}

// examples are the example values by their names without -values.yaml.
func examples(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(chart + "/ci/*-values.yaml")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(files).NotTo(BeEmpty())
	out := map[string]string{}
	for _, file := range files {
		out[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = file
	}
	return out
}
