package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

const (
	app            = "c0000000-0000-4000-8000-000000000001"
	serviceAccount = "system:serviceaccount:plants:twins"
	cluster        = "https://kubernetes.default.svc.cluster.local"
)

// program is the emulator, run with its flags, and a client that trusts the
// authorities in its ca.crt.
type program struct {
	*hubemulator.Connections
	http *http.Client
}

func runProgram(t *testing.T, args ...string) program {
	t.Helper()
	g := NewWithT(t)
	dir := t.TempDir()
	running := start(t, dir, append([]string{"--device", "d1"}, args...)...)
	found := connections(t, dir)
	p := program{Connections: &found}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	g.Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	g.Expect(roots.AppendCertsFromPEM(pem)).To(BeTrue())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	p.http = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		running.stop()
		g.Eventually(running.code, "10s").Should(Receive(Equal(exitOK)))
	})
	return p
}

// exchange shows an assertion at the token endpoint.
func (p program) exchange(t *testing.T, assertion string) (int, map[string]any) {
	t.Helper()
	g := NewWithT(t)
	answer, err := p.http.PostForm(p.Issuer.TokenURL, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {app}, "scope": {"https://iothubs.azure.net/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	})
	g.Expect(err).NotTo(HaveOccurred())
	defer answer.Body.Close()
	var document map[string]any
	g.Expect(json.NewDecoder(answer.Body).Decode(&document)).To(Succeed())
	return answer.StatusCode, document
}

func (p program) getTwin(t *testing.T, token any) int {
	t.Helper()
	g := NewWithT(t)
	request, err := http.NewRequest(http.MethodGet, "https://"+p.Addresses.HTTPS+"/twins/d1?api-version=2021-04-12", nil)
	g.Expect(err).NotTo(HaveOccurred())
	request.Header.Set("Authorization", fmt.Sprintf("Bearer %s", token))
	answer, err := p.http.Do(request)
	g.Expect(err).NotTo(HaveOccurred())
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	g.Expect(err).NotTo(HaveOccurred())
	return answer.StatusCode
}

// clusterKey signs service account tokens, and says so in a key set.
func clusterKey(t *testing.T) (sign func() string, jwksFile string) {
	t.Helper()
	g := NewWithT(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	g.Expect(err).NotTo(HaveOccurred())
	point, err := key.PublicKey.Bytes()
	g.Expect(err).NotTo(HaveOccurred())
	encode := base64.RawURLEncoding.EncodeToString
	jwksFile = filepath.Join(t.TempDir(), "jwks.json")
	g.Expect(os.WriteFile(jwksFile, fmt.Appendf(nil, `{"keys":[{"kty":"EC","kid":"k","crv":"P-256","x":%q,"y":%q}]}`, encode(point[1:33]), encode(point[33:])), 0o600)).To(Succeed())
	return func() string {
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": cluster, "sub": serviceAccount, "aud": "api://AzureADTokenExchange", "exp": time.Now().Add(time.Hour).Unix(),
		})
		token.Header["kid"] = "k"
		text, err := token.SignedString(key)
		g.Expect(err).NotTo(HaveOccurred())
		return text
	}, jwksFile
}

func TestOwnIssuer(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	sign, jwks := clusterKey(t)
	forge, _ := clusterKey(t)
	p := runProgram(t, "--issuer-address", "127.0.0.1:0", "--issuer-tenant", "d0000000-0000-4000-8000-000000000001",
		"--issuer-app", app+"=system:serviceaccount:plants:other", "--issuer-app", app+"="+serviceAccount,
		"--issuer-trusted", cluster, "--issuer-trusted-jwks", jwks,
		"--entra-role", app+"=IoT Hub Registry Contributor", "--entra-role", app+"=IoT Hub Twin Contributor")
	g.Expect(p.Issuer.TenantID).To(Equal("d0000000-0000-4000-8000-000000000001"))
	g.Expect(p.Issuer.AuthorityHost).To(MatchRegexp(`^https://localhost:\d+/$`))
	g.Expect(p.Issuer.CA).To(HavePrefix("-----BEGIN CERTIFICATE-----\n"))
	status, answer := p.exchange(t, sign())
	g.Expect(status).To(Equal(http.StatusOK), "%v", answer)
	g.Expect(p.getTwin(t, answer["access_token"])).To(Equal(http.StatusOK))
	status, answer = p.exchange(t, forge())
	g.Expect(status).To(Equal(http.StatusUnauthorized))
	g.Expect(answer["error_description"]).To(HavePrefix("AADSTS700027"))
}

func TestIssuerElsewhere(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	forge, _ := clusterKey(t)
	elsewhere := runProgram(t, "--issuer-address", "127.0.0.1:0", "--issuer-app", app+"="+serviceAccount)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	g.Expect(os.WriteFile(ca, []byte(elsewhere.Issuer.CA), 0o600)).To(Succeed())
	p := runProgram(t, "--entra-issuer", elsewhere.Issuer.URL, "--entra-jwks", elsewhere.Issuer.JWKSURL, "--entra-ca-file", ca,
		"--entra-role", app+"=IoT Hub Data Reader", "--disable-local-auth")
	g.Expect(p.Issuer).To(BeNil())
	status, answer := elsewhere.exchange(t, forge())
	g.Expect(status).To(Equal(http.StatusOK), "its signature is not checked: %v", answer)
	g.Expect(p.getTwin(t, answer["access_token"])).To(Equal(http.StatusOK))
	g.Expect(elsewhere.getTwin(t, answer["access_token"])).To(Equal(http.StatusUnauthorized), "no role there")
}

func TestRoleThatDoesNotExist(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var stdout, stderr bytes.Buffer
	g.Expect(run(t.Context(), []string{"--data-dir", t.TempDir(), "--issuer-address", "127.0.0.1:0", "--entra-role", app + "=Twin Reader"}, &stdout, &stderr)).To(Equal(exitFailure))
	g.Expect(stderr.String()).To(ContainSubstring(`"Twin Reader" should be a built-in role`))
	g.Expect(strings.Count(stderr.String(), "\n")).To(Equal(1))
}
