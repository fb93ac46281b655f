package mqttfront

import (
	"context"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

func (h *hub) fault(rule fault.Rule) string {
	h.t.Helper()
	id, err := h.faults.Add(rule, Operations())
	h.Expect(err).NotTo(HaveOccurred())
	return id
}

func TestHeldRequest(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c := h.connect("d1")
	c.subscribe(filterTwinAnswers, 0)
	rule := h.fault(fault.Rule{Operation: opReportedPatch, Action: fault.Hold})
	held := func() int { return h.faults.List()[0].Held }

	c.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"a":1}`, 0)
	h.Eventually(held, patience).Should(Equal(1))
	c.ping() // the connection goes on meanwhile
	h.faults.Remove(rule)
	topic, _ := c.answer(0)
	h.Expect(topic).To(Equal("$iothub/twin/res/204/?$rid=1&$version=2"))

	h.fault(fault.Rule{Operation: opReportedPatch, Action: fault.Hold})
	c.publish("$iothub/twin/PATCH/properties/reported/?$rid=2", `{"a":2}`, 0)
	h.Eventually(held, patience).Should(Equal(1))
	h.Expect(c.conn.Close()).To(Succeed())
	h.Eventually(held, patience).Should(Equal(0))
	twin, err := h.store.Twin(store.ID{Device: "d1"})
	h.Expect(err).NotTo(HaveOccurred())
	h.Expect(twin.Document()["version"]).To(Equal(int64(3)), "the request of a client that left was applied")
}

func TestRefusedAndUnansweredRequests(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c := h.connect("d1")
	c.subscribe(filterTwinAnswers, 0)
	c.subscribe(filterDesired, 0)
	h.fault(fault.Rule{Operation: opTwinGet, Action: fault.Status, Status: 503, ErrorCode: "ServiceUnavailable", Count: 1})
	c.publish("$iothub/twin/GET/?$rid=1", "", 0)
	topic, body := c.answer(0)
	h.Expect(topic).To(Equal("$iothub/twin/res/503/?$rid=1"))
	h.Expect(decode(t, []byte(body))).To(HaveKeyWithValue("errorCode", 503000.0))
	h.fault(fault.Rule{Operation: opTwinGet, Action: fault.Status, Status: 429, Count: 1})
	c.publish("$iothub/twin/GET/?$rid=2", "", 0)
	_, body = c.answer(0)
	h.Expect(decode(t, []byte(body))).To(HaveKeyWithValue("message", "Too Many Requests"))

	h.fault(fault.Rule{Operation: opDesiredNotification, Action: fault.Status, Status: 500, Count: 1})
	h.desire("d1", `{"lost":1}`)
	h.desire("d1", `{"kept":1}`)
	topic, _ = c.answer(0)
	h.Expect(topic).To(HaveSuffix("$version=3"))

	h.fault(fault.Rule{Operation: opReportedPatch, Action: fault.DropAnswer})
	c.publish("$iothub/twin/PATCH/properties/reported/?$rid=3", `{"a":1}`, 0)
	c.expectCut()
	twin, err := h.store.Twin(store.ID{Device: "d1"})
	h.Expect(err).NotTo(HaveOccurred())
	h.Expect(twin.Document()["version"]).To(Equal(int64(5)), "the request was not applied") // 3 writes and reported 2
}

func TestRefusedConnections(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	h.fault(fault.Rule{Operation: opConnect, Action: fault.Status, Status: 503, Count: 1})
	h.fault(fault.Rule{Operation: opConnect, Action: fault.Status, Status: 401, Count: 1})
	h.fault(fault.Rule{Operation: opConnect, Action: fault.DropAnswer, Count: 1})
	for _, want := range []int{packets.ErrRefusedServerUnavailable, packets.ErrRefusedNotAuthorised} {
		c := h.dial()
		h.Expect(c.open(h.connectPacket("d1"))).To(Equal(want))
	}
	c := h.dial()
	c.send(h.connectPacket("d1"))
	c.expectCut()
	h.Eventually(h.connectionState("d1"), patience).Should(Equal("Disconnected"))
	h.connect("d1").ping()
}

func TestHeldConnectEndsWithTheServer(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	h.fault(fault.Rule{Operation: opConnect, Action: fault.Hold})
	c := h.dial()
	c.send(h.connectPacket("d1"))
	h.Eventually(func() int { return h.faults.List()[0].Held }, patience).Should(Equal(1))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- h.server.Close() }()
	select {
	case err := <-closed:
		h.Expect(err).NotTo(HaveOccurred())
	case <-ctx.Done():
		t.Fatal("Close waits for a held CONNECT")
	}
	c.expectCut()
}
