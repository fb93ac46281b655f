package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"k8s.io/utils/clock"
)

// DefaultAuthorityHost is where Entra ID is, in the global Azure cloud.
const DefaultAuthorityHost = "https://login.microsoftonline.com/"

// entraCloud is what Microsoft Entra ID calls things in one of Azure's clouds.
type entraCloud struct {
	// scope is the service API of every IoT hub, and audience what service account tokens are to be for.
	scope, audience string
}

// entraClouds are the sovereign clouds by where to sign in. The scopes are those of Microsoft's SDKs, which differ about
// the one for US Government (azure-iot-sdk-csharp#2033).
func entraClouds() map[string]entraCloud {
	china := entraCloud{scope: globalCloud().scope, audience: "api://AzureADTokenExchangeChina"}
	return map[string]entraCloud{
		"login.microsoftonline.us":         {scope: "https://iothubs.azure.us/.default", audience: "api://AzureADTokenExchangeUSGov"},
		"login.chinacloudapi.cn":           china,
		"login.partner.microsoftonline.cn": china,
	}
}

func globalCloud() entraCloud {
	return entraCloud{scope: "https://iothubs.azure.net/.default", audience: "api://AzureADTokenExchange"}
}

func cloudOf(authorityHost string) entraCloud {
	if at, err := url.Parse(authorityHost); err == nil {
		if found, known := entraClouds()[strings.ToLower(at.Hostname())]; known {
			return found
		}
	}
	return globalCloud()
}

// ExchangeAudience is what a service account's token has to be for, in the cloud of an authority host.
func ExchangeAudience(authorityHost string) string { return cloudOf(authorityHost).audience }

// WorkloadIdentity is an application of Microsoft Entra ID that trusts a service account of a cluster.
type WorkloadIdentity struct {
	TenantID, ClientID string
	// Subject is the service account, to name it in errors: system:serviceaccount:namespace:name.
	Subject string
	// Assertion returns a token of that service account for Entra ID. Its errors must not hold a token. One that is an
	// AssertionRefusedError stays until a person changes something, any other may pass.
	Assertion func(ctx context.Context) (string, error)
	// AuthorityHost is where to sign in; empty means DefaultAuthorityHost. CABundle holds the PEM certificates to
	// trust there instead of the system's.
	AuthorityHost string
	CABundle      []byte
	// Scope is what Entra ID calls the service API of IoT hubs; empty means that of the authority host's cloud.
	Scope string
}

// AssertionRefusedError says that a service account's token is not to be had.
type AssertionRefusedError struct {
	// Why says what is missing, and what to do about it.
	Why string
}

func (e *AssertionRefusedError) Error() string { return e.Why }

// tokens gets an application's access tokens, and keeps them while they are good.
type tokens struct {
	identity   WorkloadIdentity
	credential *azidentity.ClientAssertionCredential
	clock      clock.PassiveClock
	timeout    time.Duration
	// signingIn is held by who signs in: the library would have everyone else wait for it without an end.
	signingIn chan struct{}
}

func newTokens(identity WorkloadIdentity, c clock.PassiveClock) (*tokens, error) {
	if identity.AuthorityHost == "" {
		identity.AuthorityHost = DefaultAuthorityHost
	}
	identity.Scope = cmp.Or(identity.Scope, cloudOf(identity.AuthorityHost).scope)
	transport, err := newTransport(identity.AuthorityHost, identity.CABundle, nil)
	if err != nil {
		return nil, err
	}
	t := &tokens{identity: identity, clock: c, timeout: signInTimeout, signingIn: make(chan struct{}, 1)}
	t.credential, err = azidentity.NewClientAssertionCredential(identity.TenantID, identity.ClientID, t.assertion,
		&azidentity.ClientAssertionCredentialOptions{
			ClientOptions: azcore.ClientOptions{
				Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: identity.AuthorityHost},
				Transport: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
				Retry:     policy.RetryOptions{MaxRetries: -1}, // the user of the session tries again
			},
			// The authority is ours to name; asking Microsoft about it would send the tenant elsewhere.
			DisableInstanceDiscovery: true,
		})
	if err != nil {
		return nil, &Error{Reason: ReasonUnauthorized, detail: "tenantId, clientId and authority host are not usable together"}
	}
	return t, nil
}

// assertionFailure carries the error of an assertion past the library, which words it anew.
type assertionFailure struct{ err error }

type assertionFailureKey struct{}

func (t *tokens) assertion(ctx context.Context) (string, error) {
	assertion, err := t.identity.Assertion(ctx)
	if failure, ok := ctx.Value(assertionFailureKey{}).(*assertionFailure); ok {
		failure.err = err
	}
	return assertion, err
}

// signInTimeout bounds a sign-in, waiting for others of the same application included: Entra ID answers in a second or
// not at all, and the caller holds a worker.
const signInTimeout = 30 * time.Second

// token returns an access token. Its errors hold none. One caller at a time signs in; those who wait for it are bound by
// their own time.
func (t *tokens) token(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	select {
	case t.signingIn <- struct{}{}:
		defer func() { <-t.signingIn }()
	case <-ctx.Done():
		return "", t.unanswered(ctx)
	}
	failure := &assertionFailure{}
	token, err := t.credential.GetToken(context.WithValue(ctx, assertionFailureKey{}, failure),
		policy.TokenRequestOptions{Scopes: []string{t.identity.Scope}})
	switch {
	case err == nil:
		return token.Token, nil
	case failure.err != nil:
		return "", t.unasserted(failure.err)
	}
	if failed, answered := errors.AsType[*azidentity.AuthenticationFailedError](err); answered && failed.RawResponse != nil {
		return "", t.refused(failed.RawResponse)
	}
	return "", t.unanswered(ctx)
}

func (t *tokens) unanswered(ctx context.Context) *Error {
	return &Error{Reason: ReasonUnreachable, detail: "Entra ID gave no answer at " + t.identity.AuthorityHost, err: ctx.Err()}
}

// unasserted is the error of a sign-in for which there is no token of the service account.
func (t *tokens) unasserted(err error) *Error {
	e := &Error{Reason: ReasonUnreachable, detail: fmt.Sprintf("no token of %s: %v", t.identity.Subject, err), err: err}
	if _, ok := errors.AsType[*AssertionRefusedError](err); ok {
		e.Reason = ReasonUnauthorized
	}
	return e
}

// refused is the error of a sign-in that Entra ID answered with something else than a token.
func (t *tokens) refused(answer *http.Response) *Error {
	said := readSignInError(answer)
	if said.final(answer.StatusCode) {
		return &Error{Reason: ReasonUnauthorized, detail: fmt.Sprintf(
			"Entra ID refused application %s with %s; check clientId, tenantId and its federated credential for %s",
			t.identity.ClientID, said.number(), t.identity.Subject)}
	}
	return &Error{
		Reason: ReasonUnreachable, RetryAfter: parseRetryAfter(answer.Header.Get("Retry-After"), t.clock.Now()),
		detail: strings.TrimRight(fmt.Sprintf("Entra ID could not sign in at %s, with status %d %s", t.identity.AuthorityHost, answer.StatusCode, said.number()), " "),
	}
}

// signInError is what Entra ID says about a sign-in that failed, in the form of OAuth 2.0.
type signInError struct {
	Kind  string `json:"error"`
	Codes []int  `json:"error_codes"`
}

func readSignInError(answer *http.Response) (said signInError) {
	body, err := runtime.Payload(answer)
	if err != nil || json.Unmarshal(body, &said) != nil {
		return signInError{}
	}
	return said
}

// number is how Entra ID numbers an error; "" when it did not.
func (e signInError) number() string {
	if len(e.Codes) == 0 {
		return ""
	}
	return fmt.Sprintf("AADSTS%d", e.Codes[0])
}

// final tells whether signing in again cannot help before a person changes something. Entra ID asks to decide by the kinds
// of OAuth 2.0, since its numbers may change; they only speak against a kind here. What is not known passes.
func (e signInError) final(status int) bool {
	if status != http.StatusBadRequest && status != http.StatusUnauthorized && status != http.StatusForbidden || len(e.Codes) == 0 {
		return false
	}
	switch e.Codes[0] {
	case 90006, 90012, 90024, 90033, 90055: // documented as passing: a service of Entra ID's own, its time or its load
		return false
	}
	switch e.Kind {
	case "invalid_client", "unauthorized_client", "invalid_grant", "access_denied", "invalid_request", "invalid_scope",
		"invalid_resource", "unsupported_grant_type":
		return true
	}
	return false
}

// bearer puts an access token in place of the library's own signature.
func bearer(t *tokens, c clock.PassiveClock) middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		if t == nil {
			return next
		}
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			token, err := t.token(req.Context())
			if own, ok := errors.AsType[*Error](err); ok {
				own.ofSession = true
			}
			if err != nil {
				return nil, err
			}
			req = req.Clone(req.Context())
			req.Header.Set("Authorization", "Bearer "+token)
			ex := exchangeOf(req)
			ex.signedIn = c.Now()
			ex.secrets = append(ex.secrets, token)
			return next.RoundTrip(req)
		})
	}
}
