package invoke

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/connectionstring"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/version"
)

// sessionOf opens a session at the hub of a DeviceTwin, with the credential that the manager has.
func sessionOf(ctx context.Context, c client.Reader, obj *v1alpha1.DeviceTwin) (hub.Session, error) {
	key := client.ObjectKey{Namespace: obj.Spec.HubRef.NamespaceOr(obj.Namespace), Name: obj.Spec.HubRef.Name}
	conn := &v1alpha1.HubConnection{}
	if err := c.Get(ctx, key, conn); err != nil {
		return nil, fmt.Errorf("HubConnection %s of devicetwin/%s: %w", key, obj.Name, cluster.Explained(err))
	}
	ref := conn.Spec.Auth.ConnectionStringSecretRef
	if ref == nil {
		return nil, fmt.Errorf("HubConnection %s signs in by workload identity, as the ServiceAccount that it names; only the manager can, and not you from here: "+
			"call the method with az iot hub invoke-device-method, or a client of your own", key)
	}
	text, err := credential(ctx, c, client.ObjectKey{Namespace: conn.Namespace, Name: ref.Name}, ref.Key)
	if err != nil {
		return nil, err
	}
	session, err := hub.Open(hub.Config{
		ConnectionString: text, CABundle: conn.Spec.CABundle, AllowedHostSuffixes: named(text), UserAgent: cluster.FieldManager + "/" + version.Get(),
	})
	if err != nil {
		return nil, fmt.Errorf("HubConnection %s: %w", key, err)
	}
	return session, nil
}

// credential reads a connection string, as the user. No error holds any of it.
func credential(ctx context.Context, c client.Reader, name client.ObjectKey, key string) (string, error) {
	secret := &corev1.Secret{}
	err := c.Get(ctx, name, secret)
	switch {
	case apierrors.IsForbidden(err):
		return "", fmt.Errorf("a method is called with the connection string in Secret %s, which you may not read: ask for the right to get it (%w)", name, cluster.Explained(err))
	case err != nil:
		return "", fmt.Errorf("the connection string of the hub: %w", cluster.Explained(err))
	}
	value, found := secret.Data[key]
	if !found {
		return "", fmt.Errorf("the connection string of the hub: Secret %s has no key %q, as spec.auth.connectionStringSecretRef of the HubConnection names it", name, key)
	}
	return string(value), nil
}

// named are the hosts that may get what the connection string signs: the one that it names itself. Which hosts the manager
// may be led to is its own matter.
func named(connectionString string) []string {
	allowed := hub.DefaultAllowedHostSuffixes()
	parts, err := connectionstring.Split(connectionString)
	if err != nil {
		return allowed // it is refused, with its reason
	}
	return append(allowed, connectionstring.Name(parts.Get(connectionstring.HostName)))
}
