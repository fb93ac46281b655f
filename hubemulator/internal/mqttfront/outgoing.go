package mqttfront

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
)

// message is something the hub sends to one device.
type message struct {
	topic        string
	payload      []byte
	qos          byte
	notification bool // of a desired change, rather than an answer
}

// writeLoop sends what is queued, in order, and ends the connection when the
// device's token expires.
func (c *conn) writeLoop() {
	for {
		select {
		case m := <-c.outgoing:
			if err := c.send(m); err != nil {
				c.stop(err)
				return
			}
		case <-c.expiry.C():
			c.stop(errTokenExpired)
			return
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *conn) send(m message) error {
	if m.notification {
		return c.sendNotification(m)
	}
	return c.publish(m)
}

// sendNotification obeys the fault rules for notifications: a status loses it,
// and a hold delays all that comes after it on the connection as well.
func (c *conn) sendNotification(m message) error {
	verdict, err := c.server.cfg.Faults.Apply(c.ctx, opDesiredNotification, c.deviceID)
	if err != nil {
		return err
	}
	counters := c.server.cfg.Counters
	switch verdict.Action {
	case fault.Status:
		counters.Add(opDesiredNotification, verdict.Status)
		return nil
	case fault.DropAnswer:
		counters.Add(opDesiredNotification, 0)
		return errDropAnswer
	}
	counters.Add(opDesiredNotification, http.StatusOK)
	return c.publish(m)
}

func (c *conn) publish(m message) error {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: m.qos},
		TopicName:   m.topic,
		Payload:     m.payload,
	}
	if m.qos > 0 {
		id, err := c.nextPacketID()
		if err != nil {
			return err
		}
		pk.PacketID = id
	}
	return c.client.WritePacket(pk)
}

// nextPacketID numbers what the device has to acknowledge. The library's own
// numbers mix up those of the two directions.
func (c *conn) nextPacketID() (uint16, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unacked) >= maxUnacknowledged {
		return 0, errNoAcks
	}
	for {
		c.packetID++
		if _, used := c.unacked[c.packetID]; c.packetID != 0 && !used {
			c.unacked[c.packetID] = struct{}{}
			return c.packetID, nil
		}
	}
}

func (c *conn) acknowledged(id uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.unacked, id)
}

func (c *conn) grantedQoS(filter string) (qos byte, subscribed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	qos, subscribed = c.granted[filter]
	return qos, subscribed
}

func (c *conn) subscribed(filter string, qos byte) {
	c.mu.Lock()
	c.granted[filter] = qos
	c.mu.Unlock()
	if filter == filterDesired {
		c.session.SubscribeDesired(c.notify)
	}
}

func (c *conn) unsubscribed(filter string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.granted, filter)
}

// notify queues a desired change. It must not wait for the device: the writer
// of the change waits for it.
func (c *conn) notify(version int64, patch map[string]any) {
	qos, subscribed := c.grantedQoS(filterDesired)
	if !subscribed {
		return
	}
	update := maps.Clone(patch)
	if update == nil {
		update = map[string]any{}
	}
	update["$version"] = version
	payload, err := json.Marshal(update)
	if err != nil {
		c.stop(err)
		return
	}
	m := message{
		topic:        "$iothub/twin/PATCH/properties/desired/?$version=" + strconv.FormatInt(version, 10),
		payload:      payload,
		qos:          qos,
		notification: true,
	}
	select {
	case c.outgoing <- m:
	default:
		c.stop(errTooSlow)
	}
}
