package mqttfront

import (
	"errors"
	"fmt"
	"strconv"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

var (
	errQoS2         = errors.New("the client published with QoS 2, which IoT Hub does not support")
	errForeignTopic = errors.New("the client published to a topic that is not one of its own")
)

// hook puts the hub's behaviour in the place of a broker's.
type hook struct {
	mqtt.HookBase
	server *Server
}

// ID names the hook.
func (h *hook) ID() string { return "iothub" }

// Provides lists the calls that the hook wants.
func (h *hook) Provides(call byte) bool {
	switch call {
	case mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPacketSent, mqtt.OnConnect, mqtt.OnConnectAuthenticate,
		mqtt.OnACLCheck, mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnUnsubscribed, mqtt.OnPublish:
		return true
	default:
		return false
	}
}

func connOf(client *mqtt.Client) (*conn, error) {
	c, ok := client.Net.Conn.(*conn)
	if !ok {
		return nil, fmt.Errorf("client %q came by another way than our listener", client.ID)
	}
	return c, nil
}

// OnConnect decides about a CONNECT.
func (h *hook) OnConnect(client *mqtt.Client, pk packets.Packet) error {
	c, err := connOf(client)
	if err != nil {
		return err
	}
	if err := c.accept(client, pk); err != nil {
		c.stop(err)
		return err
	}
	// To the library every connection is a client of its own, without a past.
	// Its takeover sends a packet that MQTT 3.1.1 forbids, restores what a
	// clean session forgot, and may drop the newer connection.
	client.ID = client.ID + "/" + strconv.Itoa(c.serial)
	client.Properties.Clean = true
	client.Properties.Will = mqtt.Will{} // conn keeps track of it
	return nil
}

// OnConnectAuthenticate has nothing left to decide.
func (h *hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnPacketRead sees every packet first. The library closes the connection only
// for ErrRejectPacket.
func (h *hook) OnPacketRead(client *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c, err := connOf(client)
	if err != nil {
		return pk, packets.ErrRejectPacket
	}
	switch pk.FixedHeader.Type {
	case packets.Connect:
		if err := c.fitConnect(&pk); err != nil {
			c.stop(err)
			return pk, packets.ErrRejectPacket
		}
	case packets.Publish:
		if err := c.checkPublish(pk); err != nil {
			c.stop(err)
			return pk, packets.ErrRejectPacket
		}
	case packets.Puback:
		c.acknowledged(pk.PacketID)
	case packets.Disconnect:
		c.mu.Lock()
		c.left = true
		c.mu.Unlock()
	}
	return pk, nil
}

func (c *conn) checkPublish(pk packets.Packet) error {
	switch {
	case pk.FixedHeader.Qos > maxQoS:
		return errQoS2
	case parseTopic(c.id, pk.TopicName).kind == topicForeign && !c.server.cfg.Choices.IgnoreForeignTopics:
		return fmt.Errorf("%w: %q", errForeignTopic, pk.TopicName)
	default:
		return nil
	}
}

// OnPublish takes every message, so that it goes to the hub alone.
func (h *hook) OnPublish(client *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c, err := connOf(client)
	if err != nil {
		return pk, packets.ErrRejectPacket
	}
	r := &request{topic: parseTopic(c.id, pk.TopicName), payload: pk.Payload}
	if r.topic.kind == topicForeign {
		return pk, packets.CodeSuccessIgnore
	}
	if r.topic.kind == topicMethodResponse {
		// It must not wait behind requests: the hub may hold those.
		if err := c.methodResult(r.topic, r.payload); err != nil {
			c.stop(err)
			return pk, packets.ErrRejectPacket
		}
		return pk, packets.CodeSuccessIgnore
	}
	if r.topic.kind == topicTelemetry && pk.FixedHeader.Qos > 0 {
		r.packetID = pk.PacketID
	}
	select {
	case c.requests <- r:
	case <-c.ended:
		return pk, packets.ErrRejectPacket
	}
	if r.packetID != 0 {
		return pk, packets.ErrRejectPacket // it is acknowledged when the hub has it
	}
	return pk, packets.CodeSuccessIgnore
}

// OnACLCheck decides about each filter of a SUBSCRIBE. Publishing has been
// decided about before.
func (h *hook) OnACLCheck(client *mqtt.Client, filter string, write bool) bool {
	c, err := connOf(client)
	if err != nil {
		return false
	}
	if write {
		return true
	}
	err = checkSubscription(c.id, filter, client.State.Subscriptions.GetAll())
	if c.server.cfg.Choices.cuts(err) {
		c.stop(err)
	}
	return err == nil
}

// OnSubscribe grants QoS 1 to those who ask for 2.
func (h *hook) OnSubscribe(_ *mqtt.Client, pk packets.Packet) packets.Packet {
	for i := range pk.Filters {
		pk.Filters[i].Qos = min(pk.Filters[i].Qos, maxQoS)
	}
	return pk
}

// OnSubscribed puts in force what was granted, before the client is told: it
// misses nothing from then on. What is sent because of it waits for SUBACK.
func (h *hook) OnSubscribed(client *mqtt.Client, pk packets.Packet, reasonCodes []byte) {
	c, err := connOf(client)
	if err != nil {
		return
	}
	c.holdSending()
	for i, subscription := range pk.Filters {
		if reasonCodes[i] <= maxQoS {
			c.subscribed(subscription.Filter, reasonCodes[i])
		}
	}
}

// OnPacketEncode completes CONNACK: the library knows nothing of sessions that
// go on.
func (h *hook) OnPacketEncode(client *mqtt.Client, pk packets.Packet) packets.Packet {
	if c, err := connOf(client); err == nil && pk.FixedHeader.Type == packets.Connack {
		pk.SessionPresent = c.sessionPresent
	}
	return pk
}

// OnPacketSent lets go what waited for this packet.
func (h *hook) OnPacketSent(client *mqtt.Client, pk packets.Packet, _ []byte) {
	if pk.FixedHeader.Type != packets.Connack && pk.FixedHeader.Type != packets.Suback {
		return
	}
	if c, err := connOf(client); err == nil {
		c.resumeSending()
	}
}

// OnUnsubscribed notes what ended. The library also calls it, with a packet
// that was not sent, when the connection has ended.
func (h *hook) OnUnsubscribed(client *mqtt.Client, pk packets.Packet) {
	c, err := connOf(client)
	if err != nil || pk.PacketID == 0 {
		return
	}
	for _, subscription := range pk.Filters {
		c.unsubscribed(subscription.Filter)
	}
}
