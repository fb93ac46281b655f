package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// The keys of a Secret that a device connects with.
const (
	secretConnectionString = "connectionString"
	secretPrimaryKey       = "primaryKey"
	secretSecondaryKey     = "secondaryKey"
)

// +kubebuilder:rbac:groups="",resources=secrets,verbs=create
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwins/finalizers,verbs=update

// secretKeys returns the keys in the object's Secret, which is made with the fresh
// ones if there is none. Somebody else's Secret is refused.
func (r *registrar) secretKeys(ctx context.Context, fresh hub.Credentials) (hub.Credentials, error) {
	found, err := r.ownSecret(ctx)
	if err != nil {
		return hub.Credentials{}, err
	}
	if found == nil {
		return fresh, r.createSecret(ctx, fresh)
	}
	return hub.Credentials{
		Type: hub.AuthSAS, PrimaryKey: string(found.Data[secretPrimaryKey]), SecondaryKey: string(found.Data[secretSecondaryKey]),
	}, nil
}

// restoreSecret makes the Secret again when it is gone, from the keys that the hub
// holds, provided they are those that were registered here. It looks when the
// declaration is new or somebody asked: not at every visit.
func (r *registrar) restoreSecret(ctx context.Context, note registrationNote) error {
	if r.obj.Status.ObservedGeneration == r.obj.Generation && r.obj.Status.LastHandledReconcileAt == handled(r.obj) {
		return nil
	}
	found, err := r.ownSecret(ctx)
	if err != nil || found != nil {
		return err
	}
	identity, err := r.session.GetIdentity(ctx, idOf(r.obj))
	if err != nil {
		return err
	}
	if identity.GenerationID != note.GenerationID || !slices.Contains(note.Credentials, hashOf(identity.Credentials)) {
		return r.registeredElsewhere()
	}
	return r.createSecret(ctx, identity.Credentials)
}

// ownSecret reads the object's Secret; nil when there is none.
func (r *registrar) ownSecret(ctx context.Context) (*corev1.Secret, error) {
	name := types.NamespacedName{Namespace: r.obj.Namespace, Name: r.obj.Spec.ConnectionSecretName}
	var found corev1.Secret
	err := r.secretReader.Get(ctx, name, &found)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	case !metav1.IsControlledBy(&found, r.obj):
		return nil, stopDiffering(stalled, v1alpha1.ReasonSecretNotOwned, fmt.Sprintf(
			"Secret %q exists and is not this object's own: name another in spec.connectionSecretName, or delete it. It was not touched", name.Name))
	}
	return &found, nil
}

func (r *registrar) createSecret(ctx context.Context, keys hub.Credentials) error {
	id := idOf(r.obj)
	owner := "DeviceId=" + id.Device
	if id.Module != "" {
		owner += ";ModuleId=" + id.Module
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.obj.Namespace, Name: r.obj.Spec.ConnectionSecretName},
		Type:       corev1.SecretTypeOpaque,
		Data: map[string][]byte{
			secretConnectionString: fmt.Appendf(nil, "HostName=%s;%s;SharedAccessKey=%s", r.session.Host(), owner, keys.PrimaryKey),
			secretPrimaryKey:       []byte(keys.PrimaryKey),
			secretSecondaryKey:     []byte(keys.SecondaryKey),
		},
	}
	if err := controllerutil.SetControllerReference(r.obj, secret, r.client.Scheme()); err != nil {
		return err
	}
	if err := r.client.Create(ctx, secret); err != nil {
		return fmt.Errorf("creating Secret %q: %w", secret.Name, err)
	}
	return nil
}
