package hubemulator_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
)

// someIssuer signs tokens as an issuer elsewhere does. It shares nothing with
// the emulator's own, the library that encodes tokens aside.
type someIssuer struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

const someURL = "https://sts.example/tenant-1/"

func newIssuer() someIssuer {
	return someIssuer{rsa: must(rsa.GenerateKey(rand.Reader, 2048)), ec: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
}

// jwks is the issuer's key set, with its kids.
func (i someIssuer) jwks() string {
	encode := base64.RawURLEncoding.EncodeToString
	point := must(i.ec.PublicKey.Bytes())
	return fmt.Sprintf(`{"keys":[{"kty":"RSA","use":"sig","kid":"rsa","n":"%s","e":"%s"},{"kty":"EC","use":"sig","kid":"ec","crv":"P-256","x":"%s","y":"%s"}]}`,
		encode(i.rsa.N.Bytes()), encode(big.NewInt(int64(i.rsa.E)).Bytes()), encode(point[1:33]), encode(point[33:]))
}

func (i someIssuer) sign(method jwt.SigningMethod, kid string, key crypto.PrivateKey, claims jwt.MapClaims) string {
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	return must(token.SignedString(key))
}

// good are the claims of a token that is accepted, changed by some others.
func good(changes jwt.MapClaims) jwt.MapClaims {
	claims := jwt.MapClaims{
		"iss": someURL, "aud": "https://iothubs.azure.net", "oid": "p1",
		"nbf": startOfTime.Unix(), "exp": startOfTime.Add(time.Hour).Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

func trusting(jwks string) hubemulator.Options {
	return hubemulator.Options{
		Devices: []string{"d1"}, EntraIssuer: someURL, EntraJWKS: jwks,
		EntraRoles: map[string][]string{"p1": {"IoT Hub Twin Contributor"}},
	}
}

func TestEntraTokens(t *testing.T) {
	t.Parallel()
	i, stranger := newIssuer(), newIssuer()
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, []byte(i.jwks()), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startHubWith(t, trusting(file))
	rs256 := func(changes jwt.MapClaims) string { return i.sign(jwt.SigningMethodRS256, "rsa", i.rsa, good(changes)) }
	in := func(d time.Duration) int64 { return startOfTime.Add(d).Unix() }
	sealed := rs256(nil)
	for _, tt := range []struct {
		name, header string
		accepted     bool
	}{
		{"RS256", "Bearer " + sealed, true},
		{"PS256", "Bearer " + i.sign(jwt.SigningMethodPS256, "rsa", i.rsa, good(nil)), true},
		{"ES256", "Bearer " + i.sign(jwt.SigningMethodES256, "ec", i.ec, good(nil)), true},
		{"without a key id", "Bearer " + i.sign(jwt.SigningMethodES256, "", i.ec, good(nil)), true},
		{"scheme in another case", "bearer  " + sealed, true},
		{"audience with a slash", "Bearer " + rs256(jwt.MapClaims{"aud": "https://iothubs.azure.net/"}), true},
		{"one of its audiences", "Bearer " + rs256(jwt.MapClaims{"aud": []string{"https://other.example", "https://iothubs.azure.net"}}), true},
		{"a second before it expires", "Bearer " + rs256(jwt.MapClaims{"exp": in(time.Second)}), true},
		{"without nbf", "Bearer " + rs256(jwt.MapClaims{"nbf": nil}), true},

		{"expired", "Bearer " + rs256(jwt.MapClaims{"exp": in(-time.Second)}), false},
		{"expired just now", "Bearer " + rs256(jwt.MapClaims{"exp": in(0)}), false},
		{"never expiring", "Bearer " + rs256(jwt.MapClaims{"exp": nil}), false},
		{"not yet valid", "Bearer " + rs256(jwt.MapClaims{"nbf": in(time.Second)}), false},
		{"for another resource", "Bearer " + rs256(jwt.MapClaims{"aud": "https://management.azure.com"}), false},
		{"for a longer name", "Bearer " + rs256(jwt.MapClaims{"aud": "https://iothubs.azure.net.example"}), false},
		{"for nothing", "Bearer " + rs256(jwt.MapClaims{"aud": nil}), false},
		{"of another issuer", "Bearer " + rs256(jwt.MapClaims{"iss": "https://sts.example/tenant-2/"}), false},
		{"of an issuer without the slash", "Bearer " + rs256(jwt.MapClaims{"iss": strings.TrimSuffix(someURL, "/")}), false},
		{"of no one", "Bearer " + rs256(jwt.MapClaims{"iss": nil}), false},
		{"with another key of that id", "Bearer " + stranger.sign(jwt.SigningMethodRS256, "rsa", stranger.rsa, good(nil)), false},
		{"with an unknown key", "Bearer " + stranger.sign(jwt.SigningMethodRS256, "other", stranger.rsa, good(nil)), false},
		{"with an unknown key without an id", "Bearer " + stranger.sign(jwt.SigningMethodRS256, "", stranger.rsa, good(nil)), false},
		{"with the other key's id", "Bearer " + i.sign(jwt.SigningMethodES256, "rsa", i.ec, good(nil)), false},
		{"not signed", "Bearer " + i.sign(jwt.SigningMethodNone, "rsa", jwt.UnsafeAllowNoneSignatureType, good(nil)), false},
		{"not signed, without a key id", "Bearer " + i.sign(jwt.SigningMethodNone, "", jwt.UnsafeAllowNoneSignatureType, good(nil)), false},
		{"public key as a shared one", "Bearer " + i.sign(jwt.SigningMethodHS256, "rsa", []byte(publicPEM(&i.rsa.PublicKey)), good(nil)), false},
		{"changed afterwards", "Bearer " + withClaims(sealed, rs256(jwt.MapClaims{"oid": "p2", "appid": "p1"})), false},
		{"signature cut off", "Bearer " + sealed[:strings.LastIndex(sealed, ".")+1], false},
		{"two parts", "Bearer " + sealed[:strings.LastIndex(sealed, ".")], false},
		{"no token", "Bearer", false},
		{"no scheme", sealed, false},
		{"another scheme", "Basic " + sealed, false},
		{"without a role", "Bearer " + rs256(jwt.MapClaims{"oid": "p2"}), false},
		{"an id that is no text", "Bearer " + rs256(jwt.MapClaims{"oid": 1}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := *h.client
			c.token = tt.header
			answer := c.call(t, http.MethodGet, "/twins/d1", "")
			if tt.accepted {
				NewWithT(t).Expect(answer.status).To(Equal(http.StatusOK), answer.text)
				return
			}
			expectUnauthorized(t, answer)
		})
	}
}

func TestRefusedTokensAreLoggedWithoutThem(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	i := newIssuer()
	file := filepath.Join(t.TempDir(), "jwks.json")
	g.Expect(os.WriteFile(file, []byte(i.jwks()), 0o600)).To(Succeed())
	var log bytes.Buffer
	opts := trusting(file)
	opts.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h := startHubWith(t, opts)
	expired := i.sign(jwt.SigningMethodRS256, "rsa", i.rsa, good(jwt.MapClaims{"exp": startOfTime.Unix()}))
	stranger := i.sign(jwt.SigningMethodRS256, "rsa", i.rsa, good(jwt.MapClaims{"oid": "p2"}))
	for _, token := range []string{expired, stranger, "nonsense", expired[:len(expired)-10] + "!", "." + expired} {
		c := *h.client
		c.token = "Bearer " + token
		expectUnauthorized(t, c.call(t, http.MethodGet, "/twins/d1", ""))
	}
	g.Expect(h.server.Close()).To(Succeed())
	text := log.String()
	g.Expect(text).To(And(ContainSubstring("token is expired"), ContainSubstring("no role grants"), ContainSubstring("oid=p2")))
	for _, part := range append(strings.Split(expired, "."), strings.Split(stranger, ".")...) {
		g.Expect(text).NotTo(ContainSubstring(part[:20]))
	}
	g.Expect(text).NotTo(ContainSubstring("nonsense"))
}

func publicPEM(key *rsa.PublicKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key))}))
}

// withClaims puts the claims of one token between the other's header and
// signature.
func withClaims(token, other string) string {
	parts := strings.Split(token, ".")
	parts[1] = strings.Split(other, ".")[1]
	return strings.Join(parts, ".")
}

// keyServer offers a key set over TLS and counts how often it is fetched.
type keyServer struct {
	*httptest.Server
	fetched atomic.Int32
	keys    atomic.Value // string
}

func newKeyServer(t *testing.T, keys string) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.keys.Store(keys)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.fetched.Add(1)
		_, _ = w.Write([]byte(s.keys.Load().(string)))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) caPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestEntraKeysAreFetchedOnce(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	i, next := newIssuer(), newIssuer()
	server := newKeyServer(t, i.jwks())
	opts := trusting(server.URL)
	opts.EntraCAs = server.caPEM()
	h := startHubWith(t, opts)
	get := func(token string) int {
		c := *h.client
		c.token = "Bearer " + token
		return c.call(t, http.MethodGet, "/twins/d1", "").status
	}
	g.Expect(server.fetched.Load()).To(Equal(int32(1)), "at start")
	for range 5 {
		g.Expect(get(i.sign(jwt.SigningMethodRS256, "rsa", i.rsa, good(nil)))).To(Equal(http.StatusOK))
		g.Expect(get(next.sign(jwt.SigningMethodRS256, "rsa", next.rsa, good(nil)))).To(Equal(http.StatusUnauthorized))
	}
	g.Expect(server.fetched.Load()).To(Equal(int32(1)), "for no call")

	server.keys.Store(strings.ReplaceAll(next.jwks(), `"rsa"`, `"rsa-2"`))
	g.Expect(get(next.sign(jwt.SigningMethodRS256, "rsa-2", next.rsa, good(nil)))).To(Equal(http.StatusOK), "a new key")
	for _, kid := range []string{"rsa", "rsa-3", "rsa-4"} {
		g.Expect(get(i.sign(jwt.SigningMethodRS256, kid, i.rsa, good(nil)))).To(Equal(http.StatusUnauthorized), "no key any more, or never one")
	}
	g.Expect(server.fetched.Load()).To(Equal(int32(2)), "not for every unknown key")
}

func TestRefusedEntraOptions(t *testing.T) {
	t.Parallel()
	server := newKeyServer(t, newIssuer().jwks())
	empty := newKeyServer(t, `{"keys":[]}`)
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		opts hubemulator.Options
		says string
	}{
		"issuer without keys":     {hubemulator.Options{EntraIssuer: someURL}, "should be given together"},
		"keys without issuer":     {hubemulator.Options{EntraJWKS: server.URL}, "should be given together"},
		"two issuers":             {hubemulator.Options{EntraIssuer: someURL, EntraJWKS: server.URL, Issuer: &issuer.Options{}}, "tokens of one issuer"},
		"roles without an issuer": {hubemulator.Options{EntraRoles: map[string][]string{"p1": {"Owner"}}}, "should come with an issuer"},
		"an unknown role": {hubemulator.Options{Issuer: &issuer.Options{}, EntraRoles: map[string][]string{"p1": {"Twin Reader"}}},
			`the role of principal "p1": "Twin Reader" should be a built-in role (IoT Hub Data Contributor, `},
		"keys over http":    {hubemulator.Options{EntraIssuer: someURL, EntraJWKS: "http://sts.example/keys"}, "should be at an https URL or in a file"},
		"no such file":      {hubemulator.Options{EntraIssuer: someURL, EntraJWKS: filepath.Join(dir, "none")}, "the Entra issuer " + someURL + ": the key set cannot be read"},
		"not a key set":     {hubemulator.Options{EntraIssuer: someURL, EntraJWKS: broken}, "should be a JSON Web Key Set"},
		"an untrusted host": {hubemulator.Options{EntraIssuer: someURL, EntraJWKS: server.URL}, "the key set at " + server.URL + " cannot be fetched"},
		"no key at a URL":   {hubemulator.Options{EntraIssuer: someURL, EntraJWKS: empty.URL, EntraCAs: empty.caPEM()}, "holds no key"},
		"no authority":      {hubemulator.Options{EntraIssuer: someURL, EntraJWKS: server.URL, EntraCAs: []byte("x")}, "the Entra CAs hold no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := hubemulator.Start(t.Context(), tt.opts)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tt.says)))
		})
	}
}
