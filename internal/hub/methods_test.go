package hub

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func TestMethodOnTheWire(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		id            ID
		method        Method
		uri, body     string
		answer        string
		status        int
		payload, says string
	}{
		"an object": {
			ID{Device: "d+1"}, Method{Name: "reboot", Payload: json.RawMessage(`{ "delay": 1.50 }`), Timeout: 30 * time.Second},
			"/twins/d%2B1/methods", `{"methodName":"reboot","responseTimeoutInSeconds":30,"payload":{"delay":1.50}}`,
			`{"status":200,"payload":{"ok":true}}`, 200, `{"ok":true}`, "",
		},
		"a text, and no object back": {
			ID{Device: "d1"}, Method{Name: "say", Payload: json.RawMessage(`"hello"`), Timeout: 5 * time.Second},
			"/twins/d1/methods", `{"methodName":"say","responseTimeoutInSeconds":5,"payload":"hello"}`,
			`{"status":-7,"payload":[1]}`, -7, `[1]`, "",
		},
		"nothing": {
			ID{Device: "d1", Module: "m1"}, Method{Name: "m", Timeout: 300 * time.Second},
			"/twins/d1/modules/m1/methods", `{"methodName":"m","responseTimeoutInSeconds":300}`, `{"status":204,"payload":null}`, 204, `null`, "",
		},
		"no payload back": {
			ID{Device: "d1"}, Method{Name: "m", Timeout: 30 * time.Second},
			"/twins/d1/methods", `{"methodName":"m","responseTimeoutInSeconds":30}`, `{"status":200}`, 200, `null`, "",
		},
		"no result": {
			ID{Device: "d1"}, Method{Name: "m", Timeout: 30 * time.Second},
			"/twins/d1/methods", `{"methodName":"m","responseTimeoutInSeconds":30}`, `{"payload":1}`, 0, "", "not the result of a method",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			cfg, requests := record(t, tt.answer)
			result, err := mustOpen(t, cfg).InvokeMethod(t.Context(), tt.id, tt.method)
			request := <-requests
			g.Expect(request.method).To(Equal(http.MethodPost))
			g.Expect(request.uri).To(Equal(tt.uri + "?api-version=" + apiVersion))
			g.Expect(request.body).To(Equal(tt.body))
			if tt.says != "" {
				g.Expect(asError(t, err).Error()).To(ContainSubstring(tt.says))
				g.Expect(OutcomeUnknown(err)).To(BeTrue())
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(*result).To(Equal(MethodResult{Status: tt.status, Payload: json.RawMessage(tt.payload)}))
		})
	}
}

func TestMethodsThatNoHubTakesAreNotSent(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	cfg, requests := record(t, `{"status":200}`)
	s := mustOpen(t, cfg)
	good := 30 * time.Second
	for says, call := range map[string]struct {
		device string
		method Method
	}{
		"device id is empty":         {"", Method{Name: "m", Timeout: good}},
		"should not be empty":        {"d1", Method{Timeout: good}},
		`name is "a/b"`:              {"d1", Method{Name: "a/b", Timeout: good}},
		"timeout is 4s":              {"d1", Method{Name: "m", Timeout: 4 * time.Second}},
		"timeout is 5m1s":            {"d1", Method{Name: "m", Timeout: 301 * time.Second}},
		"timeout is 5.5s":            {"d1", Method{Name: "m", Timeout: 5500 * time.Millisecond}},
		"not JSON":                   {"d1", Method{Name: "m", Timeout: good, Payload: json.RawMessage(`{`)}},
		"the payload has 131075 byt": {"d1", Method{Name: "m", Timeout: good, Payload: json.RawMessage(`"` + strings.Repeat("x", 131073) + `"`)}},
	} {
		_, err := s.InvokeMethod(t.Context(), ID{Device: call.device}, call.method)
		g.Expect(asError(t, err).Reason).To(Equal(ReasonRefused))
		g.Expect(err).To(MatchError(ContainSubstring(says)))
		g.Expect(OutcomeUnknown(err)).To(BeFalse())
	}
	g.Expect(requests).To(BeEmpty())
}

// TestAMethodIsCalledOnce, whatever comes of it, and the error says whether the device may have been.
func TestAMethodIsCalledOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault   hubemulator.Fault
		unknown bool
		reason  Reason
		says    string
	}{
		"the answer is lost": {hubemulator.Fault{Action: hubemulator.FaultDropAnswer}, true, ReasonUnreachable, "look at it before you call again"},
		"the hub fails":      {hubemulator.Fault{Action: hubemulator.FaultStatus, Status: 503}, true, ReasonServerError, "look at it before you call again"},
		"throttled":          {hubemulator.Fault{Action: hubemulator.FaultStatus, Status: 429}, false, ReasonThrottled, "nothing was called; try again"},
		"not connected":      {hubemulator.Fault{Operation: "getTwin", Action: hubemulator.FaultStatus, Status: 500}, false, ReasonDeviceOffline, "try again when it is connected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			server, cfg := emulate(t, hubemulator.Options{Devices: []string{"d1"}})
			if tt.fault.Operation == "" {
				tt.fault.Operation = "invokeMethod"
			}
			_, err := server.AddFault(tt.fault)
			g.Expect(err).NotTo(HaveOccurred())
			_, err = mustOpen(t, cfg).InvokeMethod(t.Context(), ID{Device: "d1"}, Method{Name: "reboot", Timeout: 5 * time.Second})
			own := asError(t, err)
			g.Expect(own.Reason).To(Equal(tt.reason), "%v", err)
			g.Expect(OutcomeUnknown(err)).To(Equal(tt.unknown))
			g.Expect(own.Error()).To(And(ContainSubstring(tt.says), ContainSubstring(`calling a method of device "d1"`), Not(ContainSubstring("is tried again"))))
			g.Expect(server.Counters().Operations["invokeMethod"].Calls).To(BeEquivalentTo(1))
		})
	}
}
