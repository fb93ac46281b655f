package admin

import (
	"errors"
	"io"
	"net/http"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// maxMessage bounds a message to a device: 64 KB in base64, and its properties.
const maxMessage = 1 << 18

func (c Config) sendToDevice(w http.ResponseWriter, r *http.Request) {
	document, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		refuse(w, http.StatusBadRequest, "the message cannot be read: "+err.Error())
		return
	}
	if err := c.SendToDevice(r.Context(), r.PathValue("id"), document); err != nil {
		status := http.StatusBadRequest
		if refused, ok := errors.AsType[*store.Error](err); ok {
			status = refused.Status
		}
		refuse(w, status, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
