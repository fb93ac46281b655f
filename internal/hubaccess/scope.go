package hubaccess

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// Scope is which devices of a hub a namespace may use.
type Scope struct {
	key       types.NamespacedName // of the HubConnection
	namespace string
	limited   bool
	prefixes  []string // with limited
}

// ScopeOf reads what a HubConnection lets a namespace use.
func ScopeOf(conn *v1alpha1.HubConnection, namespace string) Scope {
	s := Scope{key: types.NamespacedName{Namespace: conn.Namespace, Name: conn.Name}, namespace: namespace}
	for _, entry := range conn.Spec.DeviceScopes {
		if entry.Namespace == namespace {
			s.prefixes = append(s.prefixes, entry.DeviceIDPrefix)
		}
	}
	s.limited = len(s.prefixes) > 0 || (len(conn.Spec.DeviceScopes) > 0 && namespace != conn.Namespace)
	return s
}

// Admit refuses devices out of scope, in the same words whether they exist or not.
func (s Scope) Admit(deviceID string) error {
	if s.Covers(deviceID) {
		return nil
	}
	return outcome.Stall(v1alpha1.ReasonDeviceNotAllowed, fmt.Sprintf(
		"HubConnection %s does not let namespace %q use device %q: its owner can add it to spec.deviceScopes", s.key, s.namespace, deviceID))
}

// Names tells whether a device is one that the scopes list for the namespace itself,
// rather than one that they merely leave open.
func (s Scope) Names(deviceID string) bool { return len(s.prefixes) > 0 && s.Covers(deviceID) }

// Covers tells whether a device is in scope.
func (s Scope) Covers(deviceID string) bool {
	return !s.limited || slices.ContainsFunc(s.prefixes, func(prefix string) bool { return strings.HasPrefix(deviceID, prefix) })
}

// Narrow adds the scope to a query's condition, so that a query is no window into
// the devices of others.
func (s Scope) Narrow(condition *query.Condition) (*query.Condition, error) {
	switch {
	case !s.limited:
		return condition, nil
	case len(s.prefixes) == 0:
		return nil, outcome.Stall(v1alpha1.ReasonDeviceNotAllowed, fmt.Sprintf(
			"HubConnection %s does not let namespace %q use any device: its owner can list it in spec.deviceScopes", s.key, s.namespace))
	}
	return query.And(condition, query.StartsWith("deviceId", s.prefixes[0], s.prefixes[1:]...)), nil
}
