package hub

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	dialTimeout      = 15 * time.Second
	handshakeTimeout = 15 * time.Second
	idleTimeout      = 90 * time.Second
	// idleConnections is generous: a connection that is closed after each use costs a TLS handshake, and IoT Hub limits
	// those too.
	idleConnections = 64
	// maxHeaderBytes bounds the header of an answer; IoT Hub's are below 2 KiB, the continuation of a query included.
	maxHeaderBytes = 64 << 10
)

// newTransport returns the connections to a host, made by dial where that is given: TLS 1.2 or later, the proxy that the
// environment names, and the given roots or the system's.
func newTransport(
	host string, caBundle []byte, dial func(ctx context.Context, network, address string) (net.Conn, error),
) (*http.Transport, error) {
	roots, err := ParseCABundle(caBundle)
	if err != nil {
		return nil, &Error{Reason: ReasonInvalidCABundle, Host: host, detail: err.Error()}
	}
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConns:           idleConnections,
		MaxIdleConnsPerHost:    idleConnections,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		OnProxyConnectResponse: refusedByProxy,
	}, nil
}

// refusedByProxy says so when a proxy does not let us through: net/http itself returns the proxy's words alone.
func refusedByProxy(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &Error{
		Reason: ReasonUnreachable, ofSession: true,
		detail: fmt.Sprintf("the proxy that HTTPS_PROXY names refused to connect to it, with status %d", answer.StatusCode),
	}
}

// ParseCABundle reads PEM certificates. No bytes at all give nil: the system's roots. An error says which block cannot
// be used, and quotes nothing.
func ParseCABundle(bundle []byte) (*x509.CertPool, error) {
	if len(bundle) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	rest := bundle
	for number := 1; ; number++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			if number == 1 {
				return nil, fmt.Errorf("it holds no PEM block")
			}
			if bytes.Contains(rest, []byte("-----BEGIN")) {
				return nil, fmt.Errorf("PEM block %d is cut short or damaged", number)
			}
			return pool, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block %d is not a certificate", number)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d is not a readable certificate", number)
		}
		pool.AddCert(certificate)
	}
}
