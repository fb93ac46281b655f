package store

import (
	"crypto/sha1" //nolint:gosec // the thumbprint that IoT Hub has always used; it identifies, the handshake proves
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
)

// AuthenticateCertificate checks the certificates, leaf first, whose key a
// device or module proved to hold. A self-signed one has to have a thumbprint,
// SHA-1 or SHA-256, that is registered with the identity. One from an authority
// has to lead to one that the hub trusts and to carry the id as its common
// name, {device} or {device}/{module}. Every refusal is the same Unauthorized
// error.
func (s *Store) AuthenticateCertificate(id ID, certificates []*x509.Certificate) (Credential, error) {
	if len(certificates) == 0 {
		return Credential{}, Unauthorized()
	}
	accepts := func(a authentication) bool {
		switch a.Type {
		case authSelfSigned:
			return a.hasThumbprintOf(certificates[0])
		case authCA:
			return s.issuedTo(id, certificates)
		default:
			return false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.lookup(id)
	if d == nil || !s.enabled(id) || !accepts(d.identity.auth) {
		return Credential{}, Unauthorized()
	}
	return Credential{ID: id, generation: d.identity.generation, accepts: accepts}, nil
}

func (a authentication) hasThumbprintOf(certificate *x509.Certificate) bool {
	long, short := sha256.Sum256(certificate.Raw), sha1.Sum(certificate.Raw) //nolint:gosec // see above
	for _, registered := range []optional{a.X509Thumbprint.Primary, a.X509Thumbprint.Secondary} {
		if strings.EqualFold(string(registered), hex.EncodeToString(long[:])) ||
			strings.EqualFold(string(registered), hex.EncodeToString(short[:])) {
			return true
		}
	}
	return false
}

func (s *Store) issuedTo(id ID, certificates []*x509.Certificate) bool {
	name := id.Device
	if id.Module != "" {
		name += "/" + id.Module
	}
	if s.deviceCAs == nil || certificates[0].Subject.CommonName != name {
		return false
	}
	between := x509.NewCertPool()
	for _, certificate := range certificates[1:] {
		between.AddCert(certificate)
	}
	_, err := certificates[0].Verify(x509.VerifyOptions{
		Roots: s.deviceCAs, Intermediates: between, CurrentTime: s.clock.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}
