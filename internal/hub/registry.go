package hub

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/amenzhinsky/iothub/iotservice"
)

// AuthenticationType is how a device proves who it is.
type AuthenticationType string

// The types of authentication that IoT Hub knows for devices.
const (
	AuthSAS                  AuthenticationType = "sas"
	AuthSelfSigned           AuthenticationType = "selfSigned"
	AuthCertificateAuthority AuthenticationType = "certificateAuthority"
)

// Credentials are what a device or module proves who it is with.
type Credentials struct {
	Type AuthenticationType
	// PrimaryKey and SecondaryKey of type sas, base64 of 16 to 64 bytes.
	PrimaryKey, SecondaryKey string
	// PrimaryThumbprint and SecondaryThumbprint of type selfSigned, in hex.
	PrimaryThumbprint, SecondaryThumbprint string
}

// Identity is an entry of the hub's registry.
type Identity struct {
	// GenerationID tells two devices apart that had the same id one after the other.
	GenerationID string
	// ETag moves with every change of the identity. Bare, without quotes.
	ETag        string
	Credentials Credentials
}

// Registry creates and deletes identities. Its calls need a policy with the RegistryRead and RegistryWrite permissions,
// such as the built-in iothubowner.
type Registry interface {
	// GetIdentity reads an identity, its keys included.
	GetIdentity(ctx context.Context, id ID) (*Identity, error)

	// CreateIdentity registers a device or module. When there is one already, the reason is ReasonAlreadyExists and
	// nothing is changed.
	CreateIdentity(ctx context.Context, id ID, credentials Credentials) (*Identity, error)

	// UpdateIdentity replaces the credentials of a device or module that was created by
	// CreateIdentity, and so has nothing else that a replacement would drop, provided its
	// etag is still the given one.
	UpdateIdentity(ctx context.Context, id ID, etag string, credentials Credentials) (*Identity, error)

	// DeleteIdentity deletes a device or module with its twin, provided its etag is still the given one.
	DeleteIdentity(ctx context.Context, id ID, etag string) error
}

// GetIdentity implements Registry.
func (s *session) GetIdentity(ctx context.Context, id ID) (*Identity, error) {
	ex := &exchange{op: opGetIdentity, id: id}
	if err := id.check(); err != nil {
		return nil, s.refused(ex, err.Error())
	}
	var err error
	if id.Module == "" {
		_, err = s.client.GetDevice(withExchange(ctx, ex), id.Device)
	} else {
		_, err = s.client.GetModule(withExchange(ctx, ex), id.Device, id.Module)
	}
	return s.answeredIdentity(ctx, ex, err)
}

// CreateIdentity implements Registry.
func (s *session) CreateIdentity(ctx context.Context, id ID, credentials Credentials) (*Identity, error) {
	ex := &exchange{op: opCreateIdentity, id: id, secrets: []string{credentials.PrimaryKey, credentials.SecondaryKey}}
	if err := id.check(); err != nil {
		return nil, s.refused(ex, err.Error())
	}
	authentication := authenticationOf(credentials)
	var err error
	if id.Module == "" {
		_, err = s.client.CreateDevice(withExchange(ctx, ex), &iotservice.Device{DeviceID: id.Device, Authentication: authentication})
	} else {
		_, err = s.client.CreateModule(withExchange(ctx, ex), &iotservice.Module{
			DeviceID: id.Device, ModuleID: id.Module, Authentication: authentication,
		})
	}
	return s.answeredIdentity(ctx, ex, err)
}

// UpdateIdentity implements Registry.
func (s *session) UpdateIdentity(ctx context.Context, id ID, etag string, credentials Credentials) (*Identity, error) {
	ex := &exchange{op: opUpdateIdentity, id: id, secrets: []string{credentials.PrimaryKey, credentials.SecondaryKey}}
	if err := id.check(); err != nil {
		return nil, s.refused(ex, err.Error())
	}
	if err := checkETag(etag); err != nil {
		return nil, s.refused(ex, err.Error())
	}
	authentication := authenticationOf(credentials)
	var err error
	if id.Module == "" {
		_, err = s.client.UpdateDevice(withExchange(ctx, ex), &iotservice.Device{DeviceID: id.Device, ETag: etag, Authentication: authentication})
	} else {
		_, err = s.client.UpdateModule(withExchange(ctx, ex), &iotservice.Module{
			DeviceID: id.Device, ModuleID: id.Module, ETag: etag, Authentication: authentication,
		})
	}
	return s.answeredIdentity(ctx, ex, err)
}

func authenticationOf(credentials Credentials) *iotservice.Authentication {
	authentication := &iotservice.Authentication{Type: iotservice.AuthType(credentials.Type)}
	switch credentials.Type {
	case AuthSAS:
		authentication.SymmetricKey = &iotservice.SymmetricKey{PrimaryKey: credentials.PrimaryKey, SecondaryKey: credentials.SecondaryKey}
	case AuthSelfSigned:
		authentication.X509Thumbprint = &iotservice.X509Thumbprint{
			PrimaryThumbprint: credentials.PrimaryThumbprint, SecondaryThumbprint: credentials.SecondaryThumbprint,
		}
	case AuthCertificateAuthority: // the hub has the authorities' certificates
	}
	return authentication
}

// DeleteIdentity implements Registry.
func (s *session) DeleteIdentity(ctx context.Context, id ID, etag string) error {
	ex := &exchange{op: opDeleteIdentity, id: id}
	if err := id.check(); err != nil {
		return s.refused(ex, err.Error())
	}
	if err := checkETag(etag); err != nil {
		return s.refused(ex, err.Error())
	}
	var err error
	if id.Module == "" {
		err = s.client.DeleteDevice(withExchange(ctx, ex), &iotservice.Device{DeviceID: id.Device, ETag: etag})
	} else {
		err = s.client.DeleteModule(withExchange(ctx, ex), &iotservice.Module{DeviceID: id.Device, ModuleID: id.Module, ETag: etag})
	}
	if ex.status == http.StatusNoContent {
		return nil
	}
	if err == nil {
		return s.unexpected(ex, "it does not say that the identity is deleted")
	}
	return s.failure(ctx, ex, err)
}

// answeredIdentity reads the identity out of the answer itself, like answeredTwin.
func (s *session) answeredIdentity(ctx context.Context, ex *exchange, err error) (*Identity, error) {
	if ex.status != http.StatusOK {
		if err == nil {
			return nil, s.unexpected(ex, "it holds no identity")
		}
		return nil, s.failure(ctx, ex, err)
	}
	var w struct {
		DeviceID, ModuleID, GenerationID, ETag string
		Authentication                         struct {
			Type           AuthenticationType
			SymmetricKey   struct{ PrimaryKey, SecondaryKey string }
			X509Thumbprint struct{ PrimaryThumbprint, SecondaryThumbprint string }
		}
	}
	if json.Unmarshal(ex.body, &w) != nil || w.DeviceID != ex.id.Device || w.ModuleID != ex.id.Module ||
		w.GenerationID == "" || checkETag(w.ETag) != nil {
		return nil, s.unexpected(ex, "the answer is not the identity that was asked for")
	}
	keys, thumbprints := w.Authentication.SymmetricKey, w.Authentication.X509Thumbprint
	return &Identity{GenerationID: w.GenerationID, ETag: w.ETag, Credentials: Credentials{
		Type:       w.Authentication.Type,
		PrimaryKey: keys.PrimaryKey, SecondaryKey: keys.SecondaryKey,
		PrimaryThumbprint: thumbprints.PrimaryThumbprint, SecondaryThumbprint: thumbprints.SecondaryThumbprint,
	}}, nil
}
