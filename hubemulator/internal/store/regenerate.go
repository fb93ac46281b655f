package store

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// What RegenerateKeys can do: make a key anew, or exchange the two.
const (
	renewPrimary   = "primaryKey"
	renewSecondary = "secondaryKey"
	renewSwap      = "swap"
)

// RegeneratedKeys is the hub's answer to a call for new keys. Its form is what
// az reads of it; the rest is not established.
type RegeneratedKeys struct {
	PolicyKey   string            `json:"policyKey"`
	RotatedKeys []RegeneratedKey  `json:"rotatedKeys"`
	Errors      []RegenerateFault `json:"errors"`
}

// RegeneratedKey has the keys of one device or module as they are now.
type RegeneratedKey struct {
	ID           string   `json:"id"`
	ModuleID     string   `json:"moduleId,omitempty"`
	PrimaryKey   optional `json:"primaryKey"`
	SecondaryKey optional `json:"secondaryKey"`
}

// RegenerateFault says why one device or module has no new keys.
type RegenerateFault struct {
	ID          string `json:"id"`
	ModuleID    string `json:"moduleId,omitempty"`
	ErrorCode   int    `json:"errorCode"`
	ErrorStatus string `json:"errorStatus"`
}

// RegenerateKeys makes the primary or the secondary key of devices and modules
// anew, or exchanges the two, each device by itself. An error means that nothing was done.
func (s *Store) RegenerateKeys(body []byte) (RegeneratedKeys, error) {
	var wanted struct {
		PolicyKey string `json:"policyKey"`
		Devices   []struct {
			ID       string `json:"id"`
			ModuleID string `json:"moduleId"`
		} `json:"devices"`
	}
	if err := parseJSON(body, &wanted); err != nil {
		return RegeneratedKeys{}, err
	}
	if !slices.Contains([]string{renewPrimary, renewSecondary, renewSwap}, wanted.PolicyKey) {
		return RegeneratedKeys{}, invalidArgument("'policyKey' should be '%s', '%s' or '%s'", renewPrimary, renewSecondary, renewSwap)
	}
	if len(wanted.Devices) > maxBulk {
		return RegeneratedKeys{}, &Error{http.StatusRequestEntityTooLarge, 413002, "TooManyDevices",
			fmt.Sprintf("A call should have maximum %d devices", maxBulk)}
	}
	result := RegeneratedKeys{PolicyKey: wanted.PolicyKey, RotatedKeys: []RegeneratedKey{}, Errors: []RegenerateFault{}}
	for _, one := range wanted.Devices {
		var keys authentication
		err := s.locked(func() (err error) {
			keys, err = s.regenerate(ID{Device: one.ID, Module: one.ModuleID}, wanted.PolicyKey)
			return err
		})
		if refused, isRefusal := errors.AsType[*Error](err); isRefusal {
			result.Errors = append(result.Errors, RegenerateFault{
				ID: one.ID, ModuleID: one.ModuleID, ErrorCode: refused.Number, ErrorStatus: refused.Text,
			})
			continue
		}
		result.RotatedKeys = append(result.RotatedKeys, RegeneratedKey{
			ID: one.ID, ModuleID: one.ModuleID, PrimaryKey: keys.SymmetricKey.Primary, SecondaryKey: keys.SymmetricKey.Secondary,
		})
	}
	return result, nil
}

// regenerate runs in locked.
func (s *Store) regenerate(id ID, what string) (authentication, error) {
	found, err := s.findIdentity(id)
	switch {
	case err != nil:
		return authentication{}, err
	case found.identity.auth.Type != authSAS:
		return authentication{}, invalidArgument("'%s' does not sign in with keys", id.Device)
	}
	renewed := &found.edit().identity
	keys := &renewed.auth.SymmetricKey
	switch what {
	case renewPrimary:
		keys.Primary = optional(mintKey())
	case renewSecondary:
		keys.Secondary = optional(mintKey())
	default:
		keys.Primary, keys.Secondary = keys.Secondary, keys.Primary
	}
	renewed.writes++
	s.endUnfounded(found)
	s.changed(found)
	return found.identity.auth, nil
}
