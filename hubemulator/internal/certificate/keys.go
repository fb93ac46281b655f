package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// Keys are an authority and a server, as they can be kept in a file that is
// secret. The zero value stands for nothing; an authority may be without a server.
type Keys struct {
	Authority Pair `json:"authority"`
	Server    Pair `json:"server"`
}

// Pair is a certificate with its key in PEM.
type Pair struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

// Check reports whether the keys can be used.
func (k Keys) Check() error {
	_, _, err := k.parse()
	return err
}

func (k Keys) parse() (authority, server tls.Certificate, err error) {
	if k == (Keys{}) {
		return tls.Certificate{}, tls.Certificate{}, nil
	}
	if authority, err = k.Authority.parse(); err != nil {
		return tls.Certificate{}, tls.Certificate{}, fmt.Errorf("the CA: %w", err)
	}
	if k.Server == (Pair{}) {
		return authority, tls.Certificate{}, nil
	}
	if server, err = k.Server.parse(); err != nil {
		return tls.Certificate{}, tls.Certificate{}, fmt.Errorf("the server's certificate: %w", err)
	}
	return authority, server, nil
}

func (p Pair) parse() (tls.Certificate, error) {
	return tls.X509KeyPair([]byte(p.Certificate), []byte(p.Key))
}

// newPair makes a key and a certificate for it, which the issuer signs, or,
// without an issuer, the key itself.
func newPair(template *x509.Certificate, issuer tls.Certificate) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	parent, signer := issuer.Leaf, issuer.PrivateKey
	if parent == nil {
		parent, signer = template, key
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})),
		Key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}, nil
}
