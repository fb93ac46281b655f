package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
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

// freeAddress is an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	return listener.Addr().String()
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

// start runs a manager until the test ends.
func start(t *testing.T, mgr ctrl.Manager) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		NewWithT(t).Expect(<-ended).To(Succeed())
	})
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
	opts := options{metricsAddress: "0", probeAddress: freeAddress(t), pprofAddress: freeAddress(t)}
	mgr, err := ctrl.NewManager(nowhere(), managerOptions(opts, shard.Shard{}, scheme, nil))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(addProbes(mgr)).To(Succeed())
	start(t, mgr)
	g.Eventually(statusOf(opts.pprofAddress, "/debug/pprof/heap?gc=1"), "30s").Should(Equal(http.StatusOK))
	g.Eventually(statusOf(opts.probeAddress, "/readyz"), "30s").Should(Equal(http.StatusOK))
	g.Expect(statusOf(opts.probeAddress, "/debug/pprof/heap")()).To(Equal(http.StatusNotFound))
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
			probes := freeAddress(t)
			opts := options{
				metricsAddress: "0", probeAddress: probes, webhookAddress: freeAddress(t), webhookCertDir: certDir,
			}
			server, err := webhookServer(opts)
			g.Expect(err).NotTo(HaveOccurred())
			mgr, err := ctrl.NewManager(nowhere(), managerOptions(opts, shard.Shard{}, scheme, server))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(addProbes(mgr)).To(Succeed())
			if server != nil {
				g.Expect(addWebhooks(mgr)).To(Succeed())
				g.Expect(server.StartedChecker()(nil)).To(MatchError(ContainSubstring("not been started")))
			}
			start(t, mgr)
			status := func(path string) func() (int, error) { return statusOf(probes, path) }
			g.Eventually(status("/readyz"), "30s").Should(Equal(http.StatusOK))
			if server == nil {
				g.Expect(status("/readyz/webhooks")()).To(Equal(http.StatusNotFound))
				return
			}
			g.Expect(status("/readyz/webhooks")()).To(Equal(http.StatusOK))
		})
	}
}
