package store

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"
)

// optional is a text that the hub shows as null while it is not set.
type optional string

func (o optional) value() any {
	if o == "" {
		return nil
	}
	return string(o)
}

// MarshalJSON implements json.Marshaler.
func (o optional) MarshalJSON() ([]byte, error) { return json.Marshal(o.value()) }

// authentication is how a device proves who it is.
type authentication struct {
	SymmetricKey struct {
		Primary   optional `json:"primaryKey"`
		Secondary optional `json:"secondaryKey"`
	} `json:"symmetricKey"`
	X509Thumbprint struct {
		Primary   optional `json:"primaryThumbprint"`
		Secondary optional `json:"secondaryThumbprint"`
	} `json:"x509Thumbprint"`
	Type string `json:"type"`
}

// keys returns the keys that the device may sign with.
func (a authentication) keys() []string {
	if a.Type != authSAS {
		return nil
	}
	return []string{string(a.SymmetricKey.Primary), string(a.SymmetricKey.Secondary)}
}

const (
	authSAS        = "sas"
	authSelfSigned = "selfSigned"
	authCA         = "certificateAuthority"
	authNone       = "none"
)

// identityBody is what a client may set of an identity.
type identityBody struct {
	Status         string         `json:"status"`
	StatusReason   string         `json:"statusReason"`
	Authentication authentication `json:"authentication"`
	Capabilities   struct {
		IotEdge bool `json:"iotEdge"`
	} `json:"capabilities"`
	DeviceScope  string   `json:"deviceScope"`
	ParentScopes []string `json:"parentScopes"`
	ManagedBy    optional `json:"managedBy"`
}

// parseIdentity reads the body of a request for the identity with that id.
func parseIdentity(id ID, body []byte) (identity, error) {
	var wanted struct {
		DeviceID string `json:"deviceId"`
		ModuleID string `json:"moduleId"`
		identityBody
	}
	if err := parseJSON(body, &wanted); err != nil {
		return identity{}, err
	}
	if wanted.DeviceID != "" && wanted.DeviceID != id.Device {
		return identity{}, invalidArgument("The device id in the body should be the one in the path")
	}
	if wanted.ModuleID != "" && wanted.ModuleID != id.Module {
		return identity{}, invalidArgument("The module id in the body should be the one in the path")
	}
	return wanted.identity(id)
}

// identity checks what a client set, and gives the rest the hub's defaults.
func (wanted identityBody) identity(id ID) (identity, error) {
	if err := id.check(); err != nil {
		return identity{}, err
	}
	if id.Module != "" {
		wanted.Status, wanted.StatusReason, wanted.Capabilities.IotEdge = "", "", false // a device's only
	}
	if wanted.Status == "" {
		wanted.Status = statusEnabled
	}
	if wanted.Status != statusEnabled && wanted.Status != statusDisabled {
		return identity{}, invalidArgument("'status' should be '%s' or '%s'", statusEnabled, statusDisabled)
	}
	if utf8.RuneCountInString(wanted.StatusReason) > maxStatusReason {
		return identity{}, invalidArgument("'statusReason' should be maximum %d characters", maxStatusReason)
	}
	if err := wanted.Authentication.complete(id.Module != ""); err != nil {
		return identity{}, err
	}
	return identity{
		id: id, status: wanted.Status, statusReason: wanted.StatusReason,
		auth: wanted.Authentication, iotEdge: wanted.Capabilities.IotEdge,
		scopes:    scopes{device: wanted.DeviceScope, parents: wanted.ParentScopes},
		managedBy: wanted.ManagedBy,
	}, nil
}

// complete infers the type, mints keys where they are missing and drops what
// does not belong to the type. Only the hub's own modules do without any: another
// module gets keys instead, and a device is refused.
func (a *authentication) complete(ofModule bool) error {
	switch {
	case a.Type == "" && (a.X509Thumbprint.Primary != "" || a.X509Thumbprint.Secondary != ""):
		a.Type = authSelfSigned
	case a.Type == "", a.Type == authNone && ofModule:
		a.Type = authSAS
	}
	if a.Type != authSelfSigned {
		a.X509Thumbprint.Primary, a.X509Thumbprint.Secondary = "", ""
	}
	switch a.Type {
	case authSAS:
		return a.completeKeys()
	case authSelfSigned:
		if err := a.checkThumbprints(); err != nil {
			return err
		}
	case authCA:
	case authNone:
		return invalidArgument("DeviceAuthenticationTypeIsMissing: 'authentication.type' of a device should not be '%s'", authNone)
	default:
		return invalidArgument("'authentication.type' should be one of '%s', '%s' or '%s'", authSAS, authSelfSigned, authCA)
	}
	a.SymmetricKey.Primary, a.SymmetricKey.Secondary = "", ""
	return nil
}

// thumbprint is what IoT Hub takes for one: SHA-1 or SHA-256 in hex digits, in
// either case, without anything between them.
var thumbprint = regexp.MustCompile(`^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$`)

// checkThumbprints refuses what is none. Without any, a device cannot sign in,
// which is no reason to refuse it.
func (a *authentication) checkThumbprints() error {
	for _, given := range []optional{a.X509Thumbprint.Primary, a.X509Thumbprint.Secondary} {
		if given != "" && !thumbprint.MatchString(string(given)) {
			return invalidArgument("StringIsNotThumbprint: a thumbprint in 'authentication.x509Thumbprint' should be 40 or 64 hex digits")
		}
	}
	return nil
}

// IoT Hub takes device keys of 16 to 64 bytes, both of them or neither.
const minKeyBytes, maxKeyLength = 16, 64

func (a *authentication) completeKeys() error {
	keys := &a.SymmetricKey
	if keys.Primary == "" && keys.Secondary == "" {
		minted := mintKey() + mintKey() // one piece of memory for both
		keys.Primary, keys.Secondary = optional(minted[:len(minted)/2]), optional(minted[len(minted)/2:])
		return nil
	}
	for _, key := range []optional{keys.Primary, keys.Secondary} {
		decoded, err := base64.StdEncoding.DecodeString(string(key))
		if err != nil || len(decoded) < minKeyBytes || len(decoded) > maxKeyLength {
			return invalidArgument("'authentication.symmetricKey' should have both keys, each base64 of %d to %d bytes",
				minKeyBytes, maxKeyLength)
		}
	}
	return nil
}

const (
	maxIDLength   = 128
	idPunctuation = "-.+%_#*?!(),:=@$';"
)

func (id ID) check() error {
	if err := checkID("device", id.Device); err != nil || id.Module == "" {
		return err
	}
	return checkID("module", id.Module)
}

func checkID(kind, text string) error {
	if text == "" || len(text) > maxIDLength {
		return invalidArgument("The %s id should be 1 to %d characters", kind, maxIDLength)
	}
	forbidden := func(r rune) bool {
		isAlphanumeric := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !isAlphanumeric && !strings.ContainsRune(idPunctuation, r)
	}
	if strings.ContainsFunc(text, forbidden) {
		return invalidArgument("The %s id should be ASCII letters, digits and %s", kind, idPunctuation)
	}
	return nil
}
