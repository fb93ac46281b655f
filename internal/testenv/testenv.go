// Package testenv gives a test suite a real Kubernetes API server: etcd and
// kube-apiserver as processes of their own on free loopback ports, with the
// project's custom resource definitions installed. There is no scheduler, no
// kubelet and no controller manager: Deployments stay unscheduled, deleted
// namespaces stay Terminating, and owner references delete nothing.
package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	// startTimeout and stopTimeout are per process. controller-runtime's own
	// default of 20 seconds is too short when two cores also compile.
	startTimeout = 2 * time.Minute
	stopTimeout  = time.Minute
)

// Options say what the API server starts with. The zero value is usable.
type Options struct {
	// CRDDirs hold the custom resource definitions to install. Nil means the
	// project's own, config/crd/bases; an empty slice installs none.
	CRDDirs []string
	// AuditLog is the file the API server appends one JSON line to for every
	// request it has answered (user, verb, resource, status; no bodies).
	// Empty means that nothing is recorded.
	AuditLog string
	// ServiceRange is where Services get their addresses from, such as
	// 127.0.0.0/24: on loopback, a test can listen on that of a Service. Empty
	// means addresses that lead nowhere.
	ServiceRange string
}

// Env is a running API server.
type Env struct {
	envtest *envtest.Environment
	assets  string
	// scratch holds files that must outlive Start, and goes with Stop.
	scratch string
	// users is held while a user is added: envtest counts its certificates
	// without a lock.
	users sync.Mutex
}

// Run is the body of a suite's TestMain: it starts an API server, hands it to
// ready, runs the tests, stops the server, and returns the exit code for
// [os.Exit]. What cannot start or stop is a failure, never a skip.
//
//	func TestMain(m *testing.M) {
//		os.Exit(testenv.Run(m, testenv.Options{}, func(e *testenv.Env) { env = e }))
//	}
func Run(m *testing.M, opts Options, ready func(*Env)) int {
	env, err := Start(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ready(env)
	code := m.Run()
	if err := env.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Start starts etcd and kube-apiserver and waits until the API server answers
// and every custom resource is served. The caller must call Stop.
func Start(opts Options) (*Env, error) {
	assets, err := findAssets()
	if err != nil {
		return nil, err
	}
	crdDirs := opts.CRDDirs
	if crdDirs == nil {
		root, err := ProjectRoot()
		if err != nil {
			return nil, err
		}
		crdDirs = []string{filepath.Join(root, "config", "crd", "bases")}
	}
	scratch, err := os.MkdirTemp("", "devicetwin-testenv-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary directory for the API server: %w", err)
	}
	env := &Env{
		envtest: &envtest.Environment{
			BinaryAssetsDirectory:    assets,
			CRDDirectoryPaths:        crdDirs,
			ErrorIfCRDPathMissing:    true,
			ControlPlaneStartTimeout: startTimeout,
			ControlPlaneStopTimeout:  stopTimeout,
		},
		assets:  assets,
		scratch: scratch,
	}
	if opts.AuditLog != "" {
		if err := env.configureAudit(opts.AuditLog); err != nil {
			return nil, errors.Join(err, os.RemoveAll(scratch))
		}
	}
	if opts.ServiceRange != "" {
		env.envtest.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", opts.ServiceRange)
	}
	if _, err := env.envtest.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting etcd and kube-apiserver from %s: %w", assets, err), env.Stop())
	}
	return env, nil
}

// Stop ends both processes and removes their data. Stop every client first:
// the API server waits for open watches before it goes.
func (e *Env) Stop() error {
	return errors.Join(e.envtest.Stop(), os.RemoveAll(e.scratch))
}

// Config is how a cluster administrator reaches the API server, with client
// rate limits far out of a test's way. Each call returns a copy.
func (e *Env) Config() *rest.Config {
	return rest.CopyConfig(e.envtest.Config)
}

// Kubectl is the path of a kubectl of the API server's own version.
func (e *Env) Kubectl() string {
	return filepath.Join(e.assets, "kubectl")
}

// KubeconfigFile writes the administrator's kubeconfig to a file that only this
// user may read, and returns its path. It goes when the test ends.
func (e *Env) KubeconfigFile(t testing.TB) string {
	t.Helper()
	return writeKubeconfig(t, e.envtest.KubeConfig)
}

// ServiceAccountKubeconfigFile writes a kubeconfig of what [Env.ServiceAccountConfig]
// returns, as KubeconfigFile does.
func (e *Env) ServiceAccountKubeconfigFile(t testing.TB, namespace, name string) string {
	t.Helper()
	user, err := e.serviceAccount(namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := user.KubeConfig()
	if err != nil {
		t.Fatalf("making a kubeconfig for ServiceAccount %s/%s: %v", namespace, name, err)
	}
	return writeKubeconfig(t, text)
}

func writeKubeconfig(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatalf("writing a kubeconfig: %v", err)
	}
	return path
}

// ServiceAccountConfig reaches the API server as the named ServiceAccount,
// with whatever RBAC grants that account and nothing more. It authenticates by
// client certificate, so the account itself need not exist, and the audit log
// shows its user name, system:serviceaccount:NAMESPACE:NAME.
func (e *Env) ServiceAccountConfig(namespace, name string) (*rest.Config, error) {
	user, err := e.serviceAccount(namespace, name)
	if err != nil {
		return nil, err
	}
	return user.Config(), nil
}

func (e *Env) serviceAccount(namespace, name string) (*envtest.AuthenticatedUser, error) {
	e.users.Lock()
	defer e.users.Unlock()
	user, err := e.envtest.AddUser(envtest.User{
		Name: "system:serviceaccount:" + namespace + ":" + name,
		Groups: []string{
			"system:serviceaccounts",
			"system:serviceaccounts:" + namespace,
			"system:authenticated",
		},
	}, &rest.Config{QPS: e.envtest.Config.QPS, Burst: e.envtest.Config.Burst})
	if err != nil {
		return nil, fmt.Errorf("adding ServiceAccount %s/%s to the API server: %w", namespace, name, err)
	}
	return user, nil
}
