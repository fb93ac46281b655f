package registration

import (
	"context"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// The keys of a Secret that a device connects with.
const (
	secretConnectionString = "connectionString"
	secretPrimaryKey       = "primaryKey"
	secretSecondaryKey     = "secondaryKey"
)

// keepKeys puts the keys into the object's Secret before the hub has them, so that no
// crash can lose them. A Secret with others, which an earlier manager's write has made
// meanwhile, is kept: the next reconcile registers with its keys.
func (r *Registrar) keepKeys(ctx context.Context, keys hub.Credentials) error {
	if r.Stored.Obj.Spec.ConnectionSecretName == "" {
		return nil
	}
	found, err := r.ownSecret(ctx)
	switch {
	case err != nil:
		return err
	case found == nil:
		return r.createSecret(ctx, keys)
	case hashOf(keysOf(found)) != hashOf(keys):
		return outcome.Stale(nil)
	}
	return nil
}

func keysOf(secret *corev1.Secret) hub.Credentials {
	return hub.Credentials{
		Type: hub.AuthSAS, PrimaryKey: string(secret.Data[secretPrimaryKey]), SecondaryKey: string(secret.Data[secretSecondaryKey]),
	}
}

// unregistered is for a device that the status does not know to be registered here,
// and whose Secret is wanted. Where that is there with the keys that the hub holds, the
// status was lost: the Secret may stay, and authorises nothing beyond that, since users
// can write Secrets.
func (r *Registrar) unregistered(ctx context.Context) error {
	found, err := r.ownSecret(ctx)
	if err != nil {
		return err
	}
	if found == nil {
		return r.registeredElsewhere()
	}
	identity, err := r.Session.GetIdentity(ctx, fieldindex.IDOf(r.Stored.Obj))
	if err != nil {
		return err
	}
	if hashOf(keysOf(found)) != hashOf(identity.Credentials) {
		return r.registeredElsewhere()
	}
	return nil
}

// KeepsSecret tells whether an object keeps the keys of a device in a Secret.
func KeepsSecret(obj *v1alpha1.DeviceTwin) bool {
	return obj.Spec.Registration == v1alpha1.RegistrationCreate && obj.Spec.ConnectionSecretName != ""
}

// SecretGone tells whether the Secret of an object has to be made again.
func (r *Registrar) SecretGone(ctx context.Context) (bool, error) {
	found, err := r.ownSecret(ctx)
	return err == nil && found == nil, err
}

// restoreSecret makes the Secret again when it is gone, from the keys that the hub
// holds, provided they are those that were registered here.
func (r *Registrar) restoreSecret(ctx context.Context, note *v1alpha1.RegistrationRecord) error {
	found, err := r.ownSecret(ctx)
	if err != nil || found != nil {
		return err
	}
	identity, err := r.Session.GetIdentity(ctx, fieldindex.IDOf(r.Stored.Obj))
	if err != nil {
		return err
	}
	if identity.GenerationID != note.GenerationID || !slices.Contains(note.Credentials, hashOf(identity.Credentials)) {
		return r.registeredElsewhere()
	}
	return r.createSecret(ctx, identity.Credentials)
}

// ownSecret reads the object's Secret; nil when there is none.
func (r *Registrar) ownSecret(ctx context.Context) (*corev1.Secret, error) {
	name := types.NamespacedName{Namespace: r.Stored.Obj.Namespace, Name: r.Stored.Obj.Spec.ConnectionSecretName}
	var found corev1.Secret
	err := r.SecretReader.Get(ctx, name, &found)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	case !metav1.IsControlledBy(&found, r.Stored.Obj):
		return nil, outcome.Differ(outcome.Stalled, v1alpha1.ReasonSecretNotOwned, fmt.Sprintf(
			"Secret %q exists and is not this object's own: name another in spec.connectionSecretName, or delete it. It was not touched", name.Name))
	}
	return &found, nil
}

func (r *Registrar) createSecret(ctx context.Context, keys hub.Credentials) error {
	id := fieldindex.IDOf(r.Stored.Obj)
	owner := "DeviceId=" + id.Device
	if id.Module != "" {
		owner += ";ModuleId=" + id.Module
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Stored.Obj.Namespace, Name: r.Stored.Obj.Spec.ConnectionSecretName},
		Type:       corev1.SecretTypeOpaque,
		Data: map[string][]byte{
			secretConnectionString: fmt.Appendf(nil, "HostName=%s;%s;SharedAccessKey=%s", r.Session.Host(), owner, keys.PrimaryKey),
			secretPrimaryKey:       []byte(keys.PrimaryKey),
			secretSecondaryKey:     []byte(keys.SecondaryKey),
		},
	}
	if err := controllerutil.SetControllerReference(r.Stored.Obj, secret, r.Client.Scheme()); err != nil {
		return err
	}
	err := r.Client.Create(ctx, secret)
	if apierrors.IsForbidden(err) { // for want of a right, or by a policy or a quota
		if denied := r.mayCreateSecrets(ctx); denied != nil {
			return denied
		}
	}
	if err != nil {
		return fmt.Errorf("creating Secret %q: %w", secret.Name, err)
	}
	return nil
}

// mayCreateSecrets asks the API server for the manager's right, which an installation may
// leave out.
func (r *Registrar) mayCreateSecrets(ctx context.Context) error {
	namespace := r.Stored.Obj.Namespace
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "create", Version: "v1", Resource: "secrets"},
	}}
	if err := r.Client.Create(ctx, review); err != nil {
		return fmt.Errorf("asking whether Secrets may be created in namespace %q: %w", namespace, err)
	}
	if review.Status.Allowed {
		return nil
	}
	return outcome.Stall(v1alpha1.ReasonSecretNotAllowed, fmt.Sprintf(
		"the manager may not create Secrets in namespace %q, and Secret %q of spec.connectionSecretName does not exist: "+
			"grant the manager the role secret-creator-role there (rbac.createSecrets in the Helm chart), or leave out spec.connectionSecretName",
		namespace, r.Stored.Obj.Spec.ConnectionSecretName))
}

// forbiddenStill asks again for a right that was missing, before anything is noted: a note
// for each try would be two writes a minute for good.
func (r *Registrar) forbiddenStill(ctx context.Context) error {
	if !r.lastEffects().SecretForbidden {
		return nil
	}
	return r.mayCreateSecrets(ctx)
}
