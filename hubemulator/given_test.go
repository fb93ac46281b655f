package hubemulator_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// TestGivenKeysHoldOverThoseOfTheHub: what is given is known before the hub runs, also
// for a hub that has others in its data directory.
func TestGivenKeysHoldOverThoseOfTheHub(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir})
	ca, caKey := givenAuthority(t)
	given := func(o *hubemulator.Options) {
		o.PolicyKeys = map[string]string{"service": base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))}
		o.CACertificate, o.CAKey = ca, caKey
	}

	for range 2 { // the second time they are the hub's own
		h = h.restart(t, dir, given)
		text, err := h.server.ServiceConnectionString("service")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(text).To(HaveSuffix(";SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="))
		g.Expect(h.server.CACertificatePEM()).To(Equal(ca))
		h.client.token = h.policyToken(t, "service") // and newClient trusts the CA
		g.Expect(h.call(t, http.MethodPost, "/devices/query", `{"query":"SELECT * FROM devices"}`).status).To(Equal(http.StatusOK))
	}
}

func TestWhatIsGivenWrongStopsTheStart(t *testing.T) {
	t.Parallel()
	ca, _ := givenAuthority(t)
	_, other := givenAuthority(t)
	for want, opts := range map[string]hubemulator.Options{
		`the key of policy "owner": there is no such policy`:                 {PolicyKeys: map[string]string{"owner": strings.Repeat("AAAA", 8)}},
		`the key of policy "service": it should be base64 of 16 to 64 bytes`: {PolicyKeys: map[string]string{"service": "secret"}},
		`the CA: tls: private key does not match public key`:                 {CACertificate: ca, CAKey: other},
		`the CA: tls: failed to find any PEM data in key input`:              {CACertificate: ca},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			_, err := hubemulator.Start(t.Context(), opts)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(want)))
		})
	}
}

// givenAuthority is a certificate authority in PEM, certificate and key.
func givenAuthority(t *testing.T) (certificate, key []byte) {
	t.Helper()
	g := NewWithT(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	g.Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "given"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	g.Expect(err).NotTo(HaveOccurred())
	keyDER, err := x509.MarshalECPrivateKey(private)
	g.Expect(err).NotTo(HaveOccurred())
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}
