package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// hubScope is what Entra ID calls the service API of every IoT hub.
const hubScope = "https://iothubs.azure.net/.default"

// DefaultAuthorityHost is where Entra ID is, in the global Azure cloud.
const DefaultAuthorityHost = "https://login.microsoftonline.com/"

// WorkloadIdentity is an application of Microsoft Entra ID that trusts a service account of a cluster.
type WorkloadIdentity struct {
	TenantID, ClientID string
	// Subject is the service account, to name it in errors: system:serviceaccount:namespace:name.
	Subject string
	// Assertion returns a token of that service account for Entra ID. Its errors must not hold a token.
	Assertion func(ctx context.Context) (string, error)
	// AuthorityHost is where to sign in; empty means DefaultAuthorityHost. CABundle holds the PEM certificates to
	// trust there instead of the system's.
	AuthorityHost string
	CABundle      []byte
}

// tokens gets an application's access tokens, and keeps them while they are good.
type tokens struct {
	identity   WorkloadIdentity
	credential *azidentity.ClientAssertionCredential
}

func newTokens(identity WorkloadIdentity) (*tokens, error) {
	if identity.AuthorityHost == "" {
		identity.AuthorityHost = DefaultAuthorityHost
	}
	transport, err := newTransport(identity.AuthorityHost, identity.CABundle)
	if err != nil {
		return nil, err
	}
	t := &tokens{identity: identity}
	t.credential, err = azidentity.NewClientAssertionCredential(identity.TenantID, identity.ClientID, t.assertion,
		&azidentity.ClientAssertionCredentialOptions{
			ClientOptions: azcore.ClientOptions{
				Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: identity.AuthorityHost},
				Transport: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
				Retry:     policy.RetryOptions{MaxRetries: -1}, // whoever uses the session tries again
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

// token returns an access token. Its errors hold none.
func (t *tokens) token(ctx context.Context) (string, error) {
	failure := &assertionFailure{}
	token, err := t.credential.GetToken(context.WithValue(ctx, assertionFailureKey{}, failure),
		policy.TokenRequestOptions{Scopes: []string{hubScope}})
	switch {
	case err == nil:
		return token.Token, nil
	case failure.err != nil:
		return "", &Error{Reason: ReasonUnauthorized, detail: fmt.Sprintf("no token of %s: %v", t.identity.Subject, failure.err), err: failure.err}
	}
	if _, refused := errors.AsType[*azidentity.AuthenticationFailedError](err); refused && entraCode.MatchString(err.Error()) {
		return "", &Error{Reason: ReasonUnauthorized, detail: fmt.Sprintf(
			"Entra ID refused application %s with %s; check clientId, tenantId and its federated credential for %s",
			t.identity.ClientID, entraCode.FindString(err.Error()), t.identity.Subject)}
	}
	return "", &Error{Reason: ReasonUnreachable, detail: "Entra ID gave no answer at " + t.identity.AuthorityHost, err: ctx.Err()}
}

// entraCode is how Entra ID numbers its refusals.
var entraCode = regexp.MustCompile(`AADSTS\d+`)

// bearer puts an access token in place of the library's own signature.
func bearer(t *tokens) middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		if t == nil {
			return next
		}
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			token, err := t.token(req.Context())
			if err != nil {
				return nil, err
			}
			req = req.Clone(req.Context())
			req.Header.Set("Authorization", "Bearer "+token)
			ex := exchangeOf(req)
			ex.secrets = append(ex.secrets, token)
			return next.RoundTrip(req)
		})
	}
}
