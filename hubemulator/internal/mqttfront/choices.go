package mqttfront

import "errors"

// Choices settle what IoT Hub does neither by its documents nor by any record.
// The zero value is what this hub does unless told otherwise.
type Choices struct {
	// CutAtSixthSubscription cuts the connection of a device that subscribes to
	// more filters than the hub allows, instead of refusing the filter.
	CutAtSixthSubscription bool
	// CutAtForeignFilter cuts the connection of a device that subscribes to a
	// filter that the hub does not offer it, instead of refusing the filter.
	CutAtForeignFilter bool
	// IgnoreForeignTopics drops what a device publishes to a topic that is not
	// one of its own, instead of cutting the connection.
	IgnoreForeignTopics bool
	// AlwaysUnauthorized refuses every connection with CONNACK 5, not
	// authorized, also where the protocol has a code that fits better.
	AlwaysUnauthorized bool
	// BillRejected bills twin requests that the hub refuses.
	BillRejected bool
}

var (
	errTooManySubscriptions = errors.New("the client subscribed to more filters than IoT Hub allows")
	errForeignFilter        = errors.New("the client subscribed to a filter that is not one of its own")
)

// connack is the return code for a connection that is refused.
func (c Choices) connack(refusal *refusalError) byte {
	if c.AlwaysUnauthorized {
		return connackNotAuthorized
	}
	return refusal.code
}

// cuts reports whether a refused subscription ends the connection.
func (c Choices) cuts(refusal error) bool {
	return c.CutAtSixthSubscription && errors.Is(refusal, errTooManySubscriptions) ||
		c.CutAtForeignFilter && errors.Is(refusal, errForeignFilter)
}
