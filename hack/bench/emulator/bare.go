package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// recording is an answer of the emulator, for the bare handler to repeat.
type recording struct {
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// bareServer is the least that a Go HTTPS server can do for the same requests:
// it reads and decodes their bodies and writes the same answer every time.
type bareServer struct {
	https    *http.Server
	listener net.Listener
	ca       []byte
	answers  atomic.Pointer[map[string]recording] // by method
	ended    chan error
}

// startBare serves with what the emulator has too: a P-256 certificate, TLS
// 1.2 or newer, HTTP/1.1, and an optional client certificate.
func startBare() (*bareServer, error) {
	certificate, ca, err := bareCertificate()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &bareServer{listener: listener, ca: ca, ended: make(chan error, 1)}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.https = &http.Server{
		Handler: s, Protocols: protocols,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert,
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { s.ended <- s.https.ServeTLS(listener, "", "") }()
	return s, nil
}

func bareCertificate() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "bare"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

// ServeHTTP implements http.Handler.
func (s *bareServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil && len(body) > 0 {
		var document map[string]any
		err = json.Unmarshal(body, &document)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, found := (*s.answers.Load())[r.Method]
	if !found {
		http.Error(w, "nothing was recorded for "+r.Method, http.StatusNotFound)
		return
	}
	header := w.Header()
	for name, values := range answer.Header {
		header[name] = values
	}
	_, _ = w.Write(answer.Body) // the client counts what it gets
}

func (s *bareServer) serving() (serving, error) {
	return serving{HTTPS: s.listener.Addr().String(), CA: s.ca}, nil
}

func (s *bareServer) carryOut(o order) error {
	if o.Answers != nil {
		s.answers.Store(&o.Answers)
	}
	return nil
}

func (s *bareServer) close() error {
	err := s.https.Close()
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
