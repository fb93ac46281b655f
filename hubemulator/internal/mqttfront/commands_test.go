package mqttfront

import (
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

const commandFilter = "devices/d1/messages/devicebound/#"

func (h *hub) send(body string) {
	h.t.Helper()
	h.Expect(h.store.SendCommand("d1", store.Command{Body: []byte(body)})).To(Succeed())
}

// persistent connects without a clean session and returns CONNACK.
func (h *hub) persistent() (*rawClient, *packets.ConnackPacket) {
	h.t.Helper()
	pk := h.connectPacket("d1")
	pk.CleanSession = false
	c := h.dial()
	c.send(pk)
	return c, receive[*packets.ConnackPacket](c)
}

func (h *hub) pending() any {
	h.t.Helper()
	twin, err := h.store.Twin(store.ID{Device: "d1"})
	h.Expect(err).NotTo(HaveOccurred())
	return twin.Document()["cloudToDeviceMessageCount"]
}

func TestCommandIsRedeliveredUntilAcknowledged(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	h.send("x")
	c, connack := h.persistent()
	h.Expect(connack.SessionPresent).To(BeFalse())
	// SUBACK comes first, whatever is pending.
	h.Expect(c.subscribe(commandFilter, 1)).To(Equal(byte(1)))
	first := receive[*packets.PublishPacket](c)
	h.Expect(string(first.Payload)).To(Equal("x"))
	h.Expect(first.Dup).To(BeFalse())
	h.Expect(h.pending()).To(Equal(1), "it is not acknowledged")

	c, connack = h.persistent()
	h.Expect(connack.SessionPresent).To(BeTrue())
	again := receive[*packets.PublishPacket](c)
	h.Expect(string(again.Payload)).To(Equal("x"))
	h.Expect(again.Qos).To(Equal(byte(1)))
	h.Expect(again.Dup).To(BeTrue(), "[MQTT-3.3.1-1]")
	c.ack(again)
	h.Eventually(h.pending, patience).Should(Equal(0))
	c, connack = h.persistent()
	h.Expect(connack.SessionPresent).To(BeTrue())
	c.ping() // nothing comes a third time
}

// TestSubackComesFirst keeps the hub busy with one SUBSCRIBE after it has
// granted the filter that a message waits for.
func TestSubackComesFirst(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	h.send("x")
	c, _ := h.persistent()
	pk := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	pk.MessageID, pk.Topics, pk.Qoss = 1, []string{commandFilter}, []byte{1}
	for range 5000 {
		pk.Topics, pk.Qoss = append(pk.Topics, filterDesired), append(pk.Qoss, 1)
	}
	c.send(pk)
	h.Expect(receive[*packets.SubackPacket](c).ReturnCodes).To(HaveLen(5001))
	h.Expect(string(receive[*packets.PublishPacket](c).Payload)).To(Equal("x"))
}

func TestCommandIsDeliveredTenTimesAtMost(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c, _ := h.persistent()
	c.subscribe(commandFilter, 1)
	h.send("x")
	receive[*packets.PublishPacket](c)
	for range 9 {
		c, _ = h.persistent()
		receive[*packets.PublishPacket](c)
		h.Expect(h.pending()).To(Equal(1))
	}
	c, _ = h.persistent()
	c.ping()
	h.Expect(h.pending()).To(Equal(0))
}

func TestCommandWithQoS0NeedsNoAcknowledgement(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c := h.connect("d1")
	h.Expect(c.subscribe(commandFilter, 0)).To(Equal(byte(0)))
	h.send("x")
	pk := receive[*packets.PublishPacket](c)
	h.Expect(pk.Qos).To(BeZero())
	h.Eventually(h.pending, patience).Should(Equal(0))
}

func TestUnsubscribeEndsCommands(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c, _ := h.persistent()
	c.subscribe(commandFilter, 1)
	pk := packets.NewControlPacket(packets.Unsubscribe).(*packets.UnsubscribePacket)
	pk.MessageID, pk.Topics = 2, []string{commandFilter}
	c.send(pk)
	receive[*packets.UnsubackPacket](c)
	h.send("x")
	c.ping()
	c, connack := h.persistent()
	h.Expect(connack.SessionPresent).To(BeFalse())
	c.ping()
	h.Expect(h.pending()).To(Equal(1))
}

func TestTelemetryFaults(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	held := h.fault(fault.Rule{Operation: opTelemetry, Action: fault.Hold})
	c := h.connect("d1")
	c.publish("devices/d1/messages/events/", "x", 1)
	h.Eventually(func() int { return h.faults.List()[0].Held }, patience).Should(Equal(1))
	c.ping() // no acknowledgement yet
	h.faults.Remove(held)
	receive[*packets.PubackPacket](c)
	dropped := h.fault(fault.Rule{Operation: opTelemetry, Action: fault.DropAnswer})
	c.publish("devices/d1/messages/events/", "x", 1)
	c.expectCut()
	h.faults.Remove(dropped)
	h.Expect(h.counted(opTelemetry).Statuses).To(Equal(map[string]int64{"200": 2}))
}

func TestDesiredChangeAfterUnsubscribe(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c := h.connect("d1")
	c.subscribe(filterDesired, 1)
	pk := packets.NewControlPacket(packets.Unsubscribe).(*packets.UnsubscribePacket)
	pk.MessageID, pk.Topics = 2, []string{filterDesired}
	c.send(pk)
	receive[*packets.UnsubackPacket](c)
	h.desire("d1", `{"a":1}`)
	c.ping()
	h.Expect(c.subscribe(filterDesired, 1)).To(Equal(byte(1)))
	h.desire("d1", `{"a":2}`)
	h.Expect(receive[*packets.PublishPacket](c).TopicName).To(HaveSuffix("$version=3"))
}
