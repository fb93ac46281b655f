package hubemulator

import (
	"crypto/x509"
	"errors"
)

// deviceCAs reads the authorities of devices' certificates; nil when there are
// none.
func deviceCAs(pem []byte) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the device CAs hold no certificate; they should be PEM")
	}
	return pool, nil
}
