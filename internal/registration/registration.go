package registration

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// maxNoted bounds the hashes, by the schema of status.registration: after that many
// crashes amid a registration the oldest is forgotten.
const maxNoted = 8

// Session is what registration asks a hub.
type Session interface {
	// Host is the hub's name.
	Host() string
	GetIdentity(ctx context.Context, id hub.ID) (*hub.Identity, error)
	CreateIdentity(ctx context.Context, id hub.ID, credentials hub.Credentials) (*hub.Identity, error)
	UpdateIdentity(ctx context.Context, id hub.ID, etag string, credentials hub.Credentials) (*hub.Identity, error)
	DeleteIdentity(ctx context.Context, id hub.ID, etag string) error
}

// InFlight knows which writes may still arrive at a hub.
type InFlight interface {
	// Landed tells whether nothing written for an object can still arrive.
	Landed(uid types.UID) bool
	// Await is an error until that is so, unless nothing was sent.
	Await(obj *v1alpha1.DeviceTwin, nothingSent bool) error
}

// Registrar registers the device or module of an object, at most once.
type Registrar struct {
	// Client creates the Secret; SecretReader is not cached, as no manager holds Secrets.
	Client       client.Client
	SecretReader client.Reader
	Session      Session
	// Stored holds Object, whose status is written ahead of the hub.
	Stored   *outcome.Stored
	Object   *v1alpha1.DeviceTwin
	InFlight InFlight
	// Event tells the object's user what was done.
	Event func(reason, note string)
}

// noted is a copy of what the status says of the registration, as it counts for this
// object and twin.
func (r *Registrar) noted() *v1alpha1.RegistrationRecord {
	fresh := &v1alpha1.RegistrationRecord{Target: fieldindex.TargetName(r.Stored.Obj, r.Session.Host()), UID: string(r.Stored.Obj.UID)}
	note := r.Stored.Obj.Status.Registration
	if note == nil || fieldindex.SameTarget(note.Target) != fresh.Target || note.UID != fresh.UID {
		return fresh
	}
	noted := note.DeepCopy()
	noted.Target = fresh.Target
	return noted
}

// Register registers what the hub does not know. After it, the twin can be read.
func (r *Registrar) Register(ctx context.Context) error {
	before := r.noted()
	if before.GenerationID != "" {
		return outcome.Differ(outcome.Stalled, v1alpha1.ReasonDeviceDeleted, fmt.Sprintf(
			"%s was registered by this object and is gone. It is not registered again: delete this object, or create another", fieldindex.IDOf(r.Stored.Obj)))
	}
	if err := r.refusedStill(ctx); err != nil {
		return err
	}
	credentials, err := r.credentials(ctx, before)
	if err != nil {
		return differing(err)
	}
	note := before.DeepCopy()
	note.Refused = false
	if hash := hashOf(credentials); !slices.Contains(note.Credentials, hash) {
		note.Credentials = append(note.Credentials, hash)
		note.Credentials = note.Credentials[max(0, len(note.Credentials)-maxNoted):]
	}
	noted := r.Stored.Obj.Status.Registration
	r.Stored.Obj.Status.Registration = note
	if err := r.Stored.WriteAhead(ctx); err != nil {
		return err
	}
	if err := r.keepKeys(ctx, credentials); err != nil {
		if outcome.Of(err).Effects().SecretForbidden {
			r.Stored.Obj.Status.Registration = noted // no one else has these keys, and the hub will not
		}
		return differing(err)
	}
	identity, err := r.Session.CreateIdentity(ctx, fieldindex.IDOf(r.Stored.Obj), credentials)
	if hub.ReasonOf(err) == hub.ReasonAlreadyExists {
		identity, err = r.Session.GetIdentity(ctx, fieldindex.IDOf(r.Stored.Obj))
	}
	if err != nil {
		r.refused(before, err)
		return err
	}
	return r.recognize(ctx, identity)
}

// refusedStill asks a hub that refused to register what it refuses just as well without
// anything being noted: a note for each try would be two writes a minute for good.
func (r *Registrar) refusedStill(ctx context.Context) error {
	if !r.lastEffects().CredentialRefused {
		return nil
	}
	_, err := r.Session.GetIdentity(ctx, fieldindex.IDOf(r.Stored.Obj))
	if hub.ReasonOf(err) == hub.ReasonDeviceNotFound {
		return nil
	}
	return err
}

// lastEffects are those of what the last reconcile reported.
func (r *Registrar) lastEffects() outcome.Effects {
	ready := meta.FindStatusCondition(r.Stored.Obj.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return outcome.Effects{}
	}
	return outcome.Outcome{Reason: ready.Reason}.Effects()
}

// differing is an error of what keeps a device from being registered: the hub does not
// hold what is declared, whatever else the error says.
func differing(err error) error {
	out := outcome.Of(err)
	if !out.Effects().SecretForbidden {
		return err
	}
	out.Differs = true
	return outcome.AsError(out)
}

// refused notes that a registration was refused, so that there is nothing to clean up
// behind it. One that was tried before stays noted until it would have arrived.
func (r *Registrar) refused(before *v1alpha1.RegistrationRecord, err error) {
	if hub.OutcomeUnknown(err) || hub.ReasonOf(err) == "" {
		return
	}
	nothingBefore := len(before.Credentials) == 0 || before.Refused
	if nothingBefore || r.InFlight.Landed(r.Stored.Obj.UID) {
		r.Stored.Obj.Status.Registration.Refused = true
	}
}

// Found is called when the twin is there. It finishes a registration that was cut
// short, and keeps the Secret.
func (r *Registrar) Found(ctx context.Context) error {
	note := r.noted()
	switch {
	case note.GenerationID == "" && mayBeRegistered(note), note.AuthenticationPending:
		identity, err := r.Session.GetIdentity(ctx, fieldindex.IDOf(r.Stored.Obj))
		if err != nil {
			return err
		}
		return r.recognize(ctx, identity)
	case r.Stored.Obj.Spec.ConnectionSecretName == "":
		return nil
	case note.GenerationID == "":
		return r.unregistered(ctx)
	}
	return r.restoreSecret(ctx, note)
}

// recognize tells whether an identity is the one that was registered here, and gives it
// the authentication that is declared.
func (r *Registrar) recognize(ctx context.Context, identity *hub.Identity) error {
	note := r.noted()
	if !r.registered(note, identity) {
		r.Stored.Obj.Status.Registration = nil
		if r.Stored.Obj.Spec.ConnectionSecretName != "" {
			return r.registeredElsewhere()
		}
		return nil // another client was faster
	}
	if note.GenerationID == "" {
		r.Event(v1alpha1.EventRegistered, "registered with the hub: "+fieldindex.IDOf(r.Stored.Obj).String())
		note.AuthenticationPending = keyless(r.Stored.Obj)
	}
	note.GenerationID = identity.GenerationID
	r.Stored.Obj.Status.Registration = note
	if !note.AuthenticationPending {
		return nil
	}
	return r.authenticate(ctx, note, identity)
}

// registered tells whether an identity is the one of a note: by its generation, or by
// the keys that nothing else has, while that is not known.
func (r *Registrar) registered(note *v1alpha1.RegistrationRecord, identity *hub.Identity) bool {
	if note.GenerationID != "" {
		return note.GenerationID == identity.GenerationID
	}
	return slices.Contains(note.Credentials, hashOf(identity.Credentials))
}

// authenticate replaces the keys that a device or module was registered with by what is
// declared. Thumbprints and certificate authorities are no secrets: another client
// that registers the same ones would be taken for us, and the device be deleted with our
// object.
func (r *Registrar) authenticate(ctx context.Context, note *v1alpha1.RegistrationRecord, identity *hub.Identity) error {
	if err := r.Stored.WriteAhead(ctx); err != nil {
		return err
	}
	given := r.Stored.Obj.Spec.Authentication
	_, err := r.Session.UpdateIdentity(ctx, fieldindex.IDOf(r.Stored.Obj), identity.ETag, hub.Credentials{
		Type:              hub.AuthenticationType(given.Type),
		PrimaryThumbprint: strings.ToUpper(given.PrimaryThumbprint), SecondaryThumbprint: strings.ToUpper(given.SecondaryThumbprint),
	})
	if err != nil {
		return err
	}
	done := note.DeepCopy()
	done.AuthenticationPending = false
	r.Stored.Obj.Status.Registration = done
	return nil
}

// Deregister deletes the device or module, if it was registered here and is still the same
// one. admit says whether the hub may be changed now.
func (r *Registrar) Deregister(ctx context.Context, admit func() error) (deleted bool, err error) {
	note := r.noted()
	if !mayBeRegistered(note) {
		return false, nil
	}
	identity, err := r.Session.GetIdentity(ctx, fieldindex.IDOf(r.Stored.Obj))
	switch {
	case hub.ReasonOf(err) == hub.ReasonDeviceNotFound:
		// One that may be registered yet by a request on its way is waited for.
		return true, r.InFlight.Await(r.Stored.Obj, note.GenerationID != "")
	case err != nil:
		return false, err
	case !r.registered(note, identity):
		return false, nil // another client's
	}
	if err := admit(); err != nil {
		return false, err
	}
	if err := r.Stored.WriteAhead(ctx); err != nil {
		return false, err
	}
	err = r.Session.DeleteIdentity(ctx, fieldindex.IDOf(r.Stored.Obj), identity.ETag)
	if hub.ReasonOf(err) == hub.ReasonDeviceNotFound {
		err = nil
	}
	return err == nil, err
}

// mayBeRegistered tells whether something may have been registered for an object.
func mayBeRegistered(note *v1alpha1.RegistrationRecord) bool {
	return len(note.Credentials) > 0 && !note.Refused
}

// keyless tells whether devices prove who they are by something else than keys.
func keyless(obj *v1alpha1.DeviceTwin) bool {
	given := obj.Spec.Authentication
	return given != nil && given.Type != string(hub.AuthSAS)
}

func (r *Registrar) registeredElsewhere() error {
	return outcome.Stall(v1alpha1.ReasonRegisteredElsewhere, fmt.Sprintf(
		"another client registered %s, so that there are no keys to keep in Secret %q: leave out spec.connectionSecretName", fieldindex.IDOf(r.Stored.Obj), r.Stored.Obj.Spec.ConnectionSecretName))
}

// credentials are what to register with: keys that are known here alone, by which the
// device is recognized; those of the Secret where an earlier try has left one.
func (r *Registrar) credentials(ctx context.Context, note *v1alpha1.RegistrationRecord) (hub.Credentials, error) {
	fresh := hub.Credentials{Type: hub.AuthSAS, PrimaryKey: newKey(), SecondaryKey: newKey()}
	if r.Stored.Obj.Spec.ConnectionSecretName == "" {
		return fresh, nil
	}
	found, err := r.ownSecret(ctx)
	if err != nil {
		return fresh, err
	}
	if found == nil {
		return fresh, r.forbiddenStill(ctx)
	}
	kept := keysOf(found)
	if !slices.Contains(note.Credentials, hashOf(kept)) {
		return hub.Credentials{}, outcome.Differ(outcome.Stalled, v1alpha1.ReasonDeviceDeleted, fmt.Sprintf(
			"%s is not registered, and Secret %q of this object tells that it was. Delete the Secret to have it registered anew", fieldindex.IDOf(r.Stored.Obj), found.Name))
	}
	return kept, nil
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
