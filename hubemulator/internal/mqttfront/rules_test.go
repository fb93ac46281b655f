package mqttfront

import (
	"strings"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c := h.connect("d1")
	for filter, want := range map[string]byte{
		filterTwinAnswers: 1, filterDesired: 1, filterMethods: 1, "devices/d1/messages/devicebound/#": 1,
		"devices/d2/messages/devicebound/#": 0x80, "#": 0x80, "$iothub/#": 0x80, "$iothub/twin/res/+": 0x80, "a/b": 0x80,
		"devices/d1/#": 0x80, "devices/d1/inputs/#": 0x80, "devices/d1/modules/m1/#": 0x80,
	} {
		h.Expect(c.subscribe(filter, 1)).To(Equal(want), filter)
	}
	h.Expect(c.subscribe(filterDesired, 0)).To(Equal(byte(0)), "subscribing again is fine")
}

func TestAtMostFiveSubscriptions(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	held := map[string]bool{"1": true, "2": true, "3": true, "4": true}
	g.Expect(checkSubscription(store.ID{Device: "d1"}, filterDesired, held)).To(Succeed())
	held[filterDesired] = true
	g.Expect(checkSubscription(store.ID{Device: "d1"}, filterDesired, held)).To(Succeed())
	g.Expect(checkSubscription(store.ID{Device: "d1"}, filterTwinAnswers, held)).To(MatchError(errTooManySubscriptions))
}

func TestPublishing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		topic string
		qos   byte
		cut   bool
	}{
		"telemetry":                  {"devices/d1/messages/events/", 1, false},
		"telemetry with properties":  {"devices/d1/messages/events/a=b&%24.ct=x", 0, false},
		"telemetry without slash":    {"devices/d1/messages/events", 0, false},
		"method result":              {"$iothub/methods/res/200/?$rid=1", 0, false},
		"method result, odd status":  {"$iothub/methods/res/-7/?$rid=1", 1, false},
		"method result, no number":   {"$iothub/methods/res/ok/?$rid=1", 1, true},
		"method result, no id":       {"$iothub/methods/res/200/?", 0, true},
		"escaped device id":          {"devices/%641/messages/events/", 1, false},
		"filter characters":          {"devices/d1/messages/events/a=b+c", 1, true},
		"another device's telemetry": {"devices/d2/messages/events/", 0, true},
		"longer device id":           {"devices/d1/messages/eventsx", 0, true},
		"desired properties":         {"$iothub/twin/PATCH/properties/desired/?$version=2", 0, true},
		"request without an id":      {"$iothub/twin/GET/?", 0, true},
		"anything else":              {"a/b", 1, true},
		"QoS 2":                      {"devices/d1/messages/events/", 2, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			h.addDevice("d1")
			c := h.connect("d1")
			c.publish(test.topic, "x", test.qos)
			if test.cut {
				c.expectCut()
				h.Expect(h.counted(opTelemetry).Calls).To(BeZero())
				return
			}
			if test.qos == 1 {
				h.Expect(receive[*packets.PubackPacket](c).MessageID).To(Equal(uint16(7)))
			}
			c.ping()
			telemetry := int64(strings.Count(test.topic, "messages/events"))
			h.Eventually(func() int64 { return h.counted(opTelemetry).Calls }, patience).Should(Equal(telemetry))
		})
	}
}

func TestRetainIsIgnored(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c := h.connect("d1")
	pk := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	pk.TopicName, pk.Payload, pk.Retain = "devices/d1/messages/events/", []byte("x"), true
	c.send(pk)
	c.ping()
	h.Expect(h.server.broker.Topics.Retained.GetAll()).To(BeEmpty())
}
