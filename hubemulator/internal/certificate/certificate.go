// Package certificate makes the certificates of the emulator's servers.
package certificate

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
	"strings"
	"time"
)

// Identity is what a client needs to trust a server, and the server to prove
// itself.
type Identity struct {
	// CAPEM is the authority that clients have to trust.
	CAPEM []byte
	TLS   *tls.Config
}

const (
	lifetime = 365 * 24 * time.Hour
	headroom = time.Hour // for clients whose clock is behind
)

// New makes a certificate authority of the name, and a certificate for the
// server's names. Its validity follows the real clock, whatever the server's
// clock is: clients check it by theirs.
func New(authorityName string, names []string) (Identity, error) {
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: authorityName},
		NotBefore:             now.Add(-headroom),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("making the CA's key: %w", err)
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return Identity{}, fmt.Errorf("making the CA: %w", err)
	}
	if authority, err = x509.ParseCertificate(authorityDER); err != nil {
		return Identity{}, fmt.Errorf("making the CA: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("making the server's key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, serverTemplate(names, now), authority, key.Public(), authorityKey)
	if err != nil {
		return Identity{}, fmt.Errorf("making the server's certificate: %w", err)
	}
	return Identity{
		CAPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER}),
		TLS: &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			MinVersion:   tls.VersionTLS12, // some device SDKs offer nothing newer
		},
	}, nil
}

// Names lists every name that a server goes by: its own, localhost, and the
// loopback addresses, those that it listens on included.
func Names(hostname string, listeners ...net.Listener) []string {
	names := []string{strings.ToLower(hostname), "localhost", "127.0.0.1", "::1"}
	for _, listener := range listeners {
		if address, isTCP := listener.Addr().(*net.TCPAddr); isTCP && !address.IP.IsUnspecified() {
			names = append(names, address.IP.String())
		}
	}
	return names
}

func serverTemplate(names []string, now time.Time) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1),
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    now.Add(-headroom),
		NotAfter:     now.Add(lifetime),
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
