package mqttfront

import (
	"context"
	"encoding/json"
	"maps"
	"strconv"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
)

// message is something the hub sends to one device.
type message struct {
	topic   string
	payload []byte
	qos     byte
	// operation is set for what the hub sends unasked.
	operation string
	truncated bool // whether the connection ends in the middle of it
	again     bool // whether the device may have got it before
	// sending and sent, if set, are called right before and after the message
	// goes out, and settled once the device has it as far as the QoS tells.
	sending, sent, settled func()
}

// writeLoop sends what is queued, in order, and ends the connection when the
// device's token expires.
func (c *conn) writeLoop(ctx context.Context) {
	var expired <-chan time.Time
	if c.expiry != nil {
		expired = c.expiry.C()
	}
	for {
		select {
		case m := <-c.outgoing:
			if err := c.send(ctx, m); err != nil {
				c.stop(err)
				return
			}
		case <-expired:
			c.stop(errTokenExpired)
			return
		case <-ctx.Done():
			return
		}
	}
}

func (c *conn) send(ctx context.Context, m *message) error {
	if m.operation != "" {
		verdict, err := c.obeyFault(ctx, m.operation)
		if err != nil || verdict.Action == fault.Status {
			return err
		}
		m.truncated = verdict.Action == fault.Truncated
		c.bill(m.operation, m.payload)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.publish(m)
}

func (c *conn) publish(m *message) error {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: m.qos, Dup: m.again && m.qos > 0},
		TopicName:   m.topic,
		Payload:     m.payload,
	}
	if m.qos > 0 {
		id, err := c.nextPacketID(m.settled)
		if err != nil {
			return err
		}
		pk.PacketID = id
	}
	if m.truncated {
		return c.publishHalf(pk)
	}
	if m.sending != nil {
		m.sending()
	}
	if err := c.client.WritePacket(pk); err != nil {
		return err
	}
	if m.sent != nil {
		m.sent()
	}
	if m.qos == 0 && m.settled != nil {
		m.settled()
	}
	return nil
}

// nextPacketID numbers what the device has to acknowledge. The library's own
// numbers mix up those of the two directions.
func (c *conn) nextPacketID(acknowledged func()) (uint16, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unacked) >= maxUnacknowledged {
		return 0, errNoAcks
	}
	for {
		c.packetID++
		if _, used := c.unacked[c.packetID]; c.packetID != 0 && !used {
			c.unacked[c.packetID] = acknowledged
			return c.packetID, nil
		}
	}
}

func (c *conn) acknowledged(id uint16) {
	c.mu.Lock()
	settled := c.unacked[id]
	delete(c.unacked, id)
	c.mu.Unlock()
	if settled != nil {
		settled()
	}
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
	m := &message{
		topic:     "$iothub/twin/PATCH/properties/desired/?$version=" + strconv.FormatInt(version, 10),
		payload:   payload,
		qos:       qos,
		operation: opDesiredNotification,
	}
	select {
	case c.outgoing <- m:
	default:
		c.stop(errTooSlow)
	}
}
