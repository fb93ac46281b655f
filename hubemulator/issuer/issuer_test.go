package issuer_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	testclock "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	clientID       = "c0000000-0000-4000-8000-000000000001"
	objectID       = "b0000000-0000-4000-8000-000000000001"
	serviceAccount = "system:serviceaccount:plants:twins"
)

var startOfTime = time.Date(2026, 11, 20, 10, 20, 30, 0, time.UTC)

type object = map[string]any

// running is an issuer with a client that trusts it.
type running struct {
	*issuer.Server
	clock *testclock.FakeClock
	http  *http.Client
}

func start(t *testing.T, applications ...issuer.Application) running {
	t.Helper()
	clock := testclock.NewFakeClock(startOfTime)
	server, err := issuer.Start(t.Context(), issuer.Options{Applications: applications, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(server.CACertificatePEM()) {
		t.Fatal("the CA certificate is not PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return running{Server: server, clock: clock, http: &http.Client{Transport: transport}}
}

func (r running) decode(t *testing.T, answer *http.Response, err error) (int, object) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode == http.StatusNotFound || answer.StatusCode == http.StatusMethodNotAllowed {
		return answer.StatusCode, nil
	}
	var document object
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return answer.StatusCode, document
}

func (r running) get(t *testing.T, url string) (int, object) {
	t.Helper()
	answer, err := r.http.Get(url)
	return r.decode(t, answer, err)
}

func (r running) post(t *testing.T, form url.Values) (int, object) {
	t.Helper()
	answer, err := r.http.PostForm(r.TokenURL(), form)
	return r.decode(t, answer, err)
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := start(t)
	base := "https://" + strings.Replace(s.Address(), "127.0.0.1", "localhost", 1) + "/"
	g.Expect(s.AuthorityHost()).To(Equal(base))
	g.Expect(s.Tenant()).To(Equal(issuer.DefaultTenant))
	g.Expect(s.URL()).To(Equal(base + issuer.DefaultTenant + "/v2.0"))
	status, found := s.get(t, s.URL()+"/.well-known/openid-configuration")
	g.Expect(status).To(Equal(http.StatusOK))
	g.Expect(found).To(And(
		HaveKeyWithValue("issuer", s.URL()), HaveKeyWithValue("token_endpoint", s.TokenURL()), HaveKeyWithValue("jwks_uri", s.JWKSURL()),
		HaveKey("authorization_endpoint"), HaveKey("response_types_supported"), HaveKey("subject_types_supported"),
		HaveKeyWithValue("id_token_signing_alg_values_supported", []any{"RS256"}),
	))
	status, keys := s.get(t, s.JWKSURL())
	g.Expect(status).To(Equal(http.StatusOK))
	g.Expect(json.Marshal(keys)).To(MatchJSON(s.JWKS()))
	g.Expect(keys["keys"]).To(HaveLen(1))
	g.Expect(keys["keys"].([]any)[0]).To(And(HaveKeyWithValue("kty", "RSA"), HaveKeyWithValue("use", "sig"), HaveKeyWithValue("alg", "RS256"), Not(HaveKey("d"))))

	for path, wanted := range map[string]int{
		"other-tenant/v2.0/.well-known/openid-configuration": http.StatusBadRequest,
		"other-tenant/discovery/v2.0/keys":                   http.StatusBadRequest,
		"other-tenant/oauth2/v2.0/token":                     http.StatusMethodNotAllowed,
		issuer.DefaultTenant + "/oauth2/v2.0/authorize":      http.StatusNotFound,
	} {
		status, refusal := s.get(t, base+path)
		g.Expect(status).To(Equal(wanted), path)
		if wanted == http.StatusBadRequest {
			g.Expect(refusal).To(And(HaveKeyWithValue("error", "invalid_request"), HaveKeyWithValue("error_codes", []any{90002.0})))
		}
	}
}

// verified checks a token by the issuer's key set, with the standard library
// alone, and returns its claims.
func (r running) verified(t *testing.T, token string) object {
	t.Helper()
	g := NewWithT(t)
	var set struct{ Keys []struct{ Kid, N, E string } }
	g.Expect(json.Unmarshal(r.JWKS(), &set)).To(Succeed())
	parts := strings.Split(token, ".")
	g.Expect(parts).To(HaveLen(3))
	bytes := func(text string) []byte {
		decoded, err := base64.RawURLEncoding.DecodeString(text)
		g.Expect(err).NotTo(HaveOccurred())
		return decoded
	}
	var header, claims object
	g.Expect(json.Unmarshal(bytes(parts[0]), &header)).To(Succeed())
	g.Expect(json.Unmarshal(bytes(parts[1]), &claims)).To(Succeed())
	g.Expect(header).To(Equal(object{"alg": "RS256", "typ": "JWT", "kid": set.Keys[0].Kid}))
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(bytes(set.Keys[0].N)), E: int(new(big.Int).SetBytes(bytes(set.Keys[0].E)).Int64())}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	g.Expect(rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], bytes(parts[2]))).To(Succeed())
	return claims
}

func TestMint(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := start(t)
	now, hour := float64(startOfTime.Unix()), 3600.0
	token, err := s.Mint(issuer.Token{ObjectID: objectID, ClientID: clientID})
	g.Expect(err).NotTo(HaveOccurred())
	claims := s.verified(t, token)
	g.Expect(claims).To(HaveKey("uti"))
	delete(claims, "uti")
	g.Expect(claims).To(Equal(object{
		"iss": s.URL(), "aud": "https://iothubs.azure.net", "iat": now, "nbf": now, "exp": now + hour,
		"tid": s.Tenant(), "ver": "1.0", "oid": objectID, "sub": objectID, "appid": clientID, "idtyp": "app",
	}))
	token, err = s.Mint(issuer.Token{
		Audience: "a", NotBefore: startOfTime.Add(time.Minute), ExpiresAt: startOfTime.Add(time.Hour * 2),
		Claims: map[string]any{"iss": "i", "uti": nil, "x": []int{1}},
	})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(s.verified(t, token)).To(Equal(object{
		"iss": "i", "aud": "a", "iat": now, "nbf": now + 60, "exp": now + 2*hour, "tid": s.Tenant(), "ver": "1.0", "x": []any{1.0},
	}))
	_, err = s.Mint(issuer.Token{Claims: map[string]any{"x": make(chan int)}})
	g.Expect(err).To(HaveOccurred())
}

// assertion is a token that anybody could have made.
func assertion(changes jwt.MapClaims) string {
	claims := jwt.MapClaims{"iss": "https://any.example", "sub": serviceAccount, "aud": issuer.ExchangeAudience, "exp": startOfTime.Add(time.Hour).Unix()}
	for name, value := range changes {
		claims[name] = value
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err) // the test's own set-up
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims).SignedString(key)
	if err != nil {
		panic(err)
	}
	return token
}

func form(changes map[string]string) url.Values {
	values := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "scope": {"https://iothubs.azure.net/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion(nil)},
	}
	for name, value := range changes {
		values.Set(name, value)
	}
	return values
}

// subjectOnly is an application whose assertions are not verified.
var subjectOnly = issuer.Application{ClientID: clientID, ObjectID: objectID, Federated: []issuer.FederatedCredential{{Subject: serviceAccount}}}

func TestTokenForASubject(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := start(t, subjectOnly)
	for scope, audience := range map[string]string{
		"https://iothubs.azure.net/.default":                               "https://iothubs.azure.net",
		"https://iothubs.azure.net//.default":                              "https://iothubs.azure.net/",
		"https://iothubs.azure.net/.default openid offline_access profile": "https://iothubs.azure.net",
		"https://management.azure.com/.default":                            "https://management.azure.com",
	} {
		status, answer := s.post(t, form(map[string]string{"scope": scope, "client_id": strings.ToUpper(clientID)}))
		g.Expect(status).To(Equal(http.StatusOK), "%v", answer)
		claims := s.verified(t, answer["access_token"].(string))
		delete(answer, "access_token")
		g.Expect(answer).To(Equal(object{"token_type": "Bearer", "expires_in": 3600.0, "ext_expires_in": 3600.0}))
		g.Expect(claims).To(And(HaveKeyWithValue("aud", audience), HaveKeyWithValue("oid", objectID), HaveKeyWithValue("appid", clientID)))
		g.Expect(claims["exp"]).To(BeNumerically("==", startOfTime.Add(time.Hour).Unix()))
	}
}

func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, subjectOnly)
	for name, tt := range map[string]struct {
		form   url.Values
		status int
		code   string
		number float64
	}{
		"no grant":               {form(map[string]string{"grant_type": ""}), 400, "invalid_request", 900144},
		"another grant":          {form(map[string]string{"grant_type": "password"}), 400, "unsupported_grant_type", 70003},
		"no client":              {form(map[string]string{"client_id": ""}), 400, "invalid_request", 900144},
		"another client":         {form(map[string]string{"client_id": objectID}), 400, "unauthorized_client", 700016},
		"no scope":               {form(map[string]string{"scope": ""}), 400, "invalid_request", 900144},
		"scope without default":  {form(map[string]string{"scope": "https://iothubs.azure.net/read"}), 400, "invalid_scope", 1002012},
		"default of nothing":     {form(map[string]string{"scope": "/.default"}), 400, "invalid_scope", 1002012},
		"OpenID's alone":         {form(map[string]string{"scope": "openid profile"}), 400, "invalid_scope", 1002012},
		"two resources":          {form(map[string]string{"scope": "https://a/.default https://b/.default"}), 400, "invalid_scope", 1002012},
		"no assertion":           {form(map[string]string{"client_assertion": ""}), 401, "invalid_client", 7000216},
		"another assertion type": {form(map[string]string{"client_assertion_type": "saml"}), 400, "invalid_request", 50027},
		"nonsense":               {form(map[string]string{"client_assertion": "x.y.z"}), 401, "invalid_client", 50027},
		"another subject":        {form(map[string]string{"client_assertion": assertion(jwt.MapClaims{"sub": serviceAccount + "2"})}), 401, "invalid_client", 700213},
		"another audience":       {form(map[string]string{"client_assertion": assertion(jwt.MapClaims{"aud": "api://other"})}), 401, "invalid_client", 700212},
		"an expired assertion":   {form(map[string]string{"client_assertion": assertion(jwt.MapClaims{"exp": startOfTime.Unix()})}), 401, "invalid_client", 700024},
		"one that never expires": {form(map[string]string{"client_assertion": assertion(jwt.MapClaims{"exp": nil})}), 401, "invalid_client", 700024},
		"an early assertion":     {form(map[string]string{"client_assertion": assertion(jwt.MapClaims{"nbf": startOfTime.Unix() + 1})}), 401, "invalid_client", 700024},
		"a large form":           {form(map[string]string{"scope": strings.Repeat("x", 64<<10)}), 400, "invalid_request", 900144},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			status, refusal := s.post(t, tt.form)
			g.Expect(status).To(Equal(tt.status), "%v", refusal)
			g.Expect(refusal).To(And(
				HaveKeyWithValue("error", tt.code), HaveKeyWithValue("error_codes", []any{tt.number}),
				HaveKeyWithValue("timestamp", "2026-11-20 10:20:30Z"), HaveKey("trace_id"), HaveKey("correlation_id"), HaveKey("error_uri"),
			))
			g.Expect(refusal["error_description"]).To(MatchRegexp(`^AADSTS\d+: .+ Trace ID: .+ Correlation ID: .+ Timestamp: `))
			g.Expect(refusal["error_description"]).NotTo(ContainSubstring("eyJ"), "a token")
		})
	}
}

func TestRefusedOptions(t *testing.T) {
	t.Parallel()
	with := func(credential issuer.FederatedCredential) issuer.Options {
		return issuer.Options{Applications: []issuer.Application{{ClientID: clientID, Federated: []issuer.FederatedCredential{credential}}}}
	}
	for name, tt := range map[string]struct {
		opts issuer.Options
		says string
	}{
		"tenant":                {issuer.Options{Tenant: "contoso"}, `the tenant "contoso" should be a GUID`},
		"client":                {issuer.Options{Applications: []issuer.Application{{ClientID: "x"}}}, `the client id "x" of an application should be a GUID`},
		"one client twice":      {issuer.Options{Applications: []issuer.Application{{ClientID: clientID}, {ClientID: strings.ToUpper(clientID)}}}, "is given twice"},
		"no subject":            {with(issuer.FederatedCredential{}), "should have a subject"},
		"an untrusted issuer":   {with(issuer.FederatedCredential{Subject: "s", Issuer: "https://a"}), `the issuer "https://a" of a federated credential of the application "` + clientID + `" should be among the trusted ones`},
		"an issuer of no name":  {issuer.Options{Trusted: []issuer.TrustedIssuer{{}}}, "a trusted issuer should have a name"},
		"keys that are none":    {issuer.Options{Trusted: []issuer.TrustedIssuer{{Issuer: "https://a", JWKS: []byte("x")}}}, `the keys of the trusted issuer "https://a": should be a JSON Web Key Set`},
		"an issuer of no keys":  {issuer.Options{Trusted: []issuer.TrustedIssuer{{Issuer: "https://a", JWKS: []byte("{}")}}}, "holds no key"},
		"an impossible address": {issuer.Options{Address: "nowhere"}, "the issuer's address nowhere cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := issuer.Start(t.Context(), tt.opts)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tt.says)))
		})
	}
}

func TestSecretsMakeTheSameIssuer(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	first := start(t)
	second, err := issuer.Start(t.Context(), issuer.Options{Secrets: first.Secrets(), Clock: first.clock})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(second.Close()).To(Succeed()) })
	g.Expect(second.CACertificatePEM()).To(Equal(first.CACertificatePEM()))
	g.Expect(second.JWKS()).To(MatchJSON(first.JWKS()))
	g.Expect(second.Secrets()).To(Equal(first.Secrets()))
	token, err := second.Mint(issuer.Token{ObjectID: objectID})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(first.verified(t, token)).To(HaveKeyWithValue("oid", objectID))
	g.Expect(start(t).JWKS()).NotTo(MatchJSON(first.JWKS()))

	g.Expect(first.Secrets().Check()).To(Succeed())
	for _, key := range []string{"x", first.Secrets().Certificates.Server.Key, strings.Replace(first.Secrets().SigningKey, "M", "N", 1)} {
		changed := first.Secrets()
		changed.SigningKey = key
		g.Expect(changed.Check()).To(MatchError(HavePrefix("the signing key should be")))
		_, err := issuer.Start(t.Context(), issuer.Options{Secrets: changed})
		g.Expect(err).To(MatchError(HavePrefix("the issuer: the signing key should be")))
	}
	changed := first.Secrets()
	changed.Certificates.Authority.Certificate = "x"
	g.Expect(changed.Check()).To(HaveOccurred())
	_, err = issuer.Start(t.Context(), issuer.Options{Secrets: changed})
	g.Expect(err).To(HaveOccurred())
}

func TestStop(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	ctx, cancel := context.WithCancel(t.Context())
	server, err := issuer.Start(ctx, issuer.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	cancel()
	g.Expect(server.Close()).To(Succeed())
	g.Expect(server.Close()).To(Succeed())
	listener, err := net.Listen("tcp", server.Address())
	g.Expect(err).NotTo(HaveOccurred(), "the port is free")
	g.Expect(listener.Close()).To(Succeed())
}
