package hub

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testKey is long and odd enough to be found in any text it leaks into.
var testKey = base64.StdEncoding.EncodeToString([]byte("a-key-that-no-log-may-see-?>~\xff\xfe"))

func connectionTo(host string) string {
	return "HostName=" + host + ";SharedAccessKeyName=service;SharedAccessKey=" + testKey
}

// hostOf returns the host of a service connection string.
func hostOf(connectionString string) (string, error) {
	cs, err := parseConnectionString(connectionString)
	return cs.host, err
}

// pretend serves handler over TLS as if it were a hub, and returns the configuration of a session with it.
func pretend(t *testing.T, handler http.HandlerFunc) Config {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	return Config{
		ConnectionString:    connectionTo(strings.TrimPrefix(server.URL, "https://")),
		CABundle:            pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		AllowedHostSuffixes: []string{"127.0.0.1"},
	}
}

// quiet keeps what a server says about broken handshakes out of the test's output.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func mustOpen(t *testing.T, cfg Config) *session {
	t.Helper()
	s, err := alone(cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(s.closeIdle)
	return s
}

// emulate starts an emulated hub and returns it with the configuration of a session with it.
func emulate(t *testing.T, options hubemulator.Options) (*hubemulator.Server, Config) {
	t.Helper()
	server, err := hubemulator.Start(t.Context(), options)
	if err != nil {
		t.Fatalf("start the emulator: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("close the emulator: %v", err)
		}
	})
	connection, err := server.ServiceConnectionString("service")
	if err != nil {
		t.Fatalf("connection string: %v", err)
	}
	return server, Config{
		ConnectionString: connection, CABundle: server.CACertificatePEM(), AllowedHostSuffixes: []string{"localhost"},
	}
}

// refusal answers as IoT Hub refuses a request.
func refusal(status int, code, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set(errorCodeHeader, code)
		w.Header().Set("x-ms-request-id", "6c3b8f0e-1111-2222-3333-444455556666")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"Message":"ErrorCode:%s;%s","ExceptionMessage":"Tracking ID:abc-G:1-TimeStamp:01/02/2026 03:04:05"}`, code, text)
	}
}

// page answers with a body of its own, as things in front of a hub do.
func page(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

const twinD1 = `{"deviceId":"d1","etag":"AAAAAAAAAAE=","version":2,"properties":{"desired":{"$version":1},"reported":{"$version":1}}}`

// asError returns err as this package's, and checks that neither it nor what it wraps holds a credential.
func asError(t *testing.T, err error) *Error {
	t.Helper()
	g := NewWithT(t)
	g.Expect(err).To(HaveOccurred())
	var own *Error
	g.Expect(errors.As(err, &own)).To(BeTrue(), "not an *Error: %T %v", err, err)
	for e := error(own); e != nil; e = errors.Unwrap(e) {
		for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e)} {
			g.Expect(text).NotTo(ContainSubstring(testKey))
			g.Expect(text).NotTo(ContainSubstring(strings.TrimRight(testKey, "=")))
			g.Expect(strings.ToLower(text)).NotTo(ContainSubstring("sharedaccesssignature"))
			g.Expect(text).NotTo(ContainSubstring("sig="))
		}
	}
	g.Expect(own.Code + own.RequestID).NotTo(ContainSubstring("SharedAccess"))
	return own
}

// allIDs are the ids that a whole answer lists.
func allIDs(ctx context.Context, s Index, from Source, where string) ([]ID, error) {
	ids, _, err := IDs(ctx, s, Selection{From: from, Where: where}, 0)
	return ids, err
}
