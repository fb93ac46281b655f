package service

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// The limits of direct methods, as IoT Hub documents them.
const (
	defaultResponseTimeout = 30 * time.Second
	minResponseTimeout     = 5 * time.Second
	maxMethodTimeout       = 300 * time.Second
	maxMethodPayload       = 128 << 10
)

// methodRequest is the body of a call.
type methodRequest struct {
	Name            string          `json:"methodName"`
	Payload         json.RawMessage `json:"payload"`
	ResponseSeconds *int            `json:"responseTimeoutInSeconds"`
	ConnectSeconds  int             `json:"connectTimeoutInSeconds"`
}

type methodAnswer struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

// methodError is a refusal that only direct methods word this way: an envelope
// of the newer kind, as text inside one of the older kind.
type methodError struct {
	refusal *store.Error
	timeout time.Duration // negative when none is part of the story
}

// Error implements error.
func (m *methodError) Error() string { return m.refusal.Error() }

// Unwrap makes the status and code those of the refusal.
func (m *methodError) Unwrap() error { return m.refusal }

func deviceNotOnline(text string, waited time.Duration) error {
	return &methodError{&store.Error{Status: http.StatusNotFound, Number: 404103, Code: "DeviceNotOnline", Text: text}, waited}
}

func (h *handler) invokeMethod(c call) (answer, error) {
	request, response, err := parseMethod(c.body)
	if err != nil {
		return answer{}, err
	}
	connect := time.Duration(request.ConnectSeconds) * time.Second
	method, err := h.reachMethods(c, connect)
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := h.within(c.ctx, response)
	defer cancel()
	result, err := method(ctx, request.Name, request.Payload)
	switch {
	case errors.Is(err, store.ErrDeviceGone):
		return answer{}, deviceNotOnline("Device unavailable", -1)
	case errors.Is(err, errTimeout):
		return answer{}, &methodError{&store.Error{
			Status: http.StatusGatewayTimeout, Number: 504101, Code: "GatewayTimeout",
			Text: "Timed out waiting for the response from device.",
		}, response}
	case err != nil:
		return answer{}, err
	case len(result.Payload) == 0:
		result.Payload = json.RawMessage("null")
	case !json.Valid(result.Payload):
		return answer{}, errors.New("the device's result is not JSON")
	}
	return answer{status: http.StatusOK, body: methodAnswer(result)}, nil
}

// reachMethods waits until the device can be called.
func (h *handler) reachMethods(c call, patience time.Duration) (store.MethodFunc, error) {
	ctx, cancel := h.within(c.ctx, patience)
	defer cancel()
	method, err := h.Store.Methods(ctx, c.id)
	switch {
	case c.ctx.Err() != nil:
		return nil, context.Cause(c.ctx)
	case err != nil:
		return nil, &methodError{&store.Error{Status: http.StatusNotFound, Number: 404001, Code: "DeviceNotFound", Text: "NotFound"}, -1}
	case method == nil:
		return nil, deviceNotOnline("Timed out waiting for device to connect.", patience)
	}
	return method, nil
}

func parseMethod(body []byte) (methodRequest, time.Duration, error) {
	var request methodRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return methodRequest{}, 0, &store.Error{Status: http.StatusBadRequest, Number: 400006, Code: "IotHubFormatError",
			Text: "The body should be a JSON object with methodName, payload, responseTimeoutInSeconds and connectTimeoutInSeconds"}
	}
	response := defaultResponseTimeout
	if request.ResponseSeconds != nil && *request.ResponseSeconds != 0 {
		response = time.Duration(*request.ResponseSeconds) * time.Second
	}
	connect := time.Duration(request.ConnectSeconds) * time.Second
	switch {
	case request.Name == "" || strings.ContainsAny(request.Name, "/+#?\x00"):
		return methodRequest{}, 0, invalidMethod("'methodName' should be a name that fits into an MQTT topic: not empty, and without / + # ?")
	case response < minResponseTimeout || response > maxMethodTimeout:
		return methodRequest{}, 0, invalidMethod("'responseTimeoutInSeconds' should be 5 to 300")
	case connect < 0 || connect > response:
		return methodRequest{}, 0, invalidMethod("'connectTimeoutInSeconds' should be 0 to the response timeout")
	}
	var payload bytes.Buffer
	if len(request.Payload) > 0 {
		if err := json.Compact(&payload, request.Payload); err != nil { // it was decoded before
			return methodRequest{}, 0, err
		}
	}
	if payload.Len() > maxMethodPayload {
		return methodRequest{}, 0, errBodyTooLarge
	}
	request.Payload = payload.Bytes()
	return request, response, nil
}

func invalidMethod(text string) *store.Error {
	return &store.Error{Status: http.StatusBadRequest, Number: 400004, Code: "ArgumentInvalid", Text: text}
}

var errTimeout = errors.New("the time is over")

// within ends a context with errTimeout when the time is over by the hub's
// clock, which need not be the real one.
func (h *handler) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	bounded, cancel := context.WithCancelCause(ctx)
	if d == 0 {
		cancel(errTimeout)
		return bounded, func() {}
	}
	timer := h.Clock.NewTimer(d)
	go func() {
		defer timer.Stop()
		select {
		case <-timer.C():
			cancel(errTimeout)
		case <-bounded.Done():
		}
	}()
	return bounded, func() { cancel(nil) }
}

// envelope is the error as it goes over the wire.
func (m *methodError) envelope(now time.Time) envelope {
	id := uuid.New()
	inner := map[string]any{
		"errorCode":    m.refusal.Number,
		"trackingId":   hex.EncodeToString(id[:]) + "-G:0-TimeStamp:" + now.Format("01/02/2006 15:04:05"),
		"message":      m.refusal.Text,
		"timestampUtc": now.Format("2006-01-02T15:04:05.9999999Z"),
	}
	if m.timeout >= 0 {
		seconds := int(m.timeout / time.Second)
		inner["info"] = map[string]string{"timeout": fmt.Sprintf("%02d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)}
	}
	text, _ := json.Marshal(inner) // strings and a number always encode
	return envelope{Message: string(text)}
}

func (h *handler) purgeCommands(c call) (answer, error) {
	purged, err := h.Store.PurgeCommands(c.id.Device)
	return answer{status: http.StatusOK, body: map[string]any{
		"deviceId": c.id.Device, "totalMessagesPurged": purged,
	}}, err
}
