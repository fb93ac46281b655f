package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// Hub is the HubConnection that a command asks through.
type Hub struct {
	Ref v1alpha1.HubReference
	// Object is nil where the user may not read it, or it does not exist: the manager tells.
	Object *v1alpha1.HubConnection
}

// Labels of the HubConnection, as far as they are known.
func (h Hub) Labels() map[string]string {
	if h.Object == nil {
		return nil
	}
	return h.Object.Labels
}

// FindHub finds the HubConnection that the user names, as NAME or NAMESPACE/NAME. Without a name it is the only one of the
// namespace.
func FindHub(ctx context.Context, c client.Reader, namespace, named string) (Hub, error) {
	if named == "" {
		return onlyHub(ctx, c, namespace)
	}
	in, name, qualified := strings.Cut(named, "/")
	if !qualified {
		in, name = namespace, named
	}
	hub := Hub{Ref: v1alpha1.HubReference{Name: name}}
	if in != namespace {
		hub.Ref.Namespace = in
	}
	found := &v1alpha1.HubConnection{}
	err := c.Get(ctx, client.ObjectKey{Namespace: in, Name: name}, found)
	switch {
	case err == nil:
		hub.Object = found
	case apierrors.IsNotFound(err) && !qualified:
		return Hub{}, fmt.Errorf("HubConnection %q does not exist in namespace %s: name another with --hub NAME or --hub NAMESPACE/NAME", name, namespace)
	case !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err):
		return Hub{}, Explained(err)
	}
	return hub, nil
}

func onlyHub(ctx context.Context, c client.Reader, namespace string) (Hub, error) {
	var list v1alpha1.HubConnectionList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return Hub{}, Explained(err)
	}
	switch len(list.Items) {
	case 0:
		return Hub{}, errors.New("there is no HubConnection in namespace " + namespace + ": name one of another with --hub NAMESPACE/NAME")
	case 1:
		return Hub{Ref: v1alpha1.HubReference{Name: list.Items[0].Name}, Object: &list.Items[0]}, nil
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return Hub{}, fmt.Errorf("which hub? name one with --hub: namespace %s has %s", namespace, strings.Join(names, ", "))
}
