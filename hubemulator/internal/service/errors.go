package service

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/directmethod"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

var (
	errNoRoute      = &store.Error{Status: http.StatusNotFound, Number: 404000, Code: "GenericNotFound", Text: "IoT Hub's service API has no such path"}
	errDevicesOnly  = &store.Error{Status: http.StatusNotFound, Number: 404000, Code: "GenericNotFound", Text: "The service API is not at the hub's name for devices; use its service name or its classic one"}
	errNotOffered   = notOffered("hubemulator does not offer this method on this path")
	errNoImport     = notOffered("hubemulator offers no import and export jobs, which work on blob storage; create, change and delete devices in bulk with POST /devices, and list them with GET /devices or a query")
	errNoAMQP       = notOffered("hubemulator does not speak AMQP; connect devices with MQTT, over WebSocket at /$iothub/websocket with the subprotocol mqtt, and send messages to devices with POST /emulator/devices/{id}/commands of the admin address")
	errAPIVersion   = &store.Error{Status: http.StatusBadRequest, Number: 400001, Code: "InvalidProtocolVersion", Text: "The api-version parameter should be a version's date, such as 2021-04-12"}
	errBodyTooLarge = &store.Error{Status: http.StatusRequestEntityTooLarge, Number: 413001, Code: "MessageTooLarge", Text: "The request is too large"}
	// The service says nothing more about a query that it does not understand.
	errBadQuery     = &store.Error{Status: http.StatusBadRequest, Number: 400004, Code: "ArgumentInvalid", Text: "BadRequest"}
	errMissingQuery = &store.Error{Status: http.StatusBadRequest, Number: 400005, Code: "ArgumentNull", Text: "BadRequest"}
)

func notOffered(text string) *store.Error {
	return &store.Error{Status: http.StatusNotImplemented, Number: 501000, Code: "NotImplemented", Text: text}
}

func asRefusal(err error) *store.Error {
	if refusal, ok := errors.AsType[*store.Error](err); ok {
		return refusal
	}
	return &store.Error{Status: http.StatusInternalServerError, Number: 500001, Code: "ServerError", Text: err.Error()}
}

// errorWriter writes the service API's error envelope.
type errorWriter struct{ clock clock.PassiveClock }

type envelope struct {
	Message          string
	ExceptionMessage string
}

// numberedEnvelope is the other form of an error: newer parts of the hub, and
// devices' connections, have it.
type numberedEnvelope struct {
	ErrorCode    int    `json:"errorCode"`
	Message      string `json:"message"`
	TrackingID   string `json:"trackingId"`
	TimestampUTC string `json:"timestampUtc"`
}

// numbered are the codes of the refusals that the service API gives in a
// numberedEnvelope.
var numbered = [...]string{"ModuleAlreadyExistsOnDevice"}

func (e errorWriter) envelopeOf(err error, refusal *store.Error) any {
	if refused, ok := errors.AsType[*directmethod.Error](err); ok {
		return methodEnvelope(refused, e.clock.Now().UTC())
	}
	return e.envelope(refusal)
}

func (e errorWriter) envelope(refusal *store.Error) any {
	id := uuid.New()
	tracking := hex.EncodeToString(id[:])
	now := e.clock.Now().UTC()
	if slices.Contains(numbered[:], refusal.Code) {
		timestamp := now.Format("2006-01-02T15:04:05.0000000Z")
		return numberedEnvelope{
			ErrorCode: refusal.Number, Message: refusal.Text,
			TrackingID: tracking + "-G2:-TimeStamp:" + timestamp, TimestampUTC: timestamp,
		}
	}
	return envelope{
		Message:          fmt.Sprintf("ErrorCode:%s;%s", refusal.Code, refusal.Text),
		ExceptionMessage: fmt.Sprintf("Tracking ID:%s-G:0-TimeStamp:%s", tracking, now.Format("01/02/2006 15:04:05")),
	}
}

func (e errorWriter) write(w http.ResponseWriter, err error) {
	refusal := asRefusal(err)
	// Strings and a number always encode.
	text, _ := appendBody(nil, e.envelopeOf(err, refusal))
	result := answer{
		status: refusal.Status,
		header: map[string]string{"iothub-errorcode": refusal.Code},
		text:   text,
	}
	if refusal.Status == http.StatusTooManyRequests {
		// The service never says how long to wait; it hangs up instead.
		result.header["Connection"] = "close"
	}
	writeAnswer(w, result)
}
