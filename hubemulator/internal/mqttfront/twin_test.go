package mqttfront

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// answer reads what the hub answers to a request sent with QoS 0 or 1. A QoS 1
// request is acknowledged as well, before its answer or after.
func (c *rawClient) answer(requestQoS byte) (topic, payload string) {
	c.h.t.Helper()
	acknowledged, answered := requestQoS == 0, false
	for !acknowledged || !answered {
		pk, err := packets.ReadPacket(c.conn)
		c.h.Expect(err).NotTo(HaveOccurred())
		switch pk := pk.(type) {
		case *packets.PubackPacket:
			c.h.Expect(acknowledged).To(BeFalse(), "an acknowledgement that was not asked for")
			c.h.Expect(pk.MessageID).To(Equal(uint16(7)))
			acknowledged = true
		case *packets.PublishPacket:
			c.h.Expect(answered).To(BeFalse(), "a second answer")
			c.ack(pk)
			topic, payload, answered = pk.TopicName, string(pk.Payload), true
		default:
			c.h.t.Fatalf("unexpected packet: %v", pk)
		}
	}
	return topic, payload
}

func (c *rawClient) ack(pk *packets.PublishPacket) {
	c.h.t.Helper()
	if pk.Qos == 0 {
		return
	}
	ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
	ack.MessageID = pk.MessageID
	c.send(ack)
}

func TestTwinGet(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	h.desire("d1", `{"power_level":1}`)
	c := h.connect("d1")
	h.Expect(c.subscribe(filterTwinAnswers, 1)).To(Equal(byte(1)))
	for i, payload := range []string{"", " "} {
		qos := byte(i)
		c.publish("$iothub/twin/GET/?$rid=aB%20c-{0}", payload, qos)
		topic, document := c.answer(qos)
		h.Expect(topic).To(Equal("$iothub/twin/res/200/?$rid=aB%20c-{0}"))
		h.Expect(document).To(MatchJSON(`{"desired":{"power_level":1,"$version":2},"reported":{"$version":1}}`))
	}
	c.publish("$iothub/twin/GET/?$rid=3", `{"a":1}`, 0)
	topic, document := c.answer(0)
	h.Expect(topic).To(Equal("$iothub/twin/res/400/?$rid=3"))
	h.Expect(decode(t, []byte(document))).To(HaveKeyWithValue("errorCode", 400004.0))
	h.Expect(h.counted(opTwinGet).Statuses).To(Equal(map[string]int64{"200": 2, "400": 1}))
}

func TestReportedPatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, query, payload string
		want                 string // topic after $iothub/twin/res/
		errorCode            float64
	}{
		{name: "plain", query: "$rid=1", payload: `{"connectivity":"cellular"}`, want: "204/?$rid=1&$version=2"},
		{name: "odd request id", query: "$rid=%2f~ü", payload: `{"a":{"b":null}}`, want: "204/?$rid=%2f~ü&$version=2"},
		{name: "right version", query: "$rid=1&$version=1", payload: `{"a":1}`, want: "204/?$rid=1&$version=2"},
		{name: "stale version", query: "$rid=1&$version=9", payload: `{"a":1}`, want: "412/?$rid=1", errorCode: 412001},
		{name: "version that is none", query: "$rid=1&$version=x", payload: `{"a":1}`, want: "400/?$rid=1", errorCode: 400004},
		{name: "echoed $version", query: "$rid=1", payload: `{"$version":1}`, want: "400/?$rid=1", errorCode: 400004},
		{name: "not an object", query: "$rid=1", payload: `[1]`, want: "400/?$rid=1", errorCode: 400006},
		{name: "too large", query: "$rid=1", payload: largeObject(t, 9), want: "403/?$rid=1", errorCode: 403100},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			h.addDevice("d1")
			c := h.connect("d1")
			h.Expect(c.subscribe(filterTwinAnswers, 0)).To(Equal(byte(0)))
			c.publish("$iothub/twin/PATCH/properties/reported/?"+test.query, test.payload, 1)
			topic, body := c.answer(1)
			h.Expect(topic).To(Equal("$iothub/twin/res/" + test.want))
			h.Expect(h.counted(opReportedPatch).Statuses).To(Equal(map[string]int64{test.want[:3]: 1}))
			if test.errorCode == 0 {
				h.Expect(body).To(BeEmpty())
				return
			}
			envelope := decode(t, []byte(body))
			h.Expect(envelope).To(HaveKeyWithValue("errorCode", test.errorCode))
			h.Expect(envelope["message"]).NotTo(BeEmpty())
			h.Expect(envelope["trackingId"]).To(MatchRegexp(`^[0-9A-F]{32}-G2:-TimeStamp:`))
			h.Expect(envelope["timestampUtc"]).NotTo(BeEmpty())
		})
	}
}

// largeObject has a size of a bit more than 4000 times n.
func largeObject(t *testing.T, n int) string {
	t.Helper()
	properties := map[string]string{}
	for i := range n {
		properties[fmt.Sprintf("p%d", i)] = strings.Repeat("x", 4000)
	}
	raw, err := json.Marshal(properties)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestReportedPatchNeedsAnAPIVersion(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	pk := h.connectPacket("d1")
	pk.Username = "localhost/d1/?DeviceClientType=x"
	c := h.dial()
	h.Expect(c.open(pk)).To(Equal(packets.Accepted))
	c.subscribe(filterTwinAnswers, 0)
	c.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"a":1}`, 0)
	topic, _ := c.answer(0)
	h.Expect(topic).To(Equal("$iothub/twin/res/400/?$rid=1"))
	c.publish("$iothub/twin/GET/?$rid=2", "", 0)
	_, document := c.answer(0)
	h.Expect(document).To(MatchJSON(`{"desired":{"$version":1},"reported":{"$version":1}}`))
}

func TestNoAnswerWithoutSubscription(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c := h.connect("d1")
	c.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"a":1}`, 0)
	h.Eventually(func() int64 { return h.counted(opReportedPatch).Statuses["204"] }, patience).Should(Equal(int64(1)))
	c.subscribe(filterTwinAnswers, 0) // reads exactly the SUBACK
	c.publish("$iothub/twin/GET/?$rid=2", "", 0)
	topic, document := c.answer(0)
	h.Expect(topic).To(Equal("$iothub/twin/res/200/?$rid=2"))
	h.Expect(document).To(MatchJSON(`{"desired":{"$version":1},"reported":{"a":1,"$version":2}}`))
}

func TestDesiredNotification(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1", "d2")
	h.desire("d1", `{"old":{"a":1,"b":2},"list":[1]}`)
	c, other := h.connect("d1"), h.connect("d2")
	h.Expect(other.subscribe(filterDesired, 0)).To(Equal(byte(0)))
	h.desire("d1", `{"unseen":true}`)
	h.Expect(c.subscribe(filterDesired, 2)).To(Equal(byte(1)), "QoS 2 is granted as 1")

	h.desire("d1", `{"old":{"a":null},"list":[2,{"x":1.50}],"gone":null}`)
	pk := receive[*packets.PublishPacket](c)
	h.Expect(pk.Qos).To(Equal(byte(1)))
	h.Expect(pk.Retain).To(BeFalse())
	c.ack(pk)
	h.Expect(pk.TopicName).To(Equal("$iothub/twin/PATCH/properties/desired/?$version=4"))
	h.Expect(string(pk.Payload)).To(MatchJSON(`{"old":{"a":null},"list":[2,{"x":1.50}],"gone":null,"$version":4}`))

	_, err := h.store.PatchTwin(store.ID{Device: "d1"}, "", []byte(`{"tags":{"a":1}}`))
	h.Expect(err).NotTo(HaveOccurred())
	c.ping() // a change of tags is not the device's business
	unsubscribe := packets.NewControlPacket(packets.Unsubscribe).(*packets.UnsubscribePacket)
	unsubscribe.MessageID, unsubscribe.Topics = 2, []string{filterDesired}
	c.send(unsubscribe)
	receive[*packets.UnsubackPacket](c)
	h.desire("d1", `{"unseen":false}`)
	c.ping()
	other.ping()
	h.Expect(h.counted(opDesiredNotification).Statuses).To(Equal(map[string]int64{"200": 1}))
}

func TestDesiredNotificationsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	const rounds, writers, each = 6, 4, 50 // more than a client may leave unacknowledged
	h := newHub(t)
	h.addDevice("d1")
	c := h.connect("d1")
	c.subscribe(filterDesired, 1)
	version := 1.0
	for range rounds {
		failed := make(chan error, writers)
		for w := range writers {
			go func() {
				var err error
				for i := range each {
					_, patchErr := h.store.PatchTwin(store.ID{Device: "d1"}, "", []byte(fmt.Sprintf(`{"properties":{"desired":{"w%d":%d}}}`, w, i)))
					err = errors.Join(err, patchErr)
				}
				failed <- err
			}()
		}
		for range writers * each {
			pk := receive[*packets.PublishPacket](c)
			c.ack(pk)
			version++
			h.Expect(decode(t, pk.Payload)).To(HaveKeyWithValue("$version", version))
		}
		for range writers {
			h.Expect(<-failed).To(Succeed())
		}
	}
}

func TestClientThatDoesNotReadIsCut(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c := h.connect("d1")
	c.subscribe(filterDesired, 0)
	longest := time.Duration(0)
	for i := 0; h.connectionState("d1")() == "Connected" && i < 20_000; i++ {
		started := time.Now()
		h.desire("d1", `{"p":"`+strings.Repeat("x", 4000)+`"}`)
		longest = max(longest, time.Since(started))
	}
	h.Eventually(h.connectionState("d1"), patience).Should(Equal("Disconnected"))
	h.Expect(longest).To(BeNumerically("<", writeTimeout/2), "the slow device held up a writer")
}

func TestClientThatDoesNotAcknowledgeIsCut(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c := h.connect("d1")
	c.subscribe(filterTwinAnswers, 1)
	ended := make(chan int)
	go func() {
		answers := 0
		for {
			pk, err := packets.ReadPacket(c.conn)
			if err != nil {
				ended <- answers
				return
			}
			if _, isAnswer := pk.(*packets.PublishPacket); isAnswer {
				answers++
			}
		}
	}()
	get := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	get.TopicName = "$iothub/twin/GET/?$rid=1"
	for range maxUnacknowledged + 1 {
		if err := get.Write(c.conn); err != nil {
			break // cut already
		}
	}
	h.Eventually(ended, patience).Should(Receive(Equal(maxUnacknowledged)))
}
