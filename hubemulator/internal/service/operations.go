package service

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

func (h *handler) getTwin(c call) (answer, error) {
	twin, err := h.Store.Twin(c.deviceID)
	return answer{status: http.StatusOK, body: twin}, err
}

func (h *handler) patchTwin(c call) (answer, error) {
	twin, err := h.Store.PatchTwin(c.deviceID, c.header.Get("If-Match"), c.body)
	return answer{status: http.StatusOK, body: twin}, err
}

func (h *handler) replaceTwin(c call) (answer, error) {
	twin, err := h.Store.ReplaceTwin(c.deviceID, c.header.Get("If-Match"), c.body)
	return answer{status: http.StatusOK, body: twin}, err
}

func (h *handler) getDevice(c call) (answer, error) {
	identity, err := h.Store.Device(c.deviceID)
	return identityAnswer(identity), err
}

func (h *handler) putDevice(c call) (answer, error) {
	identity, err := h.Store.PutDevice(c.deviceID, c.header.Get("If-Match"), c.body)
	return identityAnswer(identity), err
}

// identityAnswer has the etag in a header too, in quotes there. Twins do not.
func identityAnswer(identity store.Identity) answer {
	return answer{
		status: http.StatusOK,
		header: map[string]string{"ETag": `"` + identity.Etag + `"`},
		body:   identity.Document,
	}
}

func (h *handler) deleteDevice(c call) (answer, error) {
	return answer{status: http.StatusNoContent}, h.Store.DeleteDevice(c.deviceID, c.header.Get("If-Match"))
}

// maxListed is the most identities that a list holds, and what the service
// takes any limit for that it does not accept.
const maxListed = 1000

func (h *handler) listDevices(c call) (answer, error) {
	limit, err := strconv.Atoi(c.query("top"))
	if err != nil || limit < 1 || limit > maxListed {
		limit = maxListed
	}
	return answer{status: http.StatusOK, body: h.Store.Devices(limit)}, nil
}

func writeAnswer(w http.ResponseWriter, result answer) {
	var body bytes.Buffer
	if result.body != nil {
		encoder := json.NewEncoder(&body)
		encoder.SetEscapeHTML(false)
		// Every body is made of what was decoded from JSON before, or of plain
		// structs, so that encoding cannot fail.
		if err := encoder.Encode(result.body); err != nil {
			http.Error(w, "the answer could not be encoded: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	for name, value := range result.header {
		w.Header()[name] = []string{value}
	}
	w.WriteHeader(result.status)
	// A client that has gone away is no business of ours.
	_, _ = w.Write(bytes.TrimSuffix(body.Bytes(), []byte("\n")))
}
