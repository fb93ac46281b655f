package mqttfront

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

const (
	getTopic   = "$iothub/twin/GET/?$rid=1"
	patchTopic = "$iothub/twin/PATCH/properties/reported/?$rid=1"
)

// twinVersion is that of d1's twin: it moves with every write.
func (h *hub) twinVersion() any {
	h.t.Helper()
	twin, err := h.store.Twin(store.ID{Device: "d1"})
	h.Expect(err).NotTo(HaveOccurred())
	return twin.Document()["version"]
}

func (h *hub) subscribed() *rawClient {
	h.t.Helper()
	c := h.connect("d1")
	c.subscribe(filterTwinAnswers, 0)
	c.subscribe(filterDesired, 0)
	return c
}

func TestFaultsThatCutBeforeTheRequest(t *testing.T) {
	t.Parallel()
	for _, action := range []fault.Action{fault.Reset, fault.MQTTDrop} {
		h := newHub(t)
		h.addDevice("d1")
		h.fault(fault.Rule{Operation: opReportedPatch, Count: 1, Action: action})
		c := h.subscribed()
		c.publish(patchTopic, `{"a":1}`, 0)
		c.expectCut()
		h.Expect(h.twinVersion()).To(Equal(int64(2)), "%s: the request was applied", action)
		h.Expect(h.counted(opReportedPatch).Statuses).To(Equal(map[string]int64{"0": 1}))

		h.fault(fault.Rule{Operation: opDesiredNotification, Count: 1, Action: action})
		c = h.subscribed()
		h.desire("d1", `{"a":1}`)
		c.expectCut()

		h.fault(fault.Rule{Operation: opConnect, Count: 1, Action: action})
		c = h.dial()
		c.send(h.connectPacket("d1"))
		c.expectCut()
		h.Eventually(h.connectionState("d1"), patience).Should(Equal("Disconnected"))
		h.connect("d1").ping()
	}
}

func TestTruncatedOverMQTT(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	truncated := func(rule fault.Rule, provoke func(*rawClient)) string {
		h.t.Helper()
		h.fault(rule)
		c := h.subscribed()
		provoke(c)
		half, _ := io.ReadAll(c.conn) // how the end looks does not matter
		h.Expect(len(half)).To(BeNumerically(">", 20))
		_, err := packets.ReadPacket(strings.NewReader(string(half)))
		h.Expect(err).To(HaveOccurred(), "the packet is whole: %q", half)
		return string(half)
	}
	h.Expect(truncated(fault.Rule{Operation: opTwinGet, Count: 1, Action: fault.Truncated}, func(c *rawClient) {
		c.publish(getTopic, "", 0)
	})).To(ContainSubstring("$iothub/twin/res/200/"))
	truncated(fault.Rule{Operation: opReportedPatch, Count: 1, Action: fault.Truncated}, func(c *rawClient) {
		c.publish(patchTopic, `{"a":1}`, 0)
	})
	h.Expect(h.twinVersion()).To(Equal(int64(3)), "the request was not applied")
	h.Expect(truncated(fault.Rule{Operation: opDesiredNotification, Count: 1, Action: fault.Truncated}, func(*rawClient) {
		h.desire("d1", `{"a":"`+strings.Repeat("x", 100)+`"}`)
	})).To(ContainSubstring("$iothub/twin/PATCH/properties/desired/"))
}

func TestStaleReadOverMQTT(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1")
	c := h.subscribed()
	c.publish(patchTopic, `{"a":1}`, 0)
	c.answer(0)
	c.publish(patchTopic, `{"a":2}`, 0)
	c.answer(0)
	h.fault(fault.Rule{Operation: opTwinGet, Count: 1, Action: fault.StaleRead})
	for _, want := range []string{
		`{"desired":{"$version":1},"reported":{"$version":2,"a":1}}`,
		`{"desired":{"$version":1},"reported":{"$version":3,"a":2}}`,
	} {
		c.publish(getTopic, "", 0)
		_, body := c.answer(0)
		h.Expect(body).To(MatchJSON(want))
	}
}

// newF1 is a free hub, with its limits to be used up.
func newF1(t *testing.T) (*hub, *throttle.Limits, *clocktesting.FakeClock) {
	t.Helper()
	clk := clocktesting.NewFakeClock(time.Date(2026, 11, 20, 23, 30, 0, 0, time.UTC))
	limits, err := throttle.New("F1", 1, clk)
	if err != nil {
		t.Fatal(err)
	}
	h := newLimitedHub(t, clk, limits)
	h.addDevice("d1")
	return h, limits, clk
}

// useUp takes all that an operation's throttle lets pass at once, which is two
// and a half seconds' worth.
func useUp(t *testing.T, limits *throttle.Limits, operationType throttle.Type, perSecond int) {
	t.Helper()
	if err := limits.Admit(t.Context(), operationType, perSecond*5/2); err != nil {
		t.Fatal(err)
	}
}

// fillUp fills the queue as well, which holds three and a half seconds' worth.
func fillUp(t *testing.T, limits *throttle.Limits, operationType throttle.Type, perSecond int) {
	t.Helper()
	useUp(t, limits, operationType, perSecond)
	wait := func() { _ = limits.Admit(t.Context(), operationType, 1) } // ends with the test
	for range perSecond * 7 / 2 {
		go wait()
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	// A look at the queue holds a place in it for a moment, and a client that came at
	// that moment was refused for it: each look brings a client that takes it.
	NewWithT(t).Eventually(func() error {
		err := limits.Admit(gone, operationType, 1)
		go wait()
		return err
	}, patience).Should(BeAssignableToTypeOf(&store.Error{}))
}

func TestThrottledOverMQTT(t *testing.T) {
	t.Parallel()
	for operationType, tt := range map[throttle.Type]struct {
		topic, payload string
		perSecond      int
	}{
		throttle.TwinRead:   {getTopic, "", 100},
		throttle.TwinUpdate: {patchTopic, `{"a":1}`, 50},
	} {
		h, limits, _ := newF1(t)
		c := h.subscribed()
		fillUp(t, limits, operationType, tt.perSecond)
		c.publish(tt.topic, tt.payload, 0)
		topic, body := c.answer(0)
		h.Expect(topic).To(Equal("$iothub/twin/res/429/?$rid=1"))
		envelope := decode(t, []byte(body))
		h.Expect(envelope["errorCode"]).To(Equal(429003.))
		h.Expect(envelope["message"]).To(Equal("The request has been throttled. Wait 10 seconds and try again. Operation type: " + operationType.String()))
		h.Expect(h.twinVersion()).To(Equal(int64(2)))
		h.Expect(h.counted(opTwinGet).BilledMessages + h.counted(opReportedPatch).BilledMessages).To(BeZero())
	}
}

func TestQueuedOverMQTT(t *testing.T) {
	t.Parallel()
	h, limits, clk := newF1(t)
	c := h.subscribed()
	useUp(t, limits, throttle.TwinUpdate, 50)
	c.publish(patchTopic, `{"a":1}`, 0)
	h.Eventually(func() int64 { return h.counted(opReportedPatch).PeakConcurrency }, patience).Should(Equal(int64(1)))
	c.ping()
	h.Expect(h.twinVersion()).To(Equal(int64(2)), "the request does not wait for its turn")
	h.Eventually(func() any { clk.Step(20 * time.Millisecond); return h.twinVersion() }, patience).Should(Equal(int64(3)))
	topic, _ := c.answer(0)
	h.Expect(topic).To(HavePrefix("$iothub/twin/res/204/"))
}

func TestThrottledConnections(t *testing.T) {
	t.Parallel()
	h, limits, clk := newF1(t)
	fillUp(t, limits, throttle.DeviceConnect, 100)
	c := h.dial()
	h.Expect(c.open(h.connectPacket("d1"))).To(Equal(packets.ErrRefusedServerUnavailable))
	clk.Step(time.Minute)
	h.connect("d1").ping()
}

func TestThrottledTelemetry(t *testing.T) {
	t.Parallel()
	h, limits, _ := newF1(t)
	c := h.connect("d1")
	fillUp(t, limits, throttle.DeviceSend, 100)
	c.publish("devices/d1/messages/events/", "x", 0)
	c.expectCut()
	h.Expect(h.counted(opTelemetry).Statuses).To(Equal(map[string]int64{"429": 1}))
}

func TestBillingOverMQTT(t *testing.T) {
	t.Parallel()
	h, limits, _ := newF1(t)
	c := h.subscribed()
	filling := strings.Repeat("x", 1000)
	reported, err := json.Marshal(map[string]string{"a": filling})
	h.Expect(err).NotTo(HaveOccurred())
	c.publish(patchTopic, string(reported), 0)
	c.answer(0)
	h.Expect(h.counted(opReportedPatch).BilledMessages).To(Equal(int64(2)), "the request")
	c.publish(getTopic, "", 0)
	c.answer(0)
	h.Expect(h.counted(opTwinGet).BilledMessages).To(Equal(int64(3)), "the answer, of more than 1,024 bytes")
	c.publish("devices/d1/messages/events/", filling, 1)
	receive[*packets.PubackPacket](c)
	h.Expect(h.counted(opTelemetry).BilledMessages).To(Equal(int64(2)))
	h.desire("d1", `{"a":"`+filling+`"}`)
	c.answer(0)
	h.Expect(h.counted(opDesiredNotification).BilledMessages).To(Equal(int64(2)), "each one that is delivered")
	c.publish(patchTopic, `[`, 0)
	c.answer(0)
	h.Expect(h.counted(opReportedPatch).BilledMessages).To(Equal(int64(2)), "not what is refused")
	quota, _ := limits.Quota()
	h.Expect(quota.Used).To(Equal(int64(9)))
}

func TestQuotaOverMQTT(t *testing.T) {
	t.Parallel()
	h, limits, clk := newF1(t)
	c := h.subscribed()
	limits.Bill(8000 * 512)
	for _, tt := range [][2]string{{getTopic, ""}, {patchTopic, `{"a":1}`}} {
		c.publish(tt[0], tt[1], 0)
		topic, body := c.answer(0)
		h.Expect(topic).To(Equal("$iothub/twin/res/403/?$rid=1"))
		h.Expect(decode(t, []byte(body))).To(HaveKeyWithValue("errorCode", 403002.))
	}
	h.Expect(h.twinVersion()).To(Equal(int64(2)))
	clk.Step(30 * time.Minute) // to midnight
	c.publish(getTopic, "", 0)
	topic, _ := c.answer(0)
	h.Expect(topic).To(Equal("$iothub/twin/res/200/?$rid=1"))

	limits.Bill(8000 * 512)
	c.publish("devices/d1/messages/events/", "x", 0)
	c.expectCut()
	h.Expect(h.counted(opTelemetry).Statuses).To(Equal(map[string]int64{"403": 1}))
}

func TestCutConnections(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.addDevice("d1", "d2")
	cut, kept := h.connect("d1"), h.connect("d2")
	h.store.CutConnections("absent")
	h.store.CutConnections("d1")
	cut.expectCut()
	kept.ping()
	h.Expect(h.connectionState("d1")()).To(Equal("Disconnected"))
	h.connect("d1").ping()
}
