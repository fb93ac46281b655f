package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
)

// certificate writes a certificate that signs itself, as tls.crt and tls.key.
func certificate(t *testing.T) (dir string) {
	t.Helper()
	g := NewWithT(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	g.Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	g.Expect(err).NotTo(HaveOccurred())
	keyDER, err := x509.MarshalECPrivateKey(key)
	g.Expect(err).NotTo(HaveOccurred())
	dir = t.TempDir()
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		g.Expect(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600)).To(Succeed())
	}
	return dir
}

// freeAddresses are n different addresses of this machine on which nothing listens.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var addresses []string
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		// Held until all are found, so that they differ.
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses
}

func TestWebhooksAreOffWithoutACertificate(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	server, err := webhookServer(options{webhookAddress: ":9443"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(server).To(BeNil())

	dir := t.TempDir()
	_, err = webhookServer(options{webhookAddress: ":9443", webhookCertDir: dir})
	g.Expect(err).To(MatchError(ContainSubstring(filepath.Join(dir, "tls.crt"))), "not off by mistake")
}

// nowhere is a cluster that does not answer: enough for managers that watch nothing.
func nowhere() *rest.Config { return &rest.Config{Host: "https://127.0.0.1:1"} }

// portAttempts: an address that was free can be taken by the time a manager
// listens on it, by another test for one.
const portAttempts = 5

// serve runs a manager that listens on two free addresses, the first of them for its
// probes, until the test ends. It returns once the manager is ready.
func serve(t *testing.T, newManager func(addresses []string) (ctrl.Manager, error)) (addresses []string) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		addresses = freeAddresses(t, 2)
		mgr, err := newManager(addresses)
		if err == nil {
			err = startReady(t, mgr, addresses[0])
		}
		if err == nil {
			return addresses
		}
		if !errors.Is(err, syscall.EADDRINUSE) || attempt == portAttempts {
			t.Fatalf("serving on %v: %v", addresses, err)
		}
	}
}

// startReady returns what ended the manager before its probes said that it is ready.
func startReady(t *testing.T, mgr ctrl.Manager, probes string) error {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	ready := statusOf(probes, "/readyz")
	err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		select {
		case err := <-ended:
			return false, cmp.Or(err, errors.New("the manager ended"))
		default:
		}
		status, err := ready()
		return err == nil && status == http.StatusOK, nil
	})
	if err != nil {
		cancel()
		return err
	}
	t.Cleanup(func() {
		cancel()
		NewWithT(t).Expect(<-ended).To(Succeed())
	})
	return nil
}

// statusOf asks again at each call.
func statusOf(address, path string) func() (int, error) {
	return func() (int, error) {
		answer, err := http.Get(fmt.Sprintf("http://%s%s", address, path))
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
}

// Profiles show memory: they are not offered where the probes are.
func TestProfilesHaveAnAddressOfTheirOwn(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	scheme, err := newScheme()
	g.Expect(err).NotTo(HaveOccurred())
	addresses := serve(t, func(addresses []string) (ctrl.Manager, error) {
		opts := options{metricsAddress: "0", probeAddress: addresses[0], pprofAddress: addresses[1]}
		mgr, err := ctrl.NewManager(nowhere(), managerOptions(opts, shard.Shard{}, scheme, nil, nil))
		if err != nil {
			return nil, err
		}
		return mgr, addProbes(mgr)
	})
	probes, profiles := addresses[0], addresses[1]
	g.Eventually(statusOf(profiles, "/debug/pprof/heap?gc=1"), "30s").Should(Equal(http.StatusOK))
	g.Expect(statusOf(probes, "/debug/pprof/heap")()).To(Equal(http.StatusNotFound))
}

// TestReadinessWaitsForTheWebhooks needs no cluster: this manager watches nothing.
func TestReadinessWaitsForTheWebhooks(t *testing.T) {
	t.Parallel()
	for name, certDir := range map[string]string{"on": certificate(t), "off": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			scheme, err := newScheme()
			g.Expect(err).NotTo(HaveOccurred())
			addresses := serve(t, func(addresses []string) (ctrl.Manager, error) {
				opts := options{
					metricsAddress: "0", probeAddress: addresses[0], webhookAddress: addresses[1], webhookCertDir: certDir,
				}
				server, err := webhookServer(opts)
				g.Expect(err).NotTo(HaveOccurred())
				mgr, err := ctrl.NewManager(nowhere(), managerOptions(opts, shard.Shard{}, scheme, server, nil))
				if err != nil {
					return nil, err
				}
				g.Expect(addProbes(mgr)).To(Succeed())
				if server != nil {
					g.Expect(addWebhooks(mgr)).To(Succeed())
					g.Expect(server.StartedChecker()(nil)).To(MatchError(ContainSubstring("not been started")))
				}
				return mgr, nil
			})
			want := http.StatusNotFound
			if certDir != "" {
				want = http.StatusOK
			}
			g.Expect(statusOf(addresses[0], "/readyz/webhooks")()).To(Equal(want))
		})
	}
}

// TestVersion needs no cluster, and finds none.
func TestVersion(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	program, err := os.Executable()
	g.Expect(err).NotTo(HaveOccurred())
	cmd := exec.CommandContext(t.Context(), program, "--version")
	cmd.Env = append(os.Environ(), managerVariable+"=1")
	out, err := cmd.CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(out)).To(MatchRegexp(`^manager devel \(commit .+\)\n$`))
}

func TestHubsAreToldTheVersion(t *testing.T) {
	t.Parallel()
	NewWithT(t).Expect(poolOptions(options{}, nil, nil).UserAgent).To(Equal("devicetwin-operator/devel"))
}
