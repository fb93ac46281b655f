package hubemulator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/golang-jwt/jwt/v5"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
)

const (
	clusterURL     = "https://kubernetes.default.svc.cluster.local"
	clientID       = "c0000000-0000-4000-8000-000000000001"
	objectID       = "b0000000-0000-4000-8000-000000000001"
	serviceAccount = "system:serviceaccount:plants:twins"
	hubScope       = issuer.HubAudience + "/.default"
)

// serviceAccountToken is what a cluster mounts into a pod.
func serviceAccountToken(cluster someIssuer, changes jwt.MapClaims) string {
	return cluster.sign(jwt.SigningMethodRS256, "rsa", cluster.rsa, good(mapsJoin(jwt.MapClaims{
		"iss": clusterURL, "sub": serviceAccount, "aud": []string{"api://AzureADTokenExchange"}, "oid": nil,
	}, changes)))
}

func mapsJoin(all ...jwt.MapClaims) jwt.MapClaims {
	joined := jwt.MapClaims{}
	for _, claims := range all {
		for name, value := range claims {
			joined[name] = value
		}
	}
	return joined
}

// azureOptions make Microsoft's library sign in at the hub's own issuer.
func (h *hub) azureOptions(t *testing.T) azcore.ClientOptions {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(h.server.Issuer().CACertificatePEM()) {
		t.Fatal("the issuer's CA certificate is not PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: h.server.Issuer().AuthorityHost()},
		Transport: &http.Client{Transport: transport},
	}
}

func (h *hub) assertionCredential(t *testing.T, client, assertion string) *azidentity.ClientAssertionCredential {
	t.Helper()
	credential, err := azidentity.NewClientAssertionCredential(h.server.Issuer().Tenant(), client,
		func(context.Context) (string, error) { return assertion, nil },
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: h.azureOptions(t), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

func (h *hub) getTwinWith(t *testing.T, credential azcore.TokenCredential, scope string) response {
	t.Helper()
	token, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil {
		t.Fatal(err)
	}
	c := *h.client
	c.token = "Bearer " + token.Token
	return c.call(t, http.MethodGet, "/twins/d1", "")
}

func federating(cluster someIssuer, roles map[string][]string) hubemulator.Options {
	return hubemulator.Options{
		Devices: []string{"d1"}, EntraRoles: roles, DisableLocalAuth: true,
		Issuer: &issuer.Options{
			Trusted: []issuer.TrustedIssuer{{Issuer: clusterURL, JWKS: []byte(cluster.jwks())}},
			Applications: []issuer.Application{{
				ClientID: clientID, ObjectID: objectID,
				Federated: []issuer.FederatedCredential{{Subject: serviceAccount, Issuer: clusterURL}},
			}},
		},
	}
}

func TestWorkloadIdentity(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	cluster := newIssuer()
	h := startHubWith(t, federating(cluster, map[string][]string{objectID: {"IoT Hub Twin Contributor"}}))
	file := filepath.Join(t.TempDir(), "token")
	g.Expect(os.WriteFile(file, []byte(serviceAccountToken(cluster, nil)), 0o600)).To(Succeed())
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: h.azureOptions(t), DisableInstanceDiscovery: true,
		ClientID: clientID, TenantID: h.server.Issuer().Tenant(), TokenFilePath: file,
	})
	g.Expect(err).NotTo(HaveOccurred())
	answer := h.getTwinWith(t, credential, hubScope)
	g.Expect(answer.status).To(Equal(http.StatusOK), answer.text)
	g.Expect(decode[object](t, answer.text)["deviceId"]).To(Equal("d1"))
	expectUnauthorized(t, h.getTwinWith(t, credential, "https://management.azure.com/.default"))
	h.clock.Step(time.Hour)
	expectUnauthorized(t, h.getTwinWith(t, credential, hubScope)) // the library's clock has not moved
}

func TestWorkloadIdentityWithoutARole(t *testing.T) {
	t.Parallel()
	cluster := newIssuer()
	h := startHubWith(t, federating(cluster, map[string][]string{objectID: {"IoT Hub Registry Contributor"}}))
	credential := h.assertionCredential(t, clientID, serviceAccountToken(cluster, nil))
	expectUnauthorized(t, h.getTwinWith(t, credential, hubScope))
}

func TestWorkloadIdentityIsRefused(t *testing.T) {
	t.Parallel()
	cluster, stranger := newIssuer(), newIssuer()
	h := startHubWith(t, federating(cluster, nil))
	for name, tt := range map[string]struct {
		client, assertion string
		status            int
		says              string
	}{
		"another application": {"c0000000-0000-4000-8000-000000000002", serviceAccountToken(cluster, nil), http.StatusBadRequest, "AADSTS700016"},
		"another subject":     {clientID, serviceAccountToken(cluster, jwt.MapClaims{"sub": "system:serviceaccount:Plants:twins"}), http.StatusUnauthorized, "AADSTS700213"},
		"another audience":    {clientID, serviceAccountToken(cluster, jwt.MapClaims{"aud": clusterURL}), http.StatusUnauthorized, "AADSTS700212"},
		"another cluster":     {clientID, serviceAccountToken(cluster, jwt.MapClaims{"iss": "https://other.example"}), http.StatusUnauthorized, "AADSTS700211"},
		"a forged one":        {clientID, serviceAccountToken(stranger, nil), http.StatusUnauthorized, "AADSTS700027"},
		"an expired one":      {clientID, serviceAccountToken(cluster, jwt.MapClaims{"exp": startOfTime.Unix()}), http.StatusUnauthorized, "AADSTS700024"},
		"an early one":        {clientID, serviceAccountToken(cluster, jwt.MapClaims{"nbf": startOfTime.Unix() + 1}), http.StatusUnauthorized, "AADSTS700024"},
		"no token":            {clientID, "nonsense", http.StatusUnauthorized, "AADSTS50027"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			_, err := h.assertionCredential(t, tt.client, tt.assertion).GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{hubScope}})
			refusal, isRefusal := errors.AsType[*azidentity.AuthenticationFailedError](err)
			g.Expect(isRefusal).To(BeTrue(), "%v", err)
			g.Expect(refusal.RawResponse.StatusCode).To(Equal(tt.status))
			g.Expect(refusal).To(MatchError(ContainSubstring(tt.says)))
		})
	}
}
