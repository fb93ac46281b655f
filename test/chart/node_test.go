package chart_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// freePort is one of the loopback addresses' on which nothing listens.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return port
}

// kubeconfigOf writes a kubeconfig that reaches the API server as config does.
func kubeconfigOf(t *testing.T, config *rest.Config) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	NewWithT(t).Expect(clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"test": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"test": {
			Token: config.BearerToken, ClientCertificateData: config.CertData, ClientKeyData: config.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "test"}},
		CurrentContext: "test",
	}, file)).To(Succeed())
	return file
}

// environment is a container's, as the kubelet puts it in: variables may refer to those before, and to the API server's.
func environment(container corev1.Container, apiServer string) []string {
	known := []string{"$(KUBERNETES_SERVICE_HOST)", apiServer}
	out := []string{"KUBERNETES_SERVICE_HOST=" + apiServer}
	for _, variable := range container.Env {
		value := strings.NewReplacer(known...).Replace(variable.Value)
		known = append(known, "$("+variable.Name+")", value)
		out = append(out, variable.Name+"="+value)
	}
	return out
}

// started is a program that runs until the test ends.
type started struct {
	mu  sync.Mutex
	out strings.Builder
}

// Write implements io.Writer.
func (s *started) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(text)
}

// log is what it has printed so far.
func (s *started) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// start runs a program with this environment and no other variable. The test fails if it ends by itself.
func start(t *testing.T, program string, env, args []string) *started {
	t.Helper()
	g := NewWithT(t)
	s := &started{}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(programs, program), args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, s, s
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 40 * time.Second
	g.Expect(cmd.Start()).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		select {
		case err := <-ended:
			t.Errorf("%s ended: %v: %s", program, err, s.log())
		default:
			cancel()
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v: %s", program, err, s.log())
			}
		}
		if t.Failed() {
			t.Logf("%s printed:\n%s", program, s.log())
		}
	})
	return s
}

// startManager runs a manager as its container is to be run, but listening on loopback. It waits until the manager is ready.
func startManager(t *testing.T, container corev1.Container, env []string, args ...string) *started {
	t.Helper()
	var all []string
	probes := ""
	for _, arg := range container.Args {
		name, value, _ := strings.Cut(arg, "=")
		if strings.HasSuffix(name, "-bind-address") && strings.HasPrefix(value, ":") {
			arg = name + "=127.0.0.1" + value
		}
		if name == "--health-probe-bind-address" {
			probes = "127.0.0.1" + value
		}
		all = append(all, arg)
	}
	s := start(t, "manager", env, append(all, args...)) // these win over the container's
	NewWithT(t).Eventually(func() error {
		answer, err := http.Get("http://" + probes + "/readyz")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("not ready: %s", answer.Status)
		}
		return nil
	}, patience).Should(Succeed())
	return s
}
