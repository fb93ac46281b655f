package controllers_test

import (
	"context"
	"encoding/json"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
	"github.com/devicetwin-io/devicetwin-operator/internal/credentials"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

const application = "c0000000-0000-4000-8000-000000000001"

// clusterIssuer is the test's API server as an issuer of service account tokens.
func clusterIssuer(t *testing.T) issuer.TrustedIssuer {
	t.Helper()
	g := NewWithT(t)
	kube, err := kubernetes.NewForConfig(suite.env.Config())
	g.Expect(err).NotTo(HaveOccurred())
	keys, err := kube.RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	text, err := kube.RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	var discovered struct{ Issuer string }
	g.Expect(json.Unmarshal(text, &discovered)).To(Succeed())
	return issuer.TrustedIssuer{Issuer: discovered.Issuer, JWKS: keys}
}

func TestWorkloadIdentitySignsInAsTheNamespacesServiceAccount(t *testing.T) {
	t.Parallel()
	cluster, ns := clusterIssuer(t), testenv.Namespace(t, newClient(t), nil)
	entraHub, err := hubemulator.Start(context.Background(), hubemulator.Options{
		Devices: []string{"d1"}, DisableLocalAuth: true,
		Issuer: &issuer.Options{
			Trusted: []issuer.TrustedIssuer{cluster},
			Applications: []issuer.Application{{ClientID: application, Federated: []issuer.FederatedCredential{{
				Subject: "system:serviceaccount:" + ns + ":twins", Issuer: cluster.Issuer,
			}}}},
		},
		EntraRoles: map[string][]string{application: {"IoT Hub Twin Contributor"}},
	})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { NewWithT(t).Expect(entraHub.Close()).To(Succeed()) })
	w := newWorld(t, withNamespace(ns), func(w *world) {
		w.options.Entra = credentials.EntraOptions{
			AuthorityHost: entraHub.Issuer().AuthorityHost(), CABundle: entraHub.Issuer().CACertificatePEM(),
		}
	})
	conn := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "hub"}}
	conn.Spec.HostName, conn.Spec.CABundle = entraHub.HostName(), entraHub.CACertificatePEM()
	conn.Spec.ReadBack.Interval.Duration = readBack
	conn.Spec.Auth.WorkloadIdentity = &v1alpha1.WorkloadIdentity{
		ClientID: application, TenantID: entraHub.Issuer().Tenant(), ServiceAccountName: "twins",
	}
	w.create(conn)
	refused := w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonUnauthorized)
	w.Expect(refused.Message).To(And(ContainSubstring("system:serviceaccount:"+ns+":twins"), ContainSubstring("may not ask")))
	w.grantTokens(ns, "twins", "others")
	w.Eventually(func() string { return w.condition(conn, v1alpha1.ConditionReady).Message }, patience).Should(ContainSubstring("does not exist"))

	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "twins"}})
	w.awaitReady(conn)
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	obj.Namespace = ns
	w.create(obj)
	w.awaitReady(obj)
	text, err := entraHub.TwinJSON("d1")
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(string(text)).To(ContainSubstring("Redmond43"))
	w.Expect(entraHub.Counters().Operations["getTwin"].Statuses).NotTo(HaveKey("401"), "no signature was tried")

	// Another account is not trusted by the application.
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "others"}})
	w.edit(conn, func() { conn.Spec.Auth.WorkloadIdentity.ServiceAccountName = "others" })
	refused = w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonUnauthorized)
	w.Expect(refused.Message).To(And(ContainSubstring("AADSTS"), ContainSubstring("federated credential")))
	w.edit(conn, func() { conn.Spec.Auth.WorkloadIdentity.ServiceAccountName = "twins" })
	w.awaitReady(conn)
}

// grantTokens lets the manager ask for tokens of some ServiceAccounts.
func (w *world) grantTokens(namespace string, accounts ...string) {
	w.Helper()
	w.create(&rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "tokens"},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: accounts, Verbs: []string{"create"},
		}},
	})
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "tokens"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tokens"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.accounts, Name: w.account}},
	})
}

// A host that is not allowed gets no token.
func TestAHostileHostGetsNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "hub"}}
	conn.Spec.HostName = "hub.azure-devices.net.example.com"
	conn.Spec.Auth.WorkloadIdentity = &v1alpha1.WorkloadIdentity{ClientID: application, TenantID: application, ServiceAccountName: "twins"}
	w.create(conn)
	w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonHostNotAllowed)
	for _, line := range w.writes() {
		w.Expect(line).NotTo(ContainSubstring("serviceaccounts"), "a token was made")
	}
	for name, spoil := range map[string]func(){
		"exactly one of":       func() { conn.Spec.Auth.ConnectionStringSecretRef = &v1alpha1.SecretKeyReference{Name: "s"} },
		"hostName is required": func() { conn.Spec.HostName = "" },
	} {
		before := conn.DeepCopy()
		spoil()
		w.Expect(w.client.Update(w.Context(), conn)).To(MatchError(ContainSubstring(name)))
		conn = before
	}
}
