package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	topicDesired  = "$iothub/twin/PATCH/properties/desired/"
	topicReported = "$iothub/twin/PATCH/properties/reported/"
	topicGet      = "$iothub/twin/GET/"
	topicAnswers  = "$iothub/twin/res/"

	// silence is how long a device waits for what has to come.
	silence = 2 * time.Minute
	// keepAlive is IoT Hub's maximum in seconds: no pings during a run.
	keepAlive = 1177
	qos       = 1
)

// errSequence says that the versions a device saw are not what was written.
var errSequence = errors.New("not every version came once and in order")

// device is one MQTT client: no more than a connection and what it has seen, so
// that thousands of them leave the machine to the server.
type device struct {
	id      string
	network net.Conn
	in      *bufio.Reader

	desired  int64 // the newest $version seen
	reported int64 // the newest $version that the hub gave a report
	asked    int64 // reports sent
}

// dial connects and subscribes. A fresh twin has version 1 of both sections.
func dial(ctx context.Context, hub *target, id, host, token string) (*device, error) {
	dialer := tls.Dialer{Config: hub.tls}
	network, err := dialer.DialContext(ctx, "tcp", hub.MQTT)
	if err != nil {
		return nil, err
	}
	d := &device{id: id, network: network, in: bufio.NewReaderSize(network, 1024), desired: 1, reported: 1, asked: 1}
	if err := d.signIn(host, token); err != nil {
		return nil, errors.Join(fmt.Errorf("device %s: %w", id, err), network.Close())
	}
	return d, nil
}

func (d *device) signIn(host, token string) error {
	answer, err := d.exchange(&packets.ConnectPacket{
		FixedHeader:  packets.FixedHeader{MessageType: packets.Connect},
		ProtocolName: "MQTT", ProtocolVersion: 4, CleanSession: true, Keepalive: keepAlive,
		ClientIdentifier: d.id,
		UsernameFlag:     true, Username: host + "/" + d.id + "/" + apiVersion,
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
		MessageID:   1, Topics: []string{topicAnswers + "#", topicDesired + "#"}, Qoss: []byte{0, qos},
	}
	if answer, err = d.exchange(subscribe); err != nil {
		return err
	}
	if granted, is := answer.(*packets.SubackPacket); !is || string(granted.ReturnCodes) != string(subscribe.Qoss) {
		return fmt.Errorf("SUBSCRIBE is answered with %s", answer)
	}
	return nil
}

func (d *device) exchange(question packets.ControlPacket) (packets.ControlPacket, error) {
	if err := question.Write(d.network); err != nil {
		return nil, err
	}
	return d.read()
}

func (d *device) read() (packets.ControlPacket, error) {
	if err := d.network.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return nil, err
	}
	return packets.ReadPacket(d.in)
}

func (d *device) publish(topic string, payload []byte) error {
	return (&packets.PublishPacket{
		FixedHeader: packets.FixedHeader{MessageType: packets.Publish}, TopicName: topic, Payload: payload,
	}).Write(d.network)
}

// follow reports each desired change back until so many have come and their
// reports are answered. Then it reads the twin: nothing may have come twice
// until that is answered, and the hub has to have all reports.
func (d *device) follow(changes int) error {
	last := d.desired + int64(changes)
	for d.desired < last || d.reported < last {
		topic, payload, err := d.receive()
		if err != nil {
			return err
		}
		if err := d.take(topic, payload); err != nil {
			return err
		}
	}
	if err := d.publish(topicGet+"?$rid=twin", nil); err != nil {
		return err
	}
	topic, payload, err := d.receive()
	if err != nil {
		return err
	}
	return d.checkTwin(topic, payload)
}

// receive returns the next message, acknowledged if it has to be.
func (d *device) receive() (topic string, payload []byte, err error) {
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

// take follows a desired change with a report, and notes the answer to one.
func (d *device) take(topic string, payload []byte) error {
	name, query, _ := strings.Cut(topic, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	version, _ := strconv.ParseInt(values.Get("$version"), 10, 64) // 0 is never the next one
	switch name {
	case topicDesired:
		return d.takeDesired(version, payload)
	case topicAnswers + "204/":
		if version != d.reported+1 || values.Get("$rid") != strconv.FormatInt(version, 10) {
			return fmt.Errorf("%w: %s came after reported version %d", errSequence, topic, d.reported)
		}
		d.reported = version
		return nil
	}
	return fmt.Errorf("%w: %s came: %s", errSequence, topic, payload)
}

func (d *device) takeDesired(version int64, payload []byte) error {
	var change struct {
		Version int64 `json:"$version"`
	}
	if err := json.Unmarshal(payload, &change); err != nil {
		return err
	}
	if version != d.desired+1 || change.Version != version {
		return fmt.Errorf("%w: desired version %d, and %d inside, came after %d", errSequence, version, change.Version, d.desired)
	}
	d.desired = version
	d.asked++
	return d.publish(fmt.Sprintf("%s?$rid=%d", topicReported, d.asked), fmt.Appendf(nil, `{"applied":%d}`, version))
}

func (d *device) checkTwin(topic string, payload []byte) error {
	if topic != topicAnswers+"200/?$rid=twin" {
		return fmt.Errorf("%w: %s came where the twin was expected", errSequence, topic)
	}
	var twin struct {
		Desired, Reported struct {
			Applied int64 `json:"applied"`
			Version int64 `json:"$version"`
		}
	}
	if err := json.Unmarshal(payload, &twin); err != nil {
		return err
	}
	if twin.Desired.Version != d.desired || twin.Reported.Version != d.reported || twin.Reported.Applied != d.desired {
		return fmt.Errorf("%w: the twin is %s", errSequence, payload)
	}
	return nil
}

// leave says goodbye, unless the connection was lost, which has been counted.
func (d *device) leave() {
	_ = packets.NewControlPacket(packets.Disconnect).Write(d.network)
	_ = d.network.Close()
}
