package store

import (
	"fmt"
	"net/http"
)

// Error is a refusal as IoT Hub would word it.
type Error struct {
	// Status is the HTTP status, also used as the status of an MQTT answer.
	Status int
	// Number is the hub's numeric code: the status times 1000 plus a detail.
	Number int
	// Code is the hub's symbolic code, for instance "DeviceNotFound".
	Code string
	// Text is the explanation after the code.
	Text string
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%s (%d): %s", e.Code, e.Number, e.Text)
}

func invalidArgument(format string, args ...any) *Error {
	return &Error{http.StatusBadRequest, 400004, "ArgumentInvalid", fmt.Sprintf(format, args...)}
}

func badFormat(format string, args ...any) *Error {
	return &Error{http.StatusBadRequest, 400006, "IotHubFormatError", fmt.Sprintf(format, args...)}
}

// Unauthorized is the hub's answer to any credential it does not accept. It
// never says what was wrong with it.
func Unauthorized() *Error {
	return &Error{http.StatusUnauthorized, 401002, "IotHubUnauthorizedAccess", "Unauthorized"}
}

func tooLarge(section string, limit int) *Error {
	return &Error{http.StatusForbidden, 403100, "DeviceModelMaxPropertiesExceeded",
		fmt.Sprintf("'%s' size should be less than %d bytes.", section, limit)}
}

func unavailable(text string) *Error {
	return &Error{http.StatusServiceUnavailable, 503001, "ServiceUnavailable", text}
}

func deviceNotFound(deviceID string) *Error {
	return &Error{http.StatusNotFound, 404001, "DeviceNotFound", deviceID}
}

func deviceExists(deviceID string) *Error {
	return &Error{http.StatusConflict, 409001, "DeviceAlreadyExists",
		fmt.Sprintf("A device with ID '%s' is already registered.", deviceID)}
}

func moduleNotFound(id ID) *Error {
	return &Error{http.StatusNotFound, 404010, "ModuleNotFound",
		fmt.Sprintf("Module %s on device %s is not registered.", id.Module, id.Device)}
}

func moduleExists(id ID) *Error {
	return &Error{http.StatusConflict, 409301, "ModuleAlreadyExistsOnDevice",
		fmt.Sprintf("Module %s already exists on device %s.", id.Module, id.Device)}
}

func tooManyModules(deviceID string) *Error {
	return &Error{http.StatusRequestEntityTooLarge, 413003, "TooManyModulesOnDevice",
		fmt.Sprintf("Device %s should have maximum %d modules.", deviceID, maxModules)}
}

func preconditionFailed(text string) *Error {
	return &Error{http.StatusPreconditionFailed, 412001, "PreconditionFailed", text}
}

func systemModule(id ID) *Error {
	return &Error{http.StatusUnauthorized, 401100, "SystemModuleModifyUnauthorizedAccess",
		fmt.Sprintf("Module %s of device %s is the hub's own; it comes and goes with the device's capability iotEdge.", id.Module, id.Device)}
}
