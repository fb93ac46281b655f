package issuer

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/certificate"
)

// Secrets are what an issuer has to keep to be the same after a restart. The
// zero value stands for none.
type Secrets struct {
	Certificates certificate.Keys `json:"certificates"`
	// SigningKey is the RSA key that signs tokens, as PKCS #8 in PEM.
	SigningKey string `json:"signingKey"`
}

// Check reports whether the secrets can be used.
func (s Secrets) Check() error {
	if _, err := parseKey(s.SigningKey); err != nil {
		return err
	}
	return s.Certificates.Check()
}

// keyBits is the size of Entra ID's signing keys.
const keyBits = 2048

const pemPrivateKey = "PRIVATE KEY"

// signer holds the key that an issuer signs with.
type signer struct {
	key    *rsa.PrivateKey
	kept   string // the key in PEM
	id     string
	public json.RawMessage // as a JSON Web Key Set
}

// newSigner returns a signer with the key that was kept, or a fresh one.
func newSigner(kept string) (signer, error) {
	if kept == "" {
		var err error
		if kept, err = newKey(); err != nil {
			return signer{}, fmt.Errorf("making the signing key: %w", err)
		}
	}
	key, err := parseKey(kept)
	if err != nil {
		return signer{}, err
	}
	s := signer{key: key, kept: kept}
	if s.id, s.public, err = describe(key); err != nil {
		return signer{}, fmt.Errorf("describing the signing key: %w", err)
	}
	return s, nil
}

func newKey() (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: der})), err
}

// parseKey never says what it has read.
func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != pemPrivateKey {
		return nil, errors.New("the signing key should be PKCS #8 in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, isRSA := parsed.(*rsa.PrivateKey)
	if err != nil || !isRSA {
		return nil, errors.New("the signing key should be an RSA key")
	}
	return key, nil
}

// describe names a key by its digest, and makes its public half a key set.
func describe(key *rsa.PrivateKey) (id string, set json.RawMessage, err error) {
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return "", nil, err
	}
	digest := sha256.Sum256(der)
	id = base64.RawURLEncoding.EncodeToString(digest[:])
	jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{
		Metadata: jwkset.JWKMetadataOptions{ALG: jwkset.AlgRS256, KID: id, USE: jwkset.UseSig},
	})
	if err != nil {
		return "", nil, err
	}
	storage := jwkset.NewMemoryStorage()
	if err := storage.KeyWrite(context.Background(), jwk); err != nil {
		return "", nil, err
	}
	set, err = storage.JSONPublic(context.Background())
	return id, set, err
}

func (s signer) sign(claims jwt.Claims) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = s.id
	return token.SignedString(s.key)
}
