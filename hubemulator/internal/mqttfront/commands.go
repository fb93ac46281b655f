package mqttfront

import (
	"net/http"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// restoreCommands goes on with a subscription for messages from the cloud that
// the device made on an earlier connection: the only thing that a connection
// without a clean session takes over.
func (c *conn) restoreCommands(client *mqtt.Client) {
	kept, found := c.session.KeptCommands()
	if !found {
		return
	}
	c.sessionPresent = true
	client.State.Subscriptions.Add(kept.Filter, packets.Subscription{Filter: kept.Filter, Qos: kept.QoS})
	c.subscribed(kept.Filter, kept.QoS)
}

// commandSender returns what queues a message from the cloud for those who
// subscribed to filter. The sender of the message waits for it, so it must not
// wait for the device.
func (c *conn) commandSender(filter string) func(store.Command) {
	return func(m store.Command) {
		qos, subscribed := c.grantedQoS(filter)
		if !subscribed {
			return
		}
		outgoing := message{
			topic: commandTopic(filter, m), payload: m.Body, qos: qos, operation: opCommand,
			settled: func() { c.session.CompleteCommand(m) },
		}
		select {
		case c.outgoing <- outgoing:
		default:
			c.stop(errTooSlow)
		}
	}
}

// obeyFault obeys the fault rules for what the hub sends unasked: a status
// loses the message, and a hold delays all that comes after it on the
// connection as well. An error ends the connection.
func (c *conn) obeyFault(operation string) (fault.Verdict, error) {
	verdict, err := c.server.cfg.Faults.Apply(c.ctx, operation, c.id.Device)
	if err != nil {
		return verdict, err
	}
	counters := c.server.cfg.Counters
	switch {
	case verdict.Action == fault.Status:
		counters.Add(operation, verdict.Status)
		return verdict, nil
	case verdict.Action == fault.DropAnswer, cutsBefore(verdict):
		counters.Add(operation, unanswered)
		return verdict, errFault
	}
	counters.Add(operation, http.StatusOK)
	return verdict, nil
}
