package store

import (
	"slices"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/sas"
)

// Permission is one of the four rights an IoT Hub policy can grant.
type Permission string

// The permissions of an IoT Hub.
const (
	RegistryRead   Permission = "RegistryRead"
	RegistryWrite  Permission = "RegistryWrite"
	ServiceConnect Permission = "ServiceConnect"
	DeviceConnect  Permission = "DeviceConnect"
)

// Policy is a shared access policy: a named pair of keys with permissions.
type Policy struct {
	Name         string
	PrimaryKey   string
	SecondaryKey string
	Permissions  []Permission
}

func defaultPolicies() []Policy {
	mint := func(name string, permissions ...Permission) Policy {
		return Policy{Name: name, PrimaryKey: mintKey(), SecondaryKey: mintKey(), Permissions: permissions}
	}
	return []Policy{
		mint("iothubowner", RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect),
		mint("service", ServiceConnect),
		mint("device", DeviceConnect),
		mint("registryRead", RegistryRead),
		mint("registryReadWrite", RegistryRead, RegistryWrite),
	}
}

// Policies returns the hub's shared access policies, keys included.
func (s *Store) Policies() []Policy {
	return slices.Clone(s.policies)
}

// AuthorizeService checks a token presented to the service API for the
// resource at path (decoded segments, without the host). Every refusal is the
// same Unauthorized error.
func (s *Store) AuthorizeService(token string, need Permission, path ...string) error {
	parsed, err := sas.Parse(token)
	if err != nil || parsed.KeyName == "" {
		return Unauthorized()
	}
	if !s.policyGrants(parsed, need) || !s.acceptable(parsed, path) {
		return Unauthorized()
	}
	return nil
}

func (s *Store) acceptable(token sas.Token, path []string) bool {
	return !token.ExpiredAt(s.clock.Now()) && token.Covers(s.hostNames, path...)
}

func (s *Store) policyGrants(token sas.Token, need Permission) bool {
	for _, policy := range s.policies {
		if policy.Name == token.KeyName {
			return slices.Contains(policy.Permissions, need) &&
				(token.SignedWith(policy.PrimaryKey) || token.SignedWith(policy.SecondaryKey))
		}
	}
	return false
}

// Credential is a device's accepted proof of who it is.
type Credential struct {
	DeviceID string
	// ExpiresAt is when the token expires: the hub then cuts the connection.
	ExpiresAt time.Time

	generation string
	key        string // the device key that signed; empty for a policy's token
}

// AuthenticateDevice checks the token that a device presents to connect. It
// accepts the device's own keys and policies with DeviceConnect. A missing or
// disabled device and a bad token are all the same Unauthorized error.
func (s *Store) AuthenticateDevice(deviceID, token string) (Credential, error) {
	parsed, err := sas.Parse(token)
	if err != nil || !s.acceptable(parsed, []string{"devices", deviceID}) {
		return Credential{}, Unauthorized()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d, found := s.devices[deviceID]
	if !found || d.identity.status != statusEnabled {
		return Credential{}, Unauthorized()
	}
	credential := Credential{DeviceID: deviceID, ExpiresAt: parsed.Expiry, generation: d.identity.generationID}
	if parsed.KeyName != "" {
		if !s.policyGrants(parsed, DeviceConnect) {
			return Credential{}, Unauthorized()
		}
		return credential, nil
	}
	for _, key := range d.identity.auth.keys() {
		if parsed.SignedWith(key) {
			credential.key = key
			return credential, nil
		}
	}
	return Credential{}, Unauthorized()
}

// holds reports whether a credential is still good for the device as it is now.
func (c Credential) holds(d *device) bool {
	return d != nil && d.identity.generationID == c.generation && d.identity.status == statusEnabled &&
		(c.key == "" || slices.Contains(d.identity.auth.keys(), c.key))
}
