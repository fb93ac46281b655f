package admission_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/internal/admission"
)

func TestWhatKeepsTheServerFromStartingIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for name, tt := range map[string]struct{ address, want string }{
		"no port":        {"localhost", "the webhooks' address: address localhost: missing port"},
		"a named port":   {":https", `the webhooks' address ":https": the port must be a number from 1 to 65535`},
		"any port":       {":0", `the webhooks' address ":0": the port must be a number`},
		"no certificate": {":9443", "the webhooks' certificate in " + empty + ": open " + filepath.Join(empty, "tls.crt")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, err := admission.NewServer(tt.address, empty)
			NewWithT(t).Expect(err).To(MatchError(HavePrefix(tt.want)))
			NewWithT(t).Expect(server).To(BeNil())
		})
	}
}

// TestRenewedCertificatesAreTakenUp replaces the certificate as a renewal does:
// first the files, then the API server's trust.
func TestRenewedCertificatesAreTakenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mountAsSecret(w, w.hooks.CertDir)
	w.startManager(true)
	served := func() *big.Int {
		connection, err := tls.Dial("tcp", w.hooks.Address, &tls.Config{InsecureSkipVerify: true})
		w.Expect(err).NotTo(HaveOccurred())
		defer connection.Close()
		return connection.ConnectionState().PeerCertificates[0].SerialNumber
	}
	before := served()
	certificate, key := selfSigned(w)
	update(w, w.hooks.CertDir, map[string][]byte{"tls.crt": certificate, "tls.key": key})
	w.Eventually(served, patience).ShouldNot(Equal(before))

	// The API server keeps no connection that it would trust for longer.
	var configuration admissionv1.ValidatingWebhookConfiguration
	w.Expect(w.client.Get(t.Context(), client.ObjectKey{Name: w.hooks.Configuration}, &configuration)).To(Succeed())
	for i := range configuration.Webhooks {
		configuration.Webhooks[i].ClientConfig.CABundle = certificate
	}
	w.Expect(w.client.Update(t.Context(), &configuration)).To(Succeed())
	w.awaitWebhooks()
}

// mountAsSecret lays a folder out as a kubelet lays out a Secret: the files are
// links through a link that is replaced as a whole.
func mountAsSecret(w *world, dir string) {
	w.Helper()
	files := map[string][]byte{}
	for _, name := range []string{"tls.crt", "tls.key"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		w.Expect(err).NotTo(HaveOccurred())
		files[name] = content
		w.Expect(os.Remove(filepath.Join(dir, name))).To(Succeed())
		w.Expect(os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name))).To(Succeed())
	}
	update(w, dir, files)
}

// update replaces the content of such a folder.
func update(w *world, dir string, files map[string][]byte) {
	w.Helper()
	now, err := os.MkdirTemp(dir, "..now-")
	w.Expect(err).NotTo(HaveOccurred())
	for name, content := range files {
		w.Expect(os.WriteFile(filepath.Join(now, name), content, 0o600)).To(Succeed())
	}
	current := filepath.Join(dir, "..data")
	old, _ := os.Readlink(current) // none at first
	w.Expect(os.Symlink(filepath.Base(now), current+"_tmp")).To(Succeed())
	w.Expect(os.Rename(current+"_tmp", current)).To(Succeed())
	if old != "" {
		w.Expect(os.RemoveAll(filepath.Join(dir, old))).To(Succeed())
	}
}

// selfSigned is a certificate for the loopback address that is its own authority,
// as cert-manager's self-signed issuer makes it.
func selfSigned(w *world) (certificate, key []byte) {
	w.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	w.Expect(err).NotTo(HaveOccurred())
	keyDER, err := x509.MarshalECPrivateKey(private)
	w.Expect(err).NotTo(HaveOccurred())
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}
