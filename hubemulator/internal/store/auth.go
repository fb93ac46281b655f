package store

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/sas"
)

// Permission is a set of the four rights that an IoT Hub policy can grant.
type Permission uint8

// The permissions of an IoT Hub.
const (
	RegistryRead Permission = 1 << iota
	RegistryWrite
	ServiceConnect
	DeviceConnect
)

// permissionNames are those that IoT Hub has, in the order of their bits.
var permissionNames = [...]string{"RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"}

// MarshalJSON implements json.Marshaler: a list of names.
func (p Permission) MarshalJSON() ([]byte, error) {
	names := []string{}
	for i, name := range permissionNames {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return json.Marshal(names)
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Permission) UnmarshalJSON(text []byte) error {
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return err
	}
	*p = 0
	for _, name := range names {
		i := slices.Index(permissionNames[:], name)
		if i < 0 {
			return fmt.Errorf("there is no permission %q", name)
		}
		*p |= 1 << i
	}
	return nil
}

// Policy is a shared access policy: a named pair of keys with permissions.
type Policy struct {
	Name         string
	PrimaryKey   string
	SecondaryKey string
	Permissions  Permission
}

func defaultPolicies() []Policy {
	mint := func(name string, permissions Permission) Policy {
		return Policy{Name: name, PrimaryKey: mintKey(), SecondaryKey: mintKey(), Permissions: permissions}
	}
	return []Policy{
		mint("iothubowner", RegistryRead|RegistryWrite|ServiceConnect|DeviceConnect),
		mint("service", ServiceConnect),
		mint("device", DeviceConnect),
		mint("registryRead", RegistryRead),
		mint("registryReadWrite", RegistryRead|RegistryWrite),
	}
}

// SetPolicyKey gives a shared access policy another primary key. It has to be called
// before the store is used.
func (s *Store) SetPolicyKey(name, key string) error {
	if decoded, err := base64.StdEncoding.DecodeString(key); err != nil || len(decoded) < minKeyBytes || len(decoded) > maxKeyLength {
		return fmt.Errorf("it should be base64 of %d to %d bytes", minKeyBytes, maxKeyLength)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.policies {
		if s.policies[i].Name == name {
			s.policies[i].PrimaryKey = key
			s.revision++
			return nil
		}
	}
	return errors.New("there is no such policy")
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
	if s.keyless {
		return false
	}
	for _, policy := range s.policies {
		if policy.Name == token.KeyName {
			return policy.Permissions&need == need &&
				(token.SignedWith(policy.PrimaryKey) || token.SignedWith(policy.SecondaryKey))
		}
	}
	return false
}

// Credential is a device's or module's accepted proof of who it is.
type Credential struct {
	ID ID
	// ExpiresAt is when the token expires: the hub then cuts the connection.
	// Zero for a certificate: the connection is good for as long as it lasts.
	ExpiresAt time.Time

	generation ticks
	key        string                    // its own key that signed; empty for a policy's token
	accepts    func(authentication) bool // of a certificate, else nil
}

// AuthenticateDevice checks the token that a device presents to connect. It
// accepts the device's own keys and policies with DeviceConnect. A missing or
// disabled device and a bad token are all the same Unauthorized error.
func (s *Store) AuthenticateDevice(deviceID, token string) (Credential, error) {
	return s.authenticate(ID{Device: deviceID}, token, "devices", deviceID)
}

// AuthenticateModule is AuthenticateDevice for one of a device's modules. It
// accepts the module's own keys, not the device's, unless the module is one of
// the system modules.
func (s *Store) AuthenticateModule(deviceID, moduleID, token string) (Credential, error) {
	return s.authenticate(ID{Device: deviceID, Module: moduleID}, token, "devices", deviceID, "modules", moduleID)
}

func (s *Store) authenticate(id ID, token string, path ...string) (Credential, error) {
	parsed, err := sas.Parse(token)
	if err != nil || !s.acceptable(parsed, path) {
		return Credential{}, Unauthorized()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.lookup(id)
	if d == nil || !s.enabled(id) {
		return Credential{}, Unauthorized()
	}
	credential := Credential{ID: id, ExpiresAt: parsed.Expiry, generation: d.identity.generation}
	if parsed.KeyName != "" {
		if !s.policyGrants(parsed, DeviceConnect) {
			return Credential{}, Unauthorized()
		}
		return credential, nil
	}
	for _, key := range s.keysOf(d) {
		if parsed.SignedWith(key) {
			credential.key = key
			return credential, nil
		}
	}
	return Credential{}, Unauthorized()
}

// holds reports whether a credential is still good for its owner as it is now.
func (s *Store) holds(c Credential) bool {
	d := s.lookup(c.ID)
	return d != nil && d.identity.generation == c.generation && s.enabled(c.ID) &&
		(c.key == "" || slices.Contains(s.keysOf(d), c.key)) &&
		(c.accepts == nil || c.accepts(d.identity.auth))
}
