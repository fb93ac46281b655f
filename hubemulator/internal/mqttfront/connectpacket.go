package mqttfront

import (
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"
)

var errNotMQTT = errors.New("the client's CONNECT breaks the rules of MQTT 3.1.1")

// The names of the protocol, and the level of the older one.
const (
	protocolName    = "MQTT"
	protocolNameV31 = "MQIsdp"
	protocolLevel31 = 3
	protocolLevel5  = 5
)

// fitConnect takes from the library what it would answer with a code that only
// MQTT 5 has. What MQTT 3.1.1 wants the connection to be closed for, without an
// answer, is an error; what it wants to be answered is left for check.
func (c *conn) fitConnect(pk *packets.Packet) error {
	will := &pk.Connect
	switch name := string(pk.Connect.ProtocolName); {
	case name != protocolName && name != protocolNameV31, // [MQTT-3.1.2-1]
		pk.ReservedBit != 0, // [MQTT-3.1.2-3]
		!will.WillFlag && (will.WillRetain || will.WillQos > 0),     // [MQTT-3.1.2-11], [MQTT-3.1.2-15]
		will.WillFlag && (will.WillTopic == "" || will.WillQos > 2): // [MQTT-3.1.2-14]
		return errNotMQTT
	case name == protocolName && pk.ProtocolVersion != protocolVersion311 && pk.ProtocolVersion != protocolLevel5,
		name == protocolNameV31 && pk.ProtocolVersion != protocolLevel31:
		// Another level is answered [MQTT-3.1.2-2], like that of the older one.
		pk.Connect.ProtocolName, pk.ProtocolVersion = []byte(protocolNameV31), protocolLevel31
	}
	// An empty password is legal, and what a client without a token sends.
	pk.Connect.PasswordFlag = len(pk.Connect.Password) > 0
	if pk.Connect.ClientIdentifier == "" {
		pk.Connect.Clean = true // no device is called that, whatever session is asked for
	}
	if will.WillFlag && len(will.WillPayload) == 0 {
		// Legal, but the library takes no empty one.
		c.emptyWill, will.WillPayload = true, []byte{0}
	}
	return nil
}
