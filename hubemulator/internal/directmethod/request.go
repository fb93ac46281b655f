// Package directmethod calls direct methods of an emulated hub's devices and
// modules: it reads what a back end wants, and words what keeps it from that.
package directmethod

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// The limits of direct methods, as IoT Hub documents them.
const (
	defaultResponseTimeout = 30 * time.Second
	minResponseTimeout     = 5 * time.Second
	maxTimeout             = 300 * time.Second
	maxPayload             = 128 << 10
)

// Request is one call.
type Request struct {
	Name string
	// Payload is compact JSON, or empty.
	Payload []byte
	// Response is how long the device may take, and Connect how long the hub
	// waits for the device to be there.
	Response, Connect time.Duration
}

// body is a call as it goes over the wire.
type body struct {
	Name            string          `json:"methodName"`
	Payload         json.RawMessage `json:"payload"`
	ResponseSeconds *int            `json:"responseTimeoutInSeconds"`
	ConnectSeconds  int             `json:"connectTimeoutInSeconds"`
}

// Parse reads a call. Its errors are of type *store.Error.
func Parse(text []byte) (Request, error) {
	var wanted body
	if err := json.Unmarshal(text, &wanted); err != nil {
		return Request{}, &store.Error{Status: http.StatusBadRequest, Number: 400006, Code: "IotHubFormatError",
			Text: "The body should be a JSON object with methodName, payload, responseTimeoutInSeconds and connectTimeoutInSeconds"}
	}
	request := Request{
		Name:     wanted.Name,
		Response: defaultResponseTimeout,
		Connect:  time.Duration(wanted.ConnectSeconds) * time.Second,
	}
	if wanted.ResponseSeconds != nil && *wanted.ResponseSeconds != 0 {
		request.Response = time.Duration(*wanted.ResponseSeconds) * time.Second
	}
	switch {
	case request.Name == "" || strings.ContainsAny(request.Name, "/+#?\x00"):
		return Request{}, invalid("'methodName' should be a name that fits into an MQTT topic: not empty, and without / + # ?")
	case request.Response < minResponseTimeout || request.Response > maxTimeout:
		return Request{}, invalid("'responseTimeoutInSeconds' should be 5 to 300")
	case request.Connect < 0 || request.Connect > request.Response:
		return Request{}, invalid("'connectTimeoutInSeconds' should be 0 to the response timeout")
	}
	var payload bytes.Buffer
	if len(wanted.Payload) > 0 {
		if err := json.Compact(&payload, wanted.Payload); err != nil { // it was decoded before
			return Request{}, err
		}
	}
	if payload.Len() > maxPayload {
		return Request{}, &store.Error{Status: http.StatusRequestEntityTooLarge, Number: 413001, Code: "MessageTooLarge",
			Text: "The request is too large"}
	}
	request.Payload = payload.Bytes()
	return request, nil
}

func invalid(text string) *store.Error {
	return &store.Error{Status: http.StatusBadRequest, Number: 400004, Code: "ArgumentInvalid", Text: text}
}
