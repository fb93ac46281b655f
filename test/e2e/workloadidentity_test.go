package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// TestServiceAccountSignsIn takes the token that a real API server makes for a
// service account through Microsoft's library and the emulator's issuer to the
// emulated hub.
func TestServiceAccountSignsIn(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const application = "c0000000-0000-4000-8000-000000000001"
	cluster, err := kubernetes.NewForConfig(env.Config())
	g.Expect(err).NotTo(HaveOccurred())
	access, err := client.New(env.Config(), client.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	ns := testenv.Namespace(t, access, nil)
	iss, keys := issuerOf(t, cluster)
	emulated, err := hubemulator.Start(t.Context(), hubemulator.Options{
		Devices: []string{device}, DisableLocalAuth: true,
		EntraRoles: map[string][]string{application: {"IoT Hub Twin Contributor"}},
		Issuer: &issuer.Options{
			Trusted: []issuer.TrustedIssuer{{Issuer: iss, JWKS: keys}},
			Applications: []issuer.Application{{ClientID: application, Federated: []issuer.FederatedCredential{
				{Issuer: iss, Subject: "system:serviceaccount:" + ns + ":twins"},
			}}},
		},
	})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(emulated.Close()).To(Succeed()) })

	for account, allowed := range map[string]bool{"twins": true, "others": false} {
		_, err := cluster.CoreV1().ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		credential, err := azidentity.NewClientAssertionCredential(emulated.Issuer().Tenant(), application, func(ctx context.Context) (string, error) {
			request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{issuer.ExchangeAudience}}}
			made, err := cluster.CoreV1().ServiceAccounts(ns).CreateToken(ctx, account, request, metav1.CreateOptions{})
			if err != nil {
				return "", err
			}
			return made.Status.Token, nil
		}, &azidentity.ClientAssertionCredentialOptions{
			DisableInstanceDiscovery: true,
			ClientOptions: azcore.ClientOptions{
				Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: emulated.Issuer().AuthorityHost()},
				Transport: trusting(t, emulated.Issuer().CACertificatePEM()),
			},
		})
		g.Expect(err).NotTo(HaveOccurred())
		token, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{issuer.HubAudience + "/.default"}})
		if !allowed {
			g.Expect(err).To(MatchError(ContainSubstring("AADSTS700213")))
			continue
		}
		g.Expect(err).NotTo(HaveOccurred())
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+emulated.HostName()+"/twins/"+device+"?api-version=2021-04-12", nil)
		g.Expect(err).NotTo(HaveOccurred())
		request.Header.Set("Authorization", "Bearer "+token.Token)
		answer, err := trusting(t, emulated.CACertificatePEM()).Do(request)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(answer.Body.Close()).To(Succeed())
		g.Expect(answer.StatusCode).To(Equal(http.StatusOK))
	}
}

// issuerOf asks a cluster who signs the tokens of its service accounts.
func issuerOf(t *testing.T, cluster kubernetes.Interface) (iss string, keys []byte) {
	t.Helper()
	g := NewWithT(t)
	get := func(path string) []byte {
		text, err := cluster.Discovery().RESTClient().Get().AbsPath(path).DoRaw(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		return text
	}
	var configuration struct{ Issuer string }
	g.Expect(json.Unmarshal(get("/.well-known/openid-configuration"), &configuration)).To(Succeed())
	return configuration.Issuer, get("/openid/v1/jwks")
}

func trusting(t *testing.T, pem []byte) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("not a certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
