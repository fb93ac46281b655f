package service

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// maxTelemetry is the largest message that IoT Hub takes from a device.
const maxTelemetry = 256 << 10

var errTelemetryTooLarge = &store.Error{Status: http.StatusRequestEntityTooLarge, Number: 413001, Code: "MessageTooLarge",
	Text: "A message of a device should be maximum 262144 bytes"}

// authorizeDevice checks who calls a device's own part of the API: the device
// itself with its token or certificate, or a policy that may connect devices.
func (h *handler) authorizeDevice(r *http.Request, deviceID string) error {
	token := r.Header.Get("Authorization")
	if token == "" && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		_, err := h.Store.AuthenticateCertificate(store.ID{Device: deviceID}, r.TLS.PeerCertificates)
		return err
	}
	_, err := h.Store.AuthenticateDevice(deviceID, token)
	return err
}

// sendEvent takes telemetry. Whether it is one message or a batch makes no
// difference: it has no reader here.
func (h *handler) sendEvent(c call) (answer, error) {
	if len(c.body) > maxTelemetry {
		return answer{}, errTelemetryTooLarge
	}
	return answer{status: http.StatusNoContent}, h.Store.DeviceActive(c.id.Device)
}

// rawBody is an answer's body that is not JSON.
type rawBody []byte

func (h *handler) receiveCommand(c call) (answer, error) {
	taken, found, err := h.Store.TakeCommand(c.id.Device)
	if err != nil || !found {
		return answer{status: http.StatusNoContent}, err
	}
	header := map[string]string{
		"ETag":                  quoted(taken.Token),
		"Content-Type":          "application/octet-stream",
		"iothub-sequencenumber": strconv.FormatUint(taken.Sequence, 10),
		"iothub-deliverycount":  strconv.Itoa(taken.Deliveries),
		"iothub-to":             fmt.Sprintf("/devices/%s/messages/deviceBound", c.id.Device),
	}
	for name, value := range map[string]string{
		"iothub-messageid": taken.MessageID, "iothub-correlationid": taken.CorrelationID, "iothub-userid": taken.UserID,
		"iothub-contenttype": taken.ContentType, "iothub-contentencoding": taken.ContentEncoding,
	} {
		if value != "" {
			header[name] = value
		}
	}
	for name, value := range taken.Properties {
		header["iothub-app-"+name] = value
	}
	return answer{status: http.StatusOK, header: header, body: rawBody(taken.Body)}, nil
}

// completeCommand also takes rejections (?reject), which only the sender of a
// message could tell from completion.
func (h *handler) completeCommand(c call) (answer, error) {
	return answer{status: http.StatusNoContent}, h.Store.SettleCommand(c.id.Device, c.parameters["lock"], false)
}

func (h *handler) abandonCommand(c call) (answer, error) {
	return answer{status: http.StatusNoContent}, h.Store.SettleCommand(c.id.Device, c.parameters["lock"], true)
}
