package hub

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"
)

// signingIn is an application that signs in at a server of the test's own, which says where its endpoints are and leaves
// the rest to the handler.
func signingIn(t *testing.T, handler http.HandlerFunc) WorkloadIdentity {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"authorization_endpoint":"https://%[1]s/a","token_endpoint":"https://%[1]s/t","issuer":"https://%[1]s/"}`, r.Host)
			return
		}
		handler(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return WorkloadIdentity{
		TenantID: "7f1a3c52-6d0e-4b8f-9a21-5c3e8d4b6f70", ClientID: "c0000000-0000-4000-8000-000000000001",
		Subject: "system:serviceaccount:ns:twins", AuthorityHost: server.URL + "/",
		CABundle:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		Assertion: func(context.Context) (string, error) { return "assertion", nil },
	}
}

// signInFailure is how Entra ID answers a sign-in that it does not take.
func signInFailure(status int, kind string, number int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":%q,"error_description":"AADSTS%[2]d: what happened. Trace ID: 1","error_codes":[%[2]d]}`, kind, number)
	}
}

// TestASignInIsRefusedOnlyByARefusal: what may pass takes no credential away.
func TestASignInIsRefusedOnlyByARefusal(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		reason Reason
		says   string
	}{
		"no such application":            {signInFailure(400, "unauthorized_client", 700016), ReasonUnauthorized, "AADSTS700016"},
		"no such federation":             {signInFailure(401, "invalid_client", 700213), ReasonUnauthorized, "federated credential"},
		"an application that is off":     {signInFailure(401, "unauthorized_client", 7000112), ReasonUnauthorized, "AADSTS7000112"},
		"an assertion that is not taken": {signInFailure(401, "invalid_client", 700024), ReasonUnauthorized, "AADSTS700024"},
		"no such tenant":                 {signInFailure(400, "invalid_request", 90002), ReasonUnauthorized, "AADSTS90002"},
		"not allowed":                    {signInFailure(403, "access_denied", 53003), ReasonUnauthorized, "AADSTS53003"},
		"a passing error":                {signInFailure(400, "temporarily_unavailable", 90033), ReasonUnreachable, "status 400 AADSTS90033"},
		"a passing error by its number":  {signInFailure(400, "invalid_request", 90033), ReasonUnreachable, "AADSTS90033"},
		"out of its own time":            {signInFailure(401, "invalid_client", 90012), ReasonUnreachable, "AADSTS90012"},
		"a tenant that is throttled":     {signInFailure(400, "invalid_request", 90055), ReasonUnreachable, "AADSTS90055"},
		"throttled":                      {signInFailure(429, "invalid_request", 50196), ReasonUnreachable, "status 429"},
		"its time ran out":               {signInFailure(408, "invalid_request", 90012), ReasonUnreachable, "status 408"},
		"a kind that is not known":       {signInFailure(400, "something_new", 123), ReasonUnreachable, "AADSTS123"},
		"a failing server":               {signInFailure(500, "server_error", 90033), ReasonUnreachable, "status 500"},
		"an unavailable server":          {page(503, "<html>"), ReasonUnreachable, "status 503"},
		"a refusal without a number":     {page(400, `{"error":"invalid_client"}`), ReasonUnreachable, "status 400"},
		"a page of a proxy":              {page(403, "<html>"), ReasonUnreachable, "status 403"},
		"no token in the answer":         {page(200, `{}`), ReasonUnreachable, "Entra ID"},
		"a page with 200":                {page(200, "<html>"), ReasonUnreachable, "Entra ID"},
		"a broken connection":            {reset, ReasonUnreachable, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			identity := signingIn(t, test.answer)
			s := mustOpen(t, Config{HostName: "hub.azure-devices.net", AllowedHostSuffixes: DefaultAllowedHostSuffixes(), WorkloadIdentity: &identity})
			err := s.Probe(t.Context())
			own := asError(t, err)
			g.Expect(own.Reason).To(Equal(test.reason), "%v", err)
			g.Expect(own.Error()).To(And(ContainSubstring(test.says), Not(ContainSubstring("assertion")), Not(ContainSubstring("Trace"))))
			g.Expect(s.Probe(t.Context()).Error()).To(Equal(err.Error()), "the same mishap reads the same each time")
		})
	}
}

// TestASignInWithoutAnAssertion fails for good only when a person has to see to it.
func TestASignInWithoutAnAssertion(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for err, want := range map[error]Reason{
		&AssertionRefusedError{Why: "the manager may not ask for one"}: ReasonUnauthorized,
		errors.New("the API server gave none: timeout"):                ReasonUnreachable,
	} {
		identity := signingIn(t, page(500, ""))
		identity.Assertion = func(context.Context) (string, error) { return "", err }
		s := mustOpen(t, Config{HostName: "hub.azure-devices.net", AllowedHostSuffixes: DefaultAllowedHostSuffixes(), WorkloadIdentity: &identity})
		own := asError(t, s.Probe(t.Context()))
		g.Expect(own.Reason).To(Equal(want))
		g.Expect(own.Error()).To(And(ContainSubstring("system:serviceaccount:ns:twins"), ContainSubstring(err.Error())))
	}
}

// TestASignInThatHangsEnds for each who waits, in their own time, though only one of them asks.
func TestASignInThatHangsEnds(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const bound = 10 * time.Second // well below the 30 after which the library ends a request by itself
	asked := make(chan struct{}, 10)
	signIn, err := newTokens(signingIn(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the end of the connection
		<-r.Context().Done()
	}), clock.RealClock{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(signIn.timeout).To(BeNumerically("<=", callTimeout))
	ended := make(chan error, 2)
	call := func(ctx context.Context) {
		_, err := signIn.token(ctx)
		ended <- err
	}
	first, cancel := context.WithCancel(t.Context())
	go call(first)
	g.Eventually(asked).Should(Receive())
	second, end := context.WithTimeout(t.Context(), time.Millisecond)
	defer end()
	unreachable := Receive(WithTransform(ReasonOf, Equal(ReasonUnreachable)))
	go call(second)
	g.Eventually(ended, bound).Should(unreachable, "it waits for the first no longer than it may")
	cancel()
	g.Eventually(ended, bound).Should(unreachable)

	signIn.timeout = 50 * time.Millisecond
	go call(context.Background()) // as a reconciler does
	g.Eventually(ended, bound).Should(unreachable)
}
