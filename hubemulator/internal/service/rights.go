package service

import "github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"

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

func jobRights(c Choices) Rights           { return c.JobRights }
func configurationRights(c Choices) Rights { return c.ConfigurationRights }

// need is what a shared access policy has to grant for an operation.
func (c Choices) need(r *route) store.Permission {
	rights := UsualRights
	if r.rights != nil {
		rights = r.rights(c)
	}
	registry := r.permission &^ store.ServiceConnect
	switch rights {
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
