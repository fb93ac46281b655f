// Package certificate makes the certificates of the emulator's servers.
package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
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
	// Keys are what Renew needs to make the same again.
	Keys Keys
}

const (
	lifetime = 365 * 24 * time.Hour
	headroom = time.Hour // for clients whose clock is behind
	// renewal is how long before its end a certificate is not taken any more.
	renewal = 24 * time.Hour
)

// New makes a certificate authority of the name, and a certificate for the
// server's names.
func New(authorityName string, names []string) (Identity, error) {
	return Renew(Keys{}, authorityName, names)
}

// Renew is New with what there is already: it makes only what is missing, is
// about to end, or, of the server's certificate, does not cover its names. The
// validity follows the real clock, whatever the server's clock is: clients
// check it by theirs.
func Renew(kept Keys, authorityName string, names []string) (Identity, error) {
	authority, server, err := kept.parse()
	if err != nil {
		return Identity{}, err
	}
	now := time.Now()
	if !usable(authority, now) {
		if kept.Authority, err = newPair(authorityTemplate(authorityName, now), tls.Certificate{}); err != nil {
			return Identity{}, fmt.Errorf("making the CA: %w", err)
		}
		if authority, err = kept.Authority.parse(); err != nil {
			return Identity{}, fmt.Errorf("making the CA: %w", err)
		}
		server = tls.Certificate{} // of another authority
	}
	if !usable(server, now) || !covers(server, names) {
		if kept.Server, err = newPair(serverTemplate(names, now), authority); err != nil {
			return Identity{}, fmt.Errorf("making the server's certificate: %w", err)
		}
		if server, err = kept.Server.parse(); err != nil {
			return Identity{}, fmt.Errorf("making the server's certificate: %w", err)
		}
	}
	return Identity{
		CAPEM: []byte(kept.Authority.Certificate),
		TLS: &tls.Config{
			Certificates: []tls.Certificate{server},
			MinVersion:   tls.VersionTLS12, // some device SDKs offer nothing newer
		},
		Keys: kept,
	}, nil
}

func usable(c tls.Certificate, now time.Time) bool {
	return c.Leaf != nil && now.Add(renewal).Before(c.Leaf.NotAfter)
}

func covers(c tls.Certificate, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return c.Leaf.VerifyHostname(name) != nil })
}

// Names lists every name that a server goes by: its own, localhost, and the
// loopback addresses, those that it listens on included. An IPv6 address may stand in
// brackets.
func Names(hostname string, listeners ...net.Listener) []string {
	names := []string{strings.ToLower(strings.Trim(hostname, "[]")), "localhost", "127.0.0.1", "::1"}
	for _, listener := range listeners {
		if address, isTCP := listener.Addr().(*net.TCPAddr); isTCP && !address.IP.IsUnspecified() {
			names = append(names, address.IP.String())
		}
	}
	return names
}

func authorityTemplate(name string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-headroom),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
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
