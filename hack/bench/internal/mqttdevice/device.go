// Package mqttdevice is one MQTT client of a hub: no more than a connection, so that
// thousands of them leave the machine to the server.
package mqttdevice

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// The topics of a device's twin.
const (
	TopicDesired  = "$iothub/twin/PATCH/properties/desired/"
	TopicReported = "$iothub/twin/PATCH/properties/reported/"
	TopicGet      = "$iothub/twin/GET/"
	TopicAnswers  = "$iothub/twin/res/"
)

const (
	apiVersion = "?api-version=2021-04-12"
	// silence is how long a device waits for what has to come.
	silence = 2 * time.Minute
	// keepAlive is IoT Hub's maximum in seconds: no pings during a run.
	keepAlive = 1177
	qos       = 1
)

// Device is a connected device.
type Device struct {
	// ID is the device's.
	ID string

	network net.Conn
	in      *bufio.Reader
}

// Dial connects the device to an address, with a token for it at the hub's host, and
// subscribes to what concerns its twin.
func Dial(ctx context.Context, address string, config *tls.Config, host, id, token string) (*Device, error) {
	dialer := tls.Dialer{Config: config}
	network, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	d := &Device{ID: id, network: network, in: bufio.NewReaderSize(network, 1024)}
	if err := d.signIn(host, token); err != nil {
		return nil, errors.Join(fmt.Errorf("device %s: %w", id, err), network.Close())
	}
	return d, nil
}

func (d *Device) signIn(host, token string) error {
	answer, err := d.exchange(&packets.ConnectPacket{
		FixedHeader:  packets.FixedHeader{MessageType: packets.Connect},
		ProtocolName: "MQTT", ProtocolVersion: 4, CleanSession: true, Keepalive: keepAlive,
		ClientIdentifier: d.ID,
		UsernameFlag:     true, Username: host + "/" + d.ID + "/" + apiVersion,
		PasswordFlag: true, Password: []byte(token),
	})
	if err != nil {
		return err
	}
	if accepted, is := answer.(*packets.ConnackPacket); !is || accepted.ReturnCode != packets.Accepted {
		return fmt.Errorf("CONNECT is answered with %s", answer)
	}
	subscribe := &packets.SubscribePacket{
		FixedHeader: packets.FixedHeader{MessageType: packets.Subscribe, Qos: 1}, // as MQTT wants it
		MessageID:   1, Topics: []string{TopicAnswers + "#", TopicDesired + "#"}, Qoss: []byte{0, qos},
	}
	if answer, err = d.exchange(subscribe); err != nil {
		return err
	}
	if granted, is := answer.(*packets.SubackPacket); !is || string(granted.ReturnCodes) != string(subscribe.Qoss) {
		return fmt.Errorf("SUBSCRIBE is answered with %s", answer)
	}
	return nil
}

func (d *Device) exchange(question packets.ControlPacket) (packets.ControlPacket, error) {
	if err := question.Write(d.network); err != nil {
		return nil, err
	}
	return d.read()
}

func (d *Device) read() (packets.ControlPacket, error) {
	if err := d.network.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return nil, err
	}
	return packets.ReadPacket(d.in)
}

// Publish sends a message without asking for a receipt.
func (d *Device) Publish(topic string, payload []byte) error {
	return (&packets.PublishPacket{
		FixedHeader: packets.FixedHeader{MessageType: packets.Publish}, TopicName: topic, Payload: payload,
	}).Write(d.network)
}

// Receive returns the next message, acknowledged if it has to be.
func (d *Device) Receive() (topic string, payload []byte, err error) {
	packet, err := d.read()
	if err != nil {
		return "", nil, err
	}
	message, is := packet.(*packets.PublishPacket)
	if !is {
		return "", nil, fmt.Errorf("a message was expected, not %s", packet)
	}
	if message.Qos > 0 {
		err = (&packets.PubackPacket{
			FixedHeader: packets.FixedHeader{MessageType: packets.Puback}, MessageID: message.MessageID,
		}).Write(d.network)
	}
	return message.TopicName, message.Payload, err
}

// Leave says goodbye, unless the connection was lost, which has been counted.
func (d *Device) Leave() {
	_ = packets.NewControlPacket(packets.Disconnect).Write(d.network)
	_ = d.network.Close()
}

// Close cuts the connection; a caller that waits for a message gets an error.
func (d *Device) Close() error { return d.network.Close() }
