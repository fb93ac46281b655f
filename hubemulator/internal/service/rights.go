package service

import (
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// Rights are the permissions that operations take whose own are not
// established.
type Rights int

const (
	// UsualRights are those that the operation has in the table of routes.
	UsualRights Rights = iota
	// RegistryRights is reading or writing the registry.
	RegistryRights
	// ServiceRights is connecting as a service.
	ServiceRights
	// AllRights are both.
	AllRights
)

// need is what a shared access policy has to grant for an operation.
func (c Choices) need(r route) store.Permission {
	registry := r.permission &^ store.ServiceConnect
	switch c.rightsOf(r) {
	case RegistryRights:
		return registry
	case ServiceRights:
		return store.ServiceConnect
	case AllRights:
		return registry | store.ServiceConnect
	case UsualRights:
	}
	return r.permission
}

func (c Choices) rightsOf(r route) Rights {
	switch r.throttle {
	case throttle.JobRead, throttle.JobWrite:
		return c.JobRights
	case throttle.ConfigurationRead, throttle.ConfigurationWrite:
		return c.ConfigurationRights
	default:
		return UsualRights
	}
}
