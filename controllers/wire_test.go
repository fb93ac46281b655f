package controllers_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// wire is a TLS server in front of a hub that notes what arrives there, and hands
// it on unchanged.
type wire struct {
	host string
	ca   []byte

	mu       sync.Mutex
	requests []wireRequest
}

// wireRequest is one request as it arrived.
type wireRequest struct {
	method, path, body string
	header             http.Header
}

// String is what a test compares: method, path, condition, body.
func (r wireRequest) String() string {
	return fmt.Sprintf("%s %s If-Match=%v %s", r.method, r.path, r.header.Values("If-Match"), r.body)
}

// tap puts a wire in front of the test's hub.
func (w *world) tap() *wire {
	w.Helper()
	return w.tapWith(func(http.ResponseWriter, *http.Request) bool { return true })
}

// tapWith puts a wire in front of the test's hub that hands on what pass lets
// through; else pass has answered.
func (w *world) tapWith(pass func(http.ResponseWriter, *http.Request) bool) *wire {
	w.Helper()
	roots := x509.NewCertPool()
	w.Expect(roots.AppendCertsFromPEM(w.hub.CACertificatePEM())).To(BeTrue())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}}
	w.Cleanup(transport.CloseIdleConnections)
	target := &url.URL{Scheme: "https", Host: w.hub.HTTPSAddress()}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0), // a manager that stops hangs up
	}
	tapped := &wire{}
	tapped.host, tapped.ca = w.serve(func(answer http.ResponseWriter, request *http.Request) {
		if tapped.note(request) != nil {
			http.Error(answer, "half a request", http.StatusBadRequest)
			return
		}
		if pass(answer, request) {
			proxy.ServeHTTP(answer, request)
		}
	})
	return tapped
}

// serve serves a handler over TLS, and returns its host and the certificate to trust.
func (w *world) serve(handler http.HandlerFunc) (host string, ca []byte) {
	w.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	w.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "https://"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// note keeps a copy of a request, whose body can be read again.
func (x *wire) note(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	x.mu.Lock()
	defer x.mu.Unlock()
	x.requests = append(x.requests, wireRequest{r.Method, r.URL.Path, string(body), r.Header.Clone()})
	return nil
}

// count tells how many requests have arrived.
func (x *wire) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.requests)
}

// changes are the requests since the n-th that are no reads.
func (x *wire) changes(n int) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []string
	for _, r := range x.requests[n:] {
		query := r.method == http.MethodPost && r.path == "/devices/query"
		if r.method != http.MethodGet && !query {
			out = append(out, r.String())
		}
	}
	return out
}

// tapRespelling is a hub that holds a value of a change in a spelling of its own.
func (w *world) tapRespelling(declared, respelled string) *wire {
	w.Helper()
	return w.tapWith(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch {
			return true
		}
		body, err := io.ReadAll(r.Body)
		body = bytes.ReplaceAll(body, []byte(declared), []byte(respelled))
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		return err == nil
	})
}

// connectThrough declares the hub behind a server of the test's own.
func (w *world) connectThrough(host string, ca []byte) *v1alpha1.HubConnection {
	w.Helper()
	w.createSecret("hub", strings.Replace(w.credential("service"), w.hub.HostName(), host, 1))
	conn := w.connection("hub")
	conn.Spec.CABundle = ca
	w.create(conn)
	return conn
}

// TestBytesOnTheWire: an edit sends the leaves that it changes, on the condition of
// the twin that was read, and nothing else; and what is in step sends nothing.
func TestBytesOnTheWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tapped := w.tap()
	w.awaitReady(w.connectThrough(tapped.host, tapped.ca))
	query := w.query("q", "tags.z = 'kept'")
	w.create(query)
	obj := w.twin("t1", "d1", `{"a":{"b":0,"c":"kept"},"list":[1,{"x":2}],"z":"kept"}`, `{"level":1,"limits":{"high":9,"low":1}}`)
	w.create(obj)
	w.awaitReady(obj)
	for _, step := range []struct{ name, tags, desired, sent string }{
		{"an edit of a tag", `{"a":{"b":1,"c":"kept"},"list":[1,{"x":2}],"z":"kept"}`, `{"level":1,"limits":{"high":9,"low":1}}`,
			`"tags":{"a":{"b":1}}`},
		{"an edit of a desired property", `{"a":{"b":1,"c":"kept"},"list":[1,{"x":2}],"z":"kept"}`, `{"level":1,"limits":{"high":9,"low":2}}`,
			`"properties":{"desired":{"limits":{"low":2}}}`},
		{"an edit in an array", `{"a":{"b":1,"c":"kept"},"list":[1,{"x":3}],"z":"kept"}`, `{"level":1,"limits":{"high":9,"low":2}}`,
			`"tags":{"list":[1,{"x":3}]}`},
		{"a removal", `{"a":{"c":"kept"},"list":[1,{"x":3}],"z":"kept"}`, `{"level":1,"limits":{"high":9,"low":2}}`,
			`"tags":{"a":{"b":null}}`},
		{"an edit and a removal", `{"a":{"c":"kept"},"list":[1,{"x":3}],"z":"kept"}`, `{"limits":{"high":8,"low":2}}`,
			`"properties":{"desired":{"level":null,"limits":{"high":8}}}`},
		{"an addition", `{"a":{"c":"kept","d":true},"list":[1,{"x":3}],"z":"kept"}`, `{"limits":{"high":8,"low":2}}`,
			`"tags":{"a":{"d":true}}`},
	} {
		before, etag := tapped.count(), w.held("d1")["etag"]
		w.edit(obj, func() { obj.Spec.Tags, obj.Spec.Desired = raw(step.tags), raw(step.desired) })
		w.awaitReady(obj)
		w.Expect(tapped.changes(before)).To(Equal([]string{
			fmt.Sprintf(`PATCH /twins/d1 If-Match=["%[1]s"] {"deviceId":"d1","etag":"%[1]s",%[2]s}`, etag, step.sent),
		}), step.name)
	}

	// Steady state, seen from all sides.
	w.Eventually(func() []string {
		w.visitTwin(obj)
		return obj.Status.Memberships
	}, patience).Should(ConsistOf("q"))
	w.awaitDevices(query, "d1")
	w.awaitReadBacks(2)
	before, operations, writes, events := tapped.count(), w.hub.Counters().Operations, w.writes(), w.eventReasons()
	w.awaitReadBacks(5)
	w.Expect(tapped.changes(before)).To(BeEmpty())
	for name, calls := range w.hub.Counters().Operations {
		if name != "getTwin" && name != "query" {
			w.Expect(calls.Calls).To(Equal(operations[name].Calls), name)
		}
	}
	w.Expect(w.writes()).To(Equal(writes), "in the API server's audit log, events included")
	w.Expect(w.eventReasons()).To(Equal(events))
}
