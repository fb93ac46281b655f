package model_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/lease"
)

// valve holds things up while it is shut. The zero value is open.
type valve struct {
	mu   sync.Mutex
	shut chan struct{} // closed when it opens; nil while it is open
}

func (v *valve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut == nil {
		v.shut = make(chan struct{})
	}
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut != nil {
		close(v.shut)
		v.shut = nil
	}
}

// pass waits until it is open.
func (v *valve) pass(ctx context.Context) error {
	v.mu.Lock()
	shut := v.shut
	v.mu.Unlock()
	if shut == nil {
		return nil
	}
	select {
	case <-shut:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// gate is what one manager's traffic passes. Shut, the manager is like a process that is
// stopped: nothing that it sends arrives, and it learns nothing.
type gate struct {
	// requests to both servers, and their answers.
	requests valve
	// watches of the API server: opened later, the manager acts on what it knew.
	watches valve
	// waiting counts the requests to the hub that are held up.
	waiting atomic.Int64
	// lapsed is true when the manager can tell that its Lease has run out.
	lapsed atomic.Bool
}

// fence is asked before each change of the hub.
func (g *gate) fence() error {
	if g.lapsed.Load() {
		return lease.ErrNotHeld
	}
	return nil
}

func (g *gate) shut() {
	g.requests.close()
	g.watches.close()
}

func (g *gate) open() {
	g.requests.open()
	g.watches.open()
}

// guard stands before the API server.
func (g *gate) guard(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if err := g.requests.pass(req.Context()); err != nil {
			return nil, err
		}
		resp, err := next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		through := &g.requests
		if req.URL.Query().Get("watch") != "" {
			through = &g.watches
		}
		resp.Body = &heldBody{ReadCloser: resp.Body, pass: func() error { return through.pass(req.Context()) }}
		return resp, nil
	})
}

// heldBody is an answer that comes no further than its valve.
type heldBody struct {
	io.ReadCloser
	pass func() error
}

func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if shut := b.pass(); shut != nil {
		return 0, shut
	}
	return n, err
}

// front is the hub as the managers reach it: through their gates, which it tells apart
// by their user agents.
type front struct {
	server    *httptest.Server
	transport *http.Transport

	// patch has the changes of twins, where it is set, and hands them on to the hub.
	patch func(answer http.ResponseWriter, req *http.Request, hub http.Handler)

	mu    sync.Mutex
	gates map[string]*gate // by user agent
}

func (w *world) frontHub() *front {
	trusted := x509.NewCertPool()
	w.Expect(trusted.AppendCertsFromPEM(w.hub.CACertificatePEM())).To(BeTrue())
	target, err := url.Parse("https://" + w.hub.HTTPSAddress())
	w.Expect(err).NotTo(HaveOccurred())
	f := &front{
		transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: "localhost", MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64,
		},
		gates: map[string]*gate{},
	}
	quiet := log.New(io.Discard, "", 0)
	proxy := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:    f.transport,
		ErrorLog:     quiet, // connections are cut on purpose
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	f.server = httptest.NewUnstartedServer(http.HandlerFunc(func(answer http.ResponseWriter, req *http.Request) {
		through := f.gateOf(req.UserAgent())
		through.waiting.Add(1)
		err := through.requests.pass(req.Context())
		through.waiting.Add(-1)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if f.patch != nil && req.Method == http.MethodPatch {
			f.patch(answer, req, proxy)
			return
		}
		proxy.ServeHTTP(answer, req)
	}))
	f.server.Config.ErrorLog = quiet
	f.server.TLS = &tls.Config{Certificates: []tls.Certificate{suite.certificate}, MinVersion: tls.VersionTLS12}
	f.server.StartTLS()
	return f
}

func (f *front) add(agent string, g *gate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gates[agent] = g
}

func (f *front) gateOf(agent string) *gate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g, ok := f.gates[agent]; ok {
		return g
	}
	return &gate{}
}

// credential is a connection string that leads through the front.
func (f *front) credential(w *world) string {
	text, err := w.hub.ServiceConnectionString("service")
	w.Expect(err).NotTo(HaveOccurred())
	_, rest, _ := strings.Cut(text, ";")
	return "HostName=" + f.host(w) + ";" + rest
}

func (f *front) host(w *world) string {
	_, port, err := net.SplitHostPort(f.server.Listener.Addr().String())
	w.Expect(err).NotTo(HaveOccurred())
	return net.JoinHostPort("localhost", port)
}

func (f *front) close() {
	f.server.Close()
	f.transport.CloseIdleConnections()
}
