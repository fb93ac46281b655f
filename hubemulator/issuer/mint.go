package issuer

import (
	"cmp"
	"maps"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
)

// HubAudience is the resource that IoT Hub's service API is to Entra ID: the
// audience of its tokens.
const HubAudience = entra.Audience

// lifetime is how long tokens are good. Entra ID's are for an hour at least.
const lifetime = time.Hour

// Token says what an access token is to state. All of it is optional.
type Token struct {
	// ObjectID is the principal's object id: the claims oid and sub.
	ObjectID string
	// ClientID is the application's: the claim appid.
	ClientID string
	// Audience is the resource that the token is for. Default HubAudience.
	Audience string
	// NotBefore and ExpiresAt bound the token's validity. Default: from now on,
	// and for an hour.
	NotBefore, ExpiresAt time.Time
	// Claims are further ones; they replace those above. A nil value leaves a
	// claim out.
	Claims map[string]any
}

// Mint returns a signed access token.
func (s *Server) Mint(token Token) (string, error) {
	claims := s.claims(token)
	maps.Copy(claims, token.Claims)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return s.signer.sign(claims)
}

// claims has the form of Entra ID's tokens of version 1, which are those of
// resources like IoT Hub.
func (s *Server) claims(token Token) jwt.MapClaims {
	now := s.opts.Clock.Now()
	from, until := token.NotBefore, token.ExpiresAt
	if from.IsZero() {
		from = now
	}
	if until.IsZero() {
		until = now.Add(lifetime)
	}
	claims := jwt.MapClaims{
		"aud": cmp.Or(token.Audience, HubAudience),
		"iss": s.URL(),
		"iat": now.Unix(),
		"nbf": from.Unix(),
		"exp": until.Unix(),
		"tid": s.opts.Tenant,
		"uti": uuid.NewString(),
		"ver": "1.0",
	}
	if token.ObjectID != "" {
		claims["oid"], claims["sub"] = token.ObjectID, token.ObjectID
	}
	if token.ClientID != "" {
		claims["appid"], claims["idtyp"] = token.ClientID, "app"
	}
	return claims
}
