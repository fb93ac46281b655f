package service

import "github.com/devicetwin-io/devicetwin-operator/internal/query"

// Choices settle what IoT Hub does neither by its documents nor by any record.
// The zero value is what this hub does unless told otherwise.
type Choices struct {
	// Dialect is how queries are read.
	Dialect query.Dialect
	// ThrottleFirstPages lets only the first page of a query's answer count for
	// the throttle of queries.
	ThrottleFirstPages bool
	// EmptyFirstPage answers every query with a page without rows first, and
	// the rows behind its continuation.
	EmptyFirstPage bool
	// BillRejected bills calls that the hub refuses by what they brought. What
	// it refuses since its throttles or its quota are used up is not billed.
	BillRejected bool
	// JobRights and ConfigurationRights are what a shared access policy has to
	// grant for scheduled jobs, and for configurations.
	JobRights, ConfigurationRights Rights
	// ServiceAtDeviceName offers the service API also at the hub's name for
	// devices.
	ServiceAtDeviceName bool
}
