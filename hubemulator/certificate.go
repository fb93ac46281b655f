package hubemulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// identityFiles is what a client needs to trust the server, and the server to
// prove itself.
type identityFiles struct {
	caPEM []byte
	tls   *tls.Config
}

const (
	certificateLifetime = 365 * 24 * time.Hour
	certificateHeadroom = time.Hour // for clients whose clock is behind
)

// newIdentity makes a certificate authority and a certificate for the names.
// Its validity follows the real clock, whatever the hub's clock is: clients
// check it by theirs.
func newIdentity(names []string) (identityFiles, error) {
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "hubemulator CA"},
		NotBefore:             now.Add(-certificateHeadroom),
		NotAfter:              now.Add(certificateLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identityFiles{}, fmt.Errorf("making the CA's key: %w", err)
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return identityFiles{}, fmt.Errorf("making the CA: %w", err)
	}
	if authority, err = x509.ParseCertificate(authorityDER); err != nil {
		return identityFiles{}, fmt.Errorf("making the CA: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identityFiles{}, fmt.Errorf("making the server's key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, serverTemplate(names, now), authority, key.Public(), authorityKey)
	if err != nil {
		return identityFiles{}, fmt.Errorf("making the server's certificate: %w", err)
	}
	return identityFiles{
		caPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER}),
		tls: &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			MinVersion:   tls.VersionTLS12, // some device SDKs offer nothing newer
			// Devices may sign in with a certificate. Which ones are accepted
			// depends on the device, which the handshake knows nothing of.
			ClientAuth: tls.RequestClientCert,
		},
	}, nil
}

func serverTemplate(names []string, now time.Time) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1),
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    now.Add(-certificateHeadroom),
		NotAfter:     now.Add(certificateLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return template
}
