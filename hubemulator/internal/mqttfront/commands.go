package mqttfront

import (
	"context"
	"net/http"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// commandSender returns what queues a message from the cloud for those who
// subscribed to filter. The sender of the message waits for it, so it must not
// wait for the device.
func (c *conn) commandSender(filter string) func(store.Command) {
	return func(m store.Command) {
		qos, subscribed := c.grantedQoS(filter)
		if !subscribed {
			return
		}
		outgoing := &message{
			topic: commandTopic(filter, m), payload: m.Body, qos: qos, operation: opCommand, again: m.Again,
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
func (c *conn) obeyFault(ctx context.Context, operation string) (fault.Verdict, error) {
	verdict, err := c.server.cfg.Faults.Apply(ctx, operation, c.id.Device)
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
