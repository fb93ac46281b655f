package issuer

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	defaultScope  = "/.default"
	maxForm       = 64 << 10
)

// tokenAnswer is the answer of the token endpoint. Its times are in seconds.
type tokenAnswer struct {
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	ExtExpiresIn int    `json:"ext_expires_in"`
	AccessToken  string `json:"access_token"`
}

// token is OAuth's token endpoint. It knows the grant client_credentials, for
// clients that show an assertion.
func (s *Server) token(r *http.Request) (any, *refusal) {
	r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, badBody()
	}
	for _, name := range []string{"grant_type", "client_id", "scope"} {
		if r.PostForm.Get(name) == "" {
			return nil, missingParameter(name)
		}
	}
	if grant := r.PostForm.Get("grant_type"); grant != "client_credentials" {
		return nil, badGrant(grant)
	}
	application, known := s.applications[strings.ToLower(r.PostForm.Get("client_id"))]
	if !known {
		return nil, noApplication(r.PostForm.Get("client_id"), s.opts.Tenant)
	}
	audience, refused := resource(r.PostForm.Get("scope"))
	if refused != nil {
		return nil, refused
	}
	if refused = s.authenticate(r, application); refused != nil {
		return nil, refused
	}
	text, err := s.Mint(Token{ObjectID: application.ObjectID, ClientID: application.ClientID, Audience: audience})
	if err != nil {
		s.opts.Logger.ErrorContext(r.Context(), "A token cannot be signed", "error", err)
		return nil, failure()
	}
	seconds := int(lifetime.Seconds())
	return tokenAnswer{TokenType: "Bearer", ExpiresIn: seconds, ExtExpiresIn: seconds, AccessToken: text}, nil
}

// openIDScopes say nothing about a resource. Microsoft's libraries ask for
// some of them with every token.
var openIDScopes = [...]string{"openid", "profile", "email", "offline_access"}

// resource returns what a scope is about: the one resource in it.
func resource(scope string) (string, *refusal) {
	scopes := slices.DeleteFunc(strings.Fields(scope), func(s string) bool { return slices.Contains(openIDScopes[:], s) })
	if len(scopes) != 1 {
		return "", badScope(scope)
	}
	name, isDefault := strings.CutSuffix(scopes[0], defaultScope)
	if !isDefault || name == "" {
		return "", badScope(scope)
	}
	return name, nil
}

func (s *Server) authenticate(r *http.Request, application Application) *refusal {
	assertion := r.PostForm.Get("client_assertion")
	switch {
	case assertion == "":
		return noAssertion()
	case r.PostForm.Get("client_assertion_type") != assertionType:
		return badAssertionType()
	}
	return s.accept(r.Context(), assertion, application)
}

// accept finds the federated credential that an assertion claims to be of, and
// checks the assertion against it.
func (s *Server) accept(ctx context.Context, assertion string, application Application) *refusal {
	var claimed jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(assertion, &claimed); err != nil {
		return badAssertion()
	}
	credential, refused := federated(application.Federated, claimed)
	if refused != nil {
		return refused
	}
	return s.verify(ctx, assertion, claimed, credential)
}

// federated is told what an assertion claims, and names the first claim that
// no credential has, as Entra ID does.
func federated(credentials []FederatedCredential, claimed jwt.RegisteredClaims) (FederatedCredential, *refusal) {
	keep := func(matches func(FederatedCredential) bool) bool {
		credentials = slices.DeleteFunc(slices.Clone(credentials), func(c FederatedCredential) bool { return !matches(c) })
		return len(credentials) > 0
	}
	switch {
	case !keep(func(c FederatedCredential) bool { return c.Issuer == "" || c.Issuer == claimed.Issuer }):
		return FederatedCredential{}, noFederation(700211, "issuer", claimed.Issuer)
	case !keep(func(c FederatedCredential) bool { return c.Subject == claimed.Subject }):
		return FederatedCredential{}, noFederation(700213, "subject", claimed.Subject)
	case !keep(func(c FederatedCredential) bool { return slices.Contains(claimed.Audience, c.Audience) }):
		return FederatedCredential{}, noFederation(700212, "audience", strings.Join(claimed.Audience, ","))
	}
	return credentials[0], nil
}

// verify checks an assertion's signature and dates; of a credential without an
// issuer, the dates alone.
func (s *Server) verify(ctx context.Context, assertion string, claimed jwt.RegisteredClaims, credential FederatedCredential) *refusal {
	var err error
	if credential.Issuer == "" {
		err = jwt.NewValidator(jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.opts.Clock.Now)).Validate(claimed)
	} else {
		verifier := entra.NewVerifier(credential.Issuer, s.trusted[credential.Issuer], s.opts.Clock, credential.Audience)
		err = verifier.Verify(ctx, assertion, &jwt.RegisteredClaims{})
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return outdatedAssertion()
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return badSignature()
	}
	return badAssertion()
}
