package controllers

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// registrationNote is the annotation that tells which device an object registered.
type registrationNote struct {
	// Target and Owner bind the note: a copy of it elsewhere says nothing.
	Target string `json:"target"`
	Owner  string `json:"uid"`
	// Credentials are hashes of what may have been registered.
	Credentials []string `json:"credentials"`
	// GenerationID of the device, once it is known to be registered.
	GenerationID string `json:"generationId,omitempty"`
}

// maxNoted bounds the hashes: after that many crashes amid a registration the
// oldest is forgotten.
const maxNoted = 8

// registrar registers the device or module of an object, at most once.
type registrar struct {
	client       client.Client
	secretReader client.Reader // not cached: the manager holds no Secrets
	session      hub.Session
	obj          *v1alpha1.DeviceTwin
	// event tells the object's user what was done.
	event func(reason, note string)
}

func (r *registrar) target() string { return targetName(r.obj, r.session.Host()) }

// noted reads the note as it counts for this object and twin.
func (r *registrar) noted(ctx context.Context) registrationNote {
	fresh := registrationNote{Target: r.target(), Owner: string(r.obj.UID)}
	text, ok := r.obj.Annotations[v1alpha1.RegistrationAnnotation]
	if !ok {
		return fresh
	}
	var note registrationNote
	if err := json.Unmarshal([]byte(text), &note); err != nil {
		log.FromContext(ctx).Error(err, "the note of the registration is not readable and counts for nothing")
		return fresh
	}
	if note.Target != fresh.Target || note.Owner != fresh.Owner {
		return fresh
	}
	return note
}

// note writes the note, in one metadata write with the finalizer.
func (r *registrar) note(ctx context.Context, note registrationNote) error {
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return annotate(ctx, r.client, r.obj, v1alpha1.RegistrationAnnotation, string(text))
}

// register registers what the hub does not know. After it, the twin can be read.
func (r *registrar) register(ctx context.Context) error {
	note := r.noted(ctx)
	if note.GenerationID != "" {
		return stopDiffering(stalled, v1alpha1.ReasonDeviceDeleted, fmt.Sprintf(
			"%s was registered by this object and is gone. It is not registered again: delete this object, or create another", idOf(r.obj)))
	}
	credentials, err := r.credentials(ctx)
	if err != nil {
		return err
	}
	if hash := hashOf(credentials); !slices.Contains(note.Credentials, hash) {
		note.Credentials = append(note.Credentials, hash)
		note.Credentials = note.Credentials[max(0, len(note.Credentials)-maxNoted):]
	}
	if err := r.note(ctx, note); err != nil {
		return err
	}
	identity, err := r.session.CreateIdentity(ctx, idOf(r.obj), credentials)
	if hub.ReasonOf(err) == hub.ReasonAlreadyExists {
		identity, err = r.session.GetIdentity(ctx, idOf(r.obj))
	}
	if err != nil {
		return err
	}
	return r.recognize(ctx, note, identity)
}

// found is called when the twin is there. It finishes a registration that was cut
// short, and keeps the Secret.
func (r *registrar) found(ctx context.Context) error {
	note := r.noted(ctx)
	if note.GenerationID == "" && len(note.Credentials) > 0 {
		identity, err := r.session.GetIdentity(ctx, idOf(r.obj))
		if err != nil {
			return err
		}
		return r.recognize(ctx, note, identity)
	}
	if r.obj.Spec.ConnectionSecretName == "" {
		return nil
	}
	if note.GenerationID == "" {
		return r.registeredElsewhere()
	}
	return r.restoreSecret(ctx, note)
}

// recognize tells whether an identity is the one that was registered here.
func (r *registrar) recognize(ctx context.Context, note registrationNote, identity *hub.Identity) error {
	if slices.Contains(note.Credentials, hashOf(identity.Credentials)) {
		note.GenerationID = identity.GenerationID
		if err := r.note(ctx, note); err != nil {
			return err
		}
		r.event(v1alpha1.EventRegistered, "registered with the hub: "+idOf(r.obj).String())
		return nil
	}
	if err := annotate(ctx, r.client, r.obj, v1alpha1.RegistrationAnnotation, ""); err != nil {
		return err
	}
	if r.obj.Spec.ConnectionSecretName != "" {
		return r.registeredElsewhere()
	}
	return nil // somebody else was faster
}

func (r *registrar) registeredElsewhere() error {
	return stopStalled(v1alpha1.ReasonRegisteredElsewhere, fmt.Sprintf(
		"somebody else registered %s, so that there are no keys to keep in Secret %q: leave out spec.connectionSecretName", idOf(r.obj), r.obj.Spec.ConnectionSecretName))
}

// credentials are what to register: given thumbprints, or keys, which are in the
// Secret before the hub has them so that no crash can lose them.
func (r *registrar) credentials(ctx context.Context) (hub.Credentials, error) {
	if given := r.obj.Spec.Authentication; given != nil && given.Type != string(hub.AuthSAS) {
		return hub.Credentials{
			Type:              hub.AuthenticationType(given.Type),
			PrimaryThumbprint: strings.ToUpper(given.PrimaryThumbprint), SecondaryThumbprint: strings.ToUpper(given.SecondaryThumbprint),
		}, nil
	}
	fresh := hub.Credentials{Type: hub.AuthSAS, PrimaryKey: newKey(), SecondaryKey: newKey()}
	if r.obj.Spec.ConnectionSecretName == "" {
		return fresh, nil
	}
	return r.secretKeys(ctx, fresh)
}

// newKey returns a key as IoT Hub makes them: 32 random bytes.
func newKey() string {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails: it ends the process if the system has no randomness
	return base64.StdEncoding.EncodeToString(key[:])
}

// hashOf tells credentials apart without giving them away: keys are 32 random
// bytes. Hubs differ in the case of thumbprints.
func hashOf(c hub.Credentials) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		string(c.Type), c.PrimaryKey, c.SecondaryKey, strings.ToUpper(c.PrimaryThumbprint), strings.ToUpper(c.SecondaryThumbprint),
	}, "\n")))
	return hex.EncodeToString(sum[:])
}

// annotate writes an annotation, "" to drop it, and brings the finalizer in line
// with the deletion policy in the same write. It carries the resourceVersion, so
// that an old copy of the object cannot overwrite a newer one.
func annotate(ctx context.Context, c client.Client, obj *v1alpha1.DeviceTwin, key, value string) error {
	before := obj.DeepCopy()
	if obj.Annotations == nil {
		obj.Annotations = map[string]string{}
	}
	if obj.Annotations[key] = value; value == "" {
		delete(obj.Annotations, key)
	}
	alignFinalizer(obj)
	if err := c.Patch(ctx, obj, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("writing the annotation %s: %w", key, err)
	}
	return nil
}

// alignFinalizer keeps the finalizer just where there is something to clean up.
func alignFinalizer(obj *v1alpha1.DeviceTwin) {
	if cleansUp(obj) {
		controllerutil.AddFinalizer(obj, v1alpha1.CleanupFinalizer)
	} else {
		controllerutil.RemoveFinalizer(obj, v1alpha1.CleanupFinalizer)
	}
}

// cleansUp tells whether the hub is to be cleaned up behind an object.
func cleansUp(obj *v1alpha1.DeviceTwin) bool {
	return obj.Spec.DeletionPolicy == v1alpha1.DeletionClear || obj.Spec.DeletionPolicy == v1alpha1.DeletionDelete
}
