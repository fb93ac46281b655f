package service

import (
	"net/http"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

func (h *handler) getConfiguration(c call) (answer, error) {
	found, err := h.Store.Configuration(c.parameters["configuration"])
	return configurationAnswer(found), err
}

func (h *handler) putConfiguration(c call) (answer, error) {
	written, err := h.Store.PutConfiguration(c.parameters["configuration"], c.header.Get("If-Match"), c.body)
	return configurationAnswer(written), err
}

// configurationAnswer has the etag in a header too, in quotes there.
func configurationAnswer(c store.Configuration) answer {
	return answer{status: http.StatusOK, body: c.Document, header: map[string]string{"ETag": `"` + c.Etag + `"`}}
}

func (h *handler) deleteConfiguration(c call) (answer, error) {
	return answer{status: http.StatusNoContent}, h.Store.DeleteConfiguration(c.parameters["configuration"], c.header.Get("If-Match"))
}

// listConfigurations ignores the parameter top, as IoT Hub does.
func (h *handler) listConfigurations(call) (answer, error) {
	return answer{status: http.StatusOK, body: h.Store.Configurations()}, nil
}

func (h *handler) testConfigurationQueries(c call) (answer, error) {
	result, err := store.TestConfigurationQueries(c.body)
	return answer{status: http.StatusOK, body: result}, err
}

func (h *handler) applyConfigurationContent(c call) (answer, error) {
	return answer{status: http.StatusNoContent}, h.Store.ApplyConfigurationContent(c.id.Device, c.body)
}
