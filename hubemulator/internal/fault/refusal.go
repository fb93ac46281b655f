package fault

import (
	"net/http"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// usualCodes are the codes that the hub gives most often with a status.
var usualCodes = map[int]string{
	http.StatusBadRequest:            "ArgumentInvalid",
	http.StatusUnauthorized:          "IotHubUnauthorizedAccess",
	http.StatusForbidden:             "IotHubQuotaExceeded",
	http.StatusNotFound:              "DeviceNotFound",
	http.StatusConflict:              "DeviceAlreadyExists",
	http.StatusPreconditionFailed:    "PreconditionFailed",
	http.StatusRequestEntityTooLarge: "MessageTooLarge",
	http.StatusTooManyRequests:       "ThrottlingBacklogTimeout",
	http.StatusInternalServerError:   "ServerError",
	http.StatusServiceUnavailable:    "ServiceUnavailable",
	http.StatusGatewayTimeout:        "GatewayTimeout",
}

// Refusal words action "status" as the hub words the same failure of its own.
// operationType is the request's.
func (v Verdict) Refusal(operationType throttle.Type) *store.Error {
	code := v.ErrorCode
	if code == "" {
		code = usualCodes[v.Status]
	}
	if code == "" {
		code = "GenericError"
	}
	text := http.StatusText(v.Status)
	if v.Status == http.StatusTooManyRequests {
		text = "The request has been throttled. Wait 10 seconds and try again. Operation type: " + operationType.String()
	}
	return &store.Error{Status: v.Status, Number: v.Status * 1000, Code: code, Text: text}
}
