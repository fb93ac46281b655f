package hubemulator_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// signer signs certificates; nil makes them self-signed.
type signer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	chain       [][]byte
}

func (i *signer) issue(t *testing.T, name string, change func(*x509.Certificate)) (*signer, tls.Certificate) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: startOfTime.Add(-time.Hour), NotAfter: startOfTime.Add(time.Hour),
		BasicConstraintsValid: true,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	parent, signing := template, key
	if i != nil {
		parent, signing = i.certificate, i.key
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signing))
	issued := &signer{certificate: must(x509.ParseCertificate(der)), key: key, chain: [][]byte{der}}
	if i != nil && i.certificate.Subject.CommonName != "root" {
		issued.chain = append(issued.chain, i.chain...)
	}
	return issued, tls.Certificate{Certificate: issued.chain, PrivateKey: key}
}

func authority(c *x509.Certificate) { c.IsCA, c.ExtKeyUsage = true, nil }

// connectWith signs a device in with a certificate and returns the hub's
// refusal.
func (h *hub) connectWith(t *testing.T, id, transport string, certificate tls.Certificate) (*device, error) {
	t.Helper()
	d := h.newDevice(t, id, transport, func(o *mqtt.ClientOptions) {
		o.TLSConfig.Certificates = []tls.Certificate{certificate}
	})
	token := d.Connect()
	if !token.WaitTimeout(patience) {
		t.Fatal("the hub does not answer")
	}
	return d, token.Error()
}

func thumbprints(primary, secondary string) string {
	return `{"authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"` + primary +
		`","secondaryThumbprint":"` + secondary + `"}}}`
}

func TestSelfSignedCertificates(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "keys")
			_, first := (*signer)(nil).issue(t, "any name", nil)
			_, second := (*signer)(nil).issue(t, "d1", nil)
			_, third := (*signer)(nil).issue(t, "d1", nil)
			short, long := sha1.Sum(first.Certificate[0]), sha256.Sum256(second.Certificate[0])
			h.ok(t, http.MethodPut, "/devices/d1", thumbprints(hex.EncodeToString(short[:]), strings.ToUpper(hex.EncodeToString(long[:]))))

			d, err := h.connectWith(t, "d1", transport, first)
			g.Expect(err).NotTo(HaveOccurred(), "primary, SHA-1")
			d.subscribe("$iothub/twin/res/#")
			d.publish("$iothub/twin/GET/?$rid=1", "")
			g.Expect(d.receive().Topic()).To(Equal("$iothub/twin/res/200/?$rid=1"))
			h.clock.Step(1000 * time.Hour) // there is no token that could expire
			d.publish("$iothub/twin/GET/?$rid=2", "")
			g.Expect(d.receive().Topic()).To(Equal("$iothub/twin/res/200/?$rid=2"))
			_, err = h.connectWith(t, "d1", transport, second)
			g.Expect(err).NotTo(HaveOccurred(), "secondary, SHA-256")

			_, err = h.connectWith(t, "d1", transport, third)
			g.Expect(err).To(MatchError(ContainSubstring("not Authorized")), "not registered")
			_, err = h.connectWith(t, "keys", transport, first)
			g.Expect(err).To(MatchError(ContainSubstring("not Authorized")), "a device that signs in with keys")
			_, err = h.connectWith(t, "absent", transport, first)
			g.Expect(err).To(MatchError(ContainSubstring("not Authorized")), "unknown")
			_, err = h.connectWith(t, "d1", transport, tls.Certificate{})
			g.Expect(err).To(MatchError(ContainSubstring("not Authorized")), "without a certificate")
		})
	}
}

func TestReplacedThumbprintEndsTheConnection(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	_, certificate := (*signer)(nil).issue(t, "d1", nil)
	sum := sha256.Sum256(certificate.Certificate[0])
	thumbprint := hex.EncodeToString(sum[:])
	h.ok(t, http.MethodPut, "/devices/d1", thumbprints(thumbprint, ""))
	d, err := h.connectWith(t, "d1", "TCP", certificate)
	g.Expect(err).NotTo(HaveOccurred())
	h.ok(t, http.MethodPut, "/devices/d1", thumbprints(strings.Repeat("0", 40), thumbprint), "If-Match", "*")
	d.subscribe("$iothub/twin/res/#") // it is the secondary one now
	h.ok(t, http.MethodPut, "/devices/d1", thumbprints(strings.Repeat("0", 40), ""), "If-Match", "*")
	g.Eventually(d.lost, patience).Should(Receive())
}

func TestCertificatesOfAnAuthority(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	root, _ := (*signer)(nil).issue(t, "root", authority)
	factory, _ := root.issue(t, "factory", authority)
	stranger, _ := (*signer)(nil).issue(t, "root", authority)
	rootPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.certificate.Raw})
	h := startHubWith(t, hubemulator.Options{DeviceCAs: rootPEM})
	h.ok(t, http.MethodPut, "/devices/d1", `{"authentication":{"type":"certificateAuthority"}}`)
	h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{"authentication":{"type":"certificateAuthority"}}`)
	for name, test := range map[string]struct {
		issuer     *signer
		commonName string
		id         string
		accepted   bool
		change     func(*x509.Certificate)
	}{
		"of the root":         {root, "d1", "d1", true, nil},
		"of an intermediate":  {factory, "d1", "d1", true, nil},
		"of a module":         {root, "d1/m1", "d1/m1", true, nil},
		"of another device":   {root, "d2", "d1", false, nil},
		"module as device":    {root, "d1/m1", "d1", false, nil},
		"of another root":     {stranger, "d1", "d1", false, nil},
		"self-signed":         {nil, "d1", "d1", false, nil},
		"expired":             {root, "d1", "d1", false, func(c *x509.Certificate) { c.NotAfter = startOfTime.Add(-time.Second) }},
		"for a server":        {root, "d1", "d1", false, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }},
		"of no use in detail": {root, "d1", "d1", true, func(c *x509.Certificate) { c.ExtKeyUsage = nil }},
	} {
		_, certificate := test.issuer.issue(t, test.commonName, test.change)
		for _, transport := range transports {
			_, err := h.connectWith(t, test.id, transport, certificate)
			if test.accepted {
				g.Expect(err).NotTo(HaveOccurred(), name)
			} else {
				g.Expect(err).To(MatchError(ContainSubstring("not Authorized")), name)
			}
		}
	}
	without := startHub(t)
	without.ok(t, http.MethodPut, "/devices/d1", `{"authentication":{"type":"certificateAuthority"}}`)
	_, certificate := root.issue(t, "d1", nil)
	_, err := without.connectWith(t, "d1", "TCP", certificate)
	g.Expect(err).To(HaveOccurred(), "the hub trusts no authority")
	_, err = hubemulator.Start(t.Context(), hubemulator.Options{DeviceCAs: []byte("x")})
	g.Expect(err).To(MatchError(ContainSubstring("they should be PEM")))
}
