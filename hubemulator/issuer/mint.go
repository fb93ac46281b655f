package issuer

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
)

// HubAudience is the resource that IoT Hub's service API is to Entra ID: the
// audience of its tokens.
const HubAudience = entra.Audience

// lifetime is how long tokens are good. Entra ID's are for an hour at least.
const lifetime = time.Hour

// keyBits is the size of Entra ID's signing keys.
const keyBits = 2048

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

// signer holds the issuer's key.
type signer struct {
	key    *rsa.PrivateKey
	id     string
	public json.RawMessage // as a JSON Web Key Set
}

func newSigner() (signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return signer{}, fmt.Errorf("making the signing key: %w", err)
	}
	id := uuid.NewString()
	jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{
		Metadata: jwkset.JWKMetadataOptions{ALG: jwkset.AlgRS256, KID: id, USE: jwkset.UseSig},
	})
	if err != nil {
		return signer{}, fmt.Errorf("describing the signing key: %w", err)
	}
	set := jwkset.NewMemoryStorage()
	if err := set.KeyWrite(context.Background(), jwk); err != nil {
		return signer{}, fmt.Errorf("describing the signing key: %w", err)
	}
	public, err := set.JSONPublic(context.Background())
	if err != nil {
		return signer{}, fmt.Errorf("describing the signing key: %w", err)
	}
	return signer{key: key, id: id, public: public}, nil
}

func (s signer) sign(claims jwt.Claims) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = s.id
	return token.SignedString(s.key)
}
