// Package directmethod calls direct methods of an emulated hub's devices and
// modules: it reads what a back end wants, and words what keeps it from that.
package directmethod

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// The limits of direct methods, as IoT Hub documents them.
const (
	defaultResponseSeconds = 30
	minResponseSeconds     = 5
	maxSeconds             = 300
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

// Parse reads a call. Its errors are of type *store.Error, or *Error where direct
// methods have words of their own.
func Parse(text []byte) (Request, error) {
	var wanted body
	if err := json.Unmarshal(text, &wanted); err != nil {
		return Request{}, badFormat("The body should be a JSON object with methodName, payload, responseTimeoutInSeconds and connectTimeoutInSeconds")
	}
	return wanted.request("'methodName'")
}

// Command reads a call of a digital twin's command, or of a component's: it has
// the names in its path, the payload in its body, and its timeouts in the query.
// Devices know a component's command as the method component*command. Errors
// are those of Parse.
func Command(component, command string, payload []byte, query func(name string) string) (Request, error) {
	wanted := body{Name: command, Payload: payload}
	if component != "" {
		wanted.Name = component + "*" + command
	}
	if len(payload) > 0 && !json.Valid(payload) {
		return Request{}, badFormat("The body should be the command's payload in JSON, or empty")
	}
	var err error
	if wanted.ResponseSeconds, err = seconds(query, "responseTimeoutInSeconds"); err != nil {
		return Request{}, err
	}
	connect, err := seconds(query, "connectTimeoutInSeconds")
	if err != nil {
		return Request{}, err
	}
	if connect != nil {
		wanted.ConnectSeconds = *connect
	}
	return wanted.request("The name of a command or component")
}

func seconds(query func(name string) string, name string) (*int, error) {
	text := query(name)
	if text == "" {
		return nil, nil
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		return nil, invalid("'" + name + "' should be a number of seconds")
	}
	return &number, nil
}

// request checks a call; nameText is how to speak of its name.
func (b body) request(nameText string) (Request, error) {
	response := defaultResponseSeconds
	if b.ResponseSeconds != nil && *b.ResponseSeconds != 0 {
		response = *b.ResponseSeconds
	}
	switch {
	case b.Name == "" || strings.ContainsAny(b.Name, "/+#?\x00"):
		return Request{}, invalid(nameText + " should be a name that fits into an MQTT topic: not empty, and without / + # ?")
	case response < minResponseSeconds || response > maxSeconds:
		return Request{}, invalid("'responseTimeoutInSeconds' should be 5 to 300")
	case b.ConnectSeconds < 0:
		return Request{}, invalid("'connectTimeoutInSeconds' should be 0 to the response timeout")
	case b.ConnectSeconds > response:
		// The service has the number 400004, which only the nested form shows.
		return Request{}, &Error{invalid(fmt.Sprintf(
			"Device connection timeout %d seconds cannot be longer than an overall call timeout %d seconds", b.ConnectSeconds, response)), -1}
	}
	var payload bytes.Buffer
	if len(b.Payload) > 0 {
		if err := json.Compact(&payload, b.Payload); err != nil { // it was decoded before
			return Request{}, err
		}
	}
	if payload.Len() > maxPayload {
		return Request{}, &store.Error{Status: http.StatusRequestEntityTooLarge, Number: 413001, Code: "MessageTooLarge",
			Text: "The request is too large"}
	}
	return Request{
		Name: b.Name, Payload: payload.Bytes(),
		Response: time.Duration(response) * time.Second, Connect: time.Duration(b.ConnectSeconds) * time.Second,
	}, nil
}

func badFormat(text string) *store.Error {
	return &store.Error{Status: http.StatusBadRequest, Number: 400006, Code: "IotHubFormatError", Text: text}
}

func invalid(text string) *store.Error {
	return &store.Error{Status: http.StatusBadRequest, Number: 400004, Code: "ArgumentInvalid", Text: text}
}
