package service

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/digitaltwin"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/directmethod"
)

func (h *handler) getDigitalTwin(c call) (answer, error) {
	twin, err := h.readTwin(c)
	if err != nil {
		return answer{}, err
	}
	return answer{
		status: http.StatusOK, body: digitaltwin.View(twin.Document()), header: map[string]string{"ETag": quoted(twin.Etag())},
	}, nil
}

// patchDigitalTwin answers 202: what is written is what the device is to become,
// not yet what it is.
func (h *handler) patchDigitalTwin(c call) (answer, error) {
	patch, err := digitaltwin.ParsePatch(c.body)
	if err != nil {
		return answer{}, err
	}
	twin, err := h.Store.ChangeDesired(c.id, c.header.Get("If-Match"), patch.Desired)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusAccepted, header: map[string]string{
		"ETag":     quoted(twin.Etag()),
		"Location": "https://" + c.request.Host + "/digitaltwins/" + url.PathEscape(c.id.Device),
	}}, nil
}

// quoted is an etag as headers have it.
func quoted(etag string) string { return `"` + etag + `"` }

// invokeCommand calls a command of a digital twin, which the device knows as a
// direct method.
func (h *handler) invokeCommand(c call) (answer, error) {
	request, err := directmethod.Command(c.parameters["component"], c.parameters["command"], c.body, c.query)
	if err != nil {
		return answer{}, err
	}
	result, err := h.methods().Call(c.request.Context(), c.id, request)
	return answer{
		status: http.StatusOK, body: result.Payload,
		header: map[string]string{"x-ms-command-statuscode": strconv.Itoa(result.Status)},
	}, err
}
