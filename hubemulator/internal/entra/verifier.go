package entra

import (
	"context"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"k8s.io/utils/clock"
)

// algorithms are the ways to sign that a token may name: those with a public
// key. Neither "none" nor a shared key is among them.
var algorithms = [...]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}

// Verifier checks JSON Web Tokens of one issuer.
type Verifier struct {
	parser *jwt.Parser
	keys   keyfunc.Keyfunc
}

// NewVerifier returns a Verifier of tokens that the issuer signed with one of
// the keys for any of the audiences. They have to be valid by the clock, to
// the second.
func NewVerifier(issuer string, keys keyfunc.Keyfunc, clock clock.PassiveClock, audiences ...string) Verifier {
	return Verifier{keys: keys, parser: jwt.NewParser(
		jwt.WithValidMethods(algorithms[:]),
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audiences...),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(clock.Now),
	)}
}

// Verify checks a token and decodes its claims. Its errors are those of
// package jwt.
func (v Verifier) Verify(ctx context.Context, token string, claims jwt.Claims) error {
	_, err := v.parser.ParseWithClaims(token, claims, v.keys.KeyfuncCtx(ctx))
	return err
}
