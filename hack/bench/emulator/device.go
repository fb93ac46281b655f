package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/mqttdevice"
)

// errSequence says that the versions a device saw are not what was written.
var errSequence = errors.New("not every version came once and in order")

// device follows its desired properties.
type device struct {
	*mqttdevice.Device

	desired  int64 // the newest $version seen
	reported int64 // the newest $version that the hub gave a report
	asked    int64 // reports sent
}

// dial connects and subscribes. A fresh twin has version 1 of both sections.
func dial(ctx context.Context, hub *target, id, host, token string) (*device, error) {
	connected, err := mqttdevice.Dial(ctx, hub.MQTT, hub.TLS, host, id, token)
	if err != nil {
		return nil, err
	}
	return &device{Device: connected, desired: 1, reported: 1, asked: 1}, nil
}

// follow reports each desired change back until so many have come and their
// reports are answered. Then it reads the twin: nothing may have come twice
// until that is answered, and the hub has to have all reports.
func (d *device) follow(changes int) error {
	last := d.desired + int64(changes)
	for d.desired < last || d.reported < last {
		topic, payload, err := d.Receive()
		if err != nil {
			return err
		}
		if err := d.take(topic, payload); err != nil {
			return err
		}
	}
	if err := d.Publish(mqttdevice.TopicGet+"?$rid=twin", nil); err != nil {
		return err
	}
	topic, payload, err := d.Receive()
	if err != nil {
		return err
	}
	return d.checkTwin(topic, payload)
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
	case mqttdevice.TopicDesired:
		return d.takeDesired(version, payload)
	case mqttdevice.TopicAnswers + "204/":
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
	return d.Publish(fmt.Sprintf("%s?$rid=%d", mqttdevice.TopicReported, d.asked), fmt.Appendf(nil, `{"applied":%d}`, version))
}

func (d *device) checkTwin(topic string, payload []byte) error {
	if topic != mqttdevice.TopicAnswers+"200/?$rid=twin" {
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
