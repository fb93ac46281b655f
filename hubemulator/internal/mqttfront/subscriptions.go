package mqttfront

import (
	"maps"
	"slices"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// restoreSubscriptions goes on with the subscriptions that the device made on
// earlier connections. Microsoft's client libraries count on it: after they
// have renewed a token, they do not subscribe again.
func (c *conn) restoreSubscriptions(client *mqtt.Client) {
	kept := c.session.KeptSubscriptions()
	c.sessionPresent = len(kept) > 0
	for _, filter := range slices.Sorted(maps.Keys(kept)) {
		client.State.Subscriptions.Add(filter, packets.Subscription{Filter: filter, Qos: kept[filter]})
		c.subscribed(filter, kept[filter])
	}
}

// subscribed puts a subscription in force.
func (c *conn) subscribed(filter string, qos byte) {
	c.mu.Lock()
	c.granted[filter] = qos
	c.mu.Unlock()
	if c.persistent {
		c.session.KeepSubscription(filter, qos)
	}
	switch {
	case filter == filterDesired:
		c.session.SubscribeDesired(c.notify)
	case filter == filterMethods:
		c.session.ServeMethods(c.callMethod)
	case isCommandFilter(c.id, filter):
		c.session.SubscribeCommands(c.persistent, c.commandSender(filter))
	}
}

// unsubscribed ends a subscription for good.
func (c *conn) unsubscribed(filter string) {
	c.mu.Lock()
	delete(c.granted, filter)
	c.mu.Unlock()
	c.session.DropSubscription(filter)
	switch {
	case filter == filterDesired:
		c.session.SubscribeDesired(nil)
	case filter == filterMethods:
		c.session.ServeMethods(nil)
	case isCommandFilter(c.id, filter):
		c.session.UnsubscribeCommands()
	}
}

// grantedQoS returns the QoS of a subscription that is in force.
func (c *conn) grantedQoS(filter string) (qos byte, subscribed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	qos, subscribed = c.granted[filter]
	return qos, subscribed
}
