package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/amenzhinsky/iothub/iotservice"
)

// The bounds of IoT Hub for direct methods.
const (
	// MinMethodTimeout and MaxMethodTimeout are how short and how long a device may be given to answer.
	MinMethodTimeout = 5 * time.Second
	MaxMethodTimeout = 5 * time.Minute
	// maxMethodPayload is of a call, in bytes.
	maxMethodPayload = 128 << 10
)

// Method is a call of a direct method.
type Method struct {
	Name string
	// Payload is JSON, or empty for none.
	Payload json.RawMessage
	// Timeout is how long the device may take, in whole seconds from MinMethodTimeout to MaxMethodTimeout.
	Timeout time.Duration
}

// MethodResult is a device's answer.
type MethodResult struct {
	// Status is the device's own; by custom that of HTTP.
	Status int
	// Payload is JSON.
	Payload json.RawMessage
}

// Methods calls devices.
type Methods interface {
	// InvokeMethod calls a direct method of a device or module that is connected, once: doing it twice may do what it
	// does twice. Where it is not known whether the device was called, OutcomeUnknown is true of the error.
	InvokeMethod(ctx context.Context, id ID, method Method) (*MethodResult, error)
}

// InvokeMethod implements Methods.
func (s *session) InvokeMethod(ctx context.Context, id ID, method Method) (*MethodResult, error) {
	ex := &exchange{op: opInvokeMethod, id: id, patience: callTimeout + method.Timeout}
	if err := id.check(); err != nil {
		return nil, s.refused(ex, err.Error())
	}
	var err error
	if ex.request, err = method.spelled(); err != nil {
		return nil, s.refused(ex, err.Error())
	}
	// What the library makes of it is sent to no one: see spell.
	call := &iotservice.MethodCall{MethodName: method.Name}
	if id.Module == "" {
		_, err = s.client.CallDeviceMethod(withExchange(ctx, ex), id.Device, call)
	} else {
		_, err = s.client.CallModuleMethod(withExchange(ctx, ex), id.Device, id.Module, call)
	}
	return s.answeredMethod(ctx, ex, err)
}

// spelled is a call as the service API takes it.
func (m Method) spelled() ([]byte, error) {
	seconds := int(m.Timeout / time.Second)
	switch {
	case m.Name == "" || strings.ContainsAny(m.Name, "/+#?\x00"):
		return nil, fmt.Errorf("the method's name is %q: it should not be empty, and not hold / + # or ?", m.Name)
	case m.Timeout < MinMethodTimeout || m.Timeout > MaxMethodTimeout || m.Timeout%time.Second != 0:
		return nil, fmt.Errorf("the timeout is %s: it should be %s to %s, in whole seconds", m.Timeout, MinMethodTimeout, MaxMethodTimeout)
	case len(m.Payload) > 0 && !json.Valid(m.Payload):
		return nil, fmt.Errorf("the payload is not JSON")
	}
	var payload bytes.Buffer
	if len(m.Payload) > 0 {
		if err := json.Compact(&payload, m.Payload); err != nil {
			return nil, err
		}
	}
	if payload.Len() > maxMethodPayload {
		return nil, fmt.Errorf("the payload has %d bytes; at most %d are allowed", payload.Len(), maxMethodPayload)
	}
	return json.Marshal(struct {
		Name    string          `json:"methodName"`
		Seconds int             `json:"responseTimeoutInSeconds"`
		Payload json.RawMessage `json:"payload,omitempty"`
	}{m.Name, seconds, payload.Bytes()})
}

// answeredMethod reads the result out of the answer itself, like answeredTwin: the library knows objects alone.
func (s *session) answeredMethod(ctx context.Context, ex *exchange, err error) (*MethodResult, error) {
	if ex.status != http.StatusOK {
		if err == nil {
			return nil, s.unexpected(ex, "it holds no result")
		}
		return nil, s.failure(ctx, ex, err)
	}
	var w struct {
		Status  *int            `json:"status"`
		Payload json.RawMessage `json:"payload"`
	}
	if json.Unmarshal(ex.body, &w) != nil || w.Status == nil {
		return nil, s.unexpected(ex, "the answer is not the result of a method")
	}
	if len(w.Payload) == 0 {
		w.Payload = json.RawMessage("null")
	}
	return &MethodResult{Status: *w.Status, Payload: w.Payload}, nil
}
