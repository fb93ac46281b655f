package credentials

import (
	"cmp"
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// assertionSeconds is the shortest life that the API server gives a token; it is used
// once.
const assertionSeconds = 600

// EntraOptions say where Microsoft Entra ID is. The zero value is the global cloud.
type EntraOptions struct {
	// AuthorityHost is where to sign in; https://login.microsoftonline.com/ when empty.
	AuthorityHost string
	// CABundle holds PEM certificates to trust there instead of the system's.
	CABundle []byte
	// Scope and ExchangeAudience are what Entra ID calls IoT hubs and the exchange of
	// service account tokens; those of the authority host's cloud when empty.
	Scope, ExchangeAudience string
}

// Identities sign in for HubConnections, each as the ServiceAccount of its own
// namespace that it names: the manager's own identity is never lent. That the
// manager may ask for the account's tokens has to be granted there: a right to all
// tokens of a cluster would be one to everything.
type Identities struct {
	kube  kubernetes.Interface
	entra EntraOptions
}

// NewIdentities returns identities whose tokens a client gives.
func NewIdentities(kube kubernetes.Interface, entra EntraOptions) Identities {
	return Identities{kube: kube, entra: entra}
}

// Of is the identity that a HubConnection names in spec.auth.workloadIdentity.
func (i Identities) Of(conn *v1alpha1.HubConnection) *hub.WorkloadIdentity {
	given := conn.Spec.Auth.WorkloadIdentity
	namespace, account := conn.Namespace, given.ServiceAccountName
	return &hub.WorkloadIdentity{
		TenantID: given.TenantID, ClientID: given.ClientID,
		Subject:       fmt.Sprintf("system:serviceaccount:%s:%s", namespace, account),
		AuthorityHost: i.entra.AuthorityHost, CABundle: i.entra.CABundle, Scope: i.entra.Scope,
		Assertion: func(ctx context.Context) (string, error) { return i.assertion(ctx, namespace, account) },
	}
}

func (i Identities) assertion(ctx context.Context, namespace, account string) (string, error) {
	seconds := int64(assertionSeconds)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{cmp.Or(i.entra.ExchangeAudience, hub.ExchangeAudience(i.entra.AuthorityHost))}, ExpirationSeconds: &seconds,
	}}
	answer, err := i.kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", &hub.AssertionRefusedError{Why: "the ServiceAccount does not exist: create it, or correct spec.auth.workloadIdentity.serviceAccountName"}
	case apierrors.IsForbidden(err):
		return "", &hub.AssertionRefusedError{Why: "the manager may not ask for one: allow it to create serviceaccounts/token of this name in this namespace"}
	case err != nil:
		return "", fmt.Errorf("the API server gave none: %w", err)
	}
	return answer.Status.Token, nil
}
