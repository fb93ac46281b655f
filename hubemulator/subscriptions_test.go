package hubemulator_test

import (
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

const desiredFilter = "$iothub/twin/PATCH/properties/desired/#"

// TestSubscriptionsOutliveAConnection: Microsoft's client libraries connect
// with CleanSession 0 and do not subscribe again when they renew a token.
func TestSubscriptionsOutliveAConnection(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			first := h.persistent(t, transport)
			for _, filter := range []string{"$iothub/twin/res/#", desiredFilter, "$iothub/methods/POST/#"} {
				first.subscribe(filter)
			}
			first.Disconnect(0)
			g.Eventually(func() any { return h.ok(t, http.MethodGet, "/twins/d1", "")["connectionState"] }, patience).Should(Equal("Disconnected"))
			h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"missed":1}}}`)

			d := h.persistent(t, transport) // without a SUBSCRIBE
			d.publish("$iothub/twin/GET/?$rid=1", "")
			g.Expect(d.receive().Topic()).To(Equal("$iothub/twin/res/200/?$rid=1"), "a change that was missed does not come later")
			h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"heard":1}}}`)
			g.Expect(string(d.receive().Payload())).To(MatchJSON(`{"heard":1,"$version":3}`))
			answers := make(chan response, 1)
			go func() { answers <- h.call(t, http.MethodPost, methodsPath, `{"methodName":"hello"}`) }()
			_, requestID, _ := strings.Cut(d.receive().Topic(), "/?$rid=")
			d.publish("$iothub/methods/res/200/?$rid="+requestID, `"here"`)
			g.Expect((<-answers).text).To(Equal(`{"status":200,"payload":"here"}`))
		})
	}
}

func TestSubscriptionsThatEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *hub, *device){
		"UNSUBSCRIBE": func(_ *testing.T, _ *hub, d *device) { d.do(d.Unsubscribe(desiredFilter)) },
		"a connection with a clean session": func(t *testing.T, h *hub, _ *device) {
			t.Helper()
			h.connect(t, "d1", "TCP")
		},
		"another device of the same name": func(t *testing.T, h *hub, _ *device) {
			t.Helper()
			if err := h.server.RemoveDevice("d1"); err != nil {
				t.Fatal(err)
			}
			must(h.server.AddDevice("d1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			d := h.persistent(t, "TCP")
			d.subscribe(desiredFilter)
			end(t, h, d)

			d = h.persistent(t, "TCP")
			h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":1}}}`)
			d.subscribe("$iothub/twin/res/#")
			d.publish("$iothub/twin/GET/?$rid=1", "")
			g.Expect(d.receive().Topic()).To(Equal("$iothub/twin/res/200/?$rid=1"), "nothing else comes")
		})
	}
}

func TestModuleSubscriptionsOutliveAConnection(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	must(h.server.AddModule("d1", "m1"))
	h.persistentAs(t, "d1/m1", "TCP").subscribe(desiredFilter)
	d := h.persistentAs(t, "d1/m1", "TCP")
	h.ok(t, http.MethodPatch, "/twins/d1/modules/m1", `{"properties":{"desired":{"a":1}}}`)
	g.Expect(string(d.receive().Payload())).To(MatchJSON(`{"a":1,"$version":2}`))
}
