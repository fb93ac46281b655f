package service

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

func (h *handler) getTwin(c call) (answer, error) {
	twin, err := h.readTwin(c)
	return answer{status: http.StatusOK, body: twin}, err
}

func (h *handler) readTwin(c call) (*store.Snapshot, error) {
	if c.stale {
		return h.Store.TwinBefore(c.id)
	}
	return h.Store.Twin(c.id)
}

func (h *handler) patchTwin(c call) (answer, error) {
	twin, err := h.Store.PatchTwin(c.id, c.header.Get("If-Match"), c.body)
	return answer{status: http.StatusOK, body: twin}, err
}

func (h *handler) replaceTwin(c call) (answer, error) {
	twin, err := h.Store.ReplaceTwin(c.id, c.header.Get("If-Match"), c.body)
	return answer{status: http.StatusOK, body: twin}, err
}

func (h *handler) getIdentity(c call) (answer, error) {
	identity, err := h.Store.Identity(c.id)
	return identityAnswer(c.id, identity), err
}

func (h *handler) putIdentity(c call) (answer, error) {
	identity, err := h.Store.PutIdentity(c.id, c.header.Get("If-Match"), c.body)
	return identityAnswer(c.id, identity), err
}

// identityAnswer has a device's etag in a header too, in quotes there. Twins
// and modules have theirs in the body alone.
func identityAnswer(id store.ID, identity store.Identity) answer {
	result := answer{status: http.StatusOK, body: identity.Document}
	if id.Module == "" {
		result.header = map[string]string{"ETag": quoted(identity.Etag)}
	}
	return result
}

func (h *handler) deleteIdentity(c call) (answer, error) {
	return answer{status: http.StatusNoContent}, h.Store.DeleteIdentity(c.id, c.header.Get("If-Match"))
}

func (h *handler) listModules(c call) (answer, error) {
	modules, err := h.Store.ModulesOf(c.id.Device)
	return answer{status: http.StatusOK, body: modules}, err
}

func (h *handler) deviceStatistics(call) (answer, error) {
	statistics := h.Store.Statistics()
	return answer{status: http.StatusOK, body: map[string]int{
		"totalDeviceCount":    statistics.Enabled + statistics.Disabled,
		"enabledDeviceCount":  statistics.Enabled,
		"disabledDeviceCount": statistics.Disabled,
	}}, nil
}

func (h *handler) serviceStatistics(call) (answer, error) {
	return answer{status: http.StatusOK, body: map[string]int{"connectedDeviceCount": h.Store.Statistics().Connected}}, nil
}

func (h *handler) bulkDevices(c call) (answer, error) {
	result, err := h.Store.Bulk(c.body)
	if err != nil {
		return answer{}, err
	}
	status := http.StatusOK
	if !result.IsSuccessful {
		status = http.StatusBadRequest
	}
	return answer{status: status, body: result}, nil
}

// bulkShares is one for each entry.
func bulkShares(_ *handler, c call) int {
	var entries []json.RawMessage
	if err := json.Unmarshal(c.body, &entries); err != nil {
		return 1 // and is refused later
	}
	return max(1, len(entries))
}

func (h *handler) renewKeys(c call) (answer, error) {
	result, err := h.Store.RegenerateKeys(c.body)
	return answer{status: http.StatusOK, body: result}, err
}

// maxListed is the most identities that a list holds, and what the service
// takes any limit for that it does not accept.
const maxListed = 1000

func (h *handler) listDevices(c call) (answer, error) {
	limit, err := strconv.Atoi(c.query("top"))
	if err != nil || limit < 1 || limit > maxListed {
		limit = maxListed
	}
	return answer{status: http.StatusOK, body: h.Store.Identities(limit)}, nil
}

// appendBody appends an answer's body as JSON. Without a body it appends nothing.
func appendBody(text []byte, body any) ([]byte, error) {
	switch body := body.(type) {
	case nil:
		return text, nil
	case *store.Snapshot:
		return body.AppendJSON(text), nil
	case rows:
		return body.appendJSON(text)
	case rawBody:
		return append(text, body...), nil
	}
	encoded := bytes.NewBuffer(text)
	encoder := json.NewEncoder(encoded)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		return nil, fmt.Errorf("the answer could not be encoded: %w", err)
	}
	return bytes.TrimSuffix(encoded.Bytes(), []byte("\n")), nil
}

func writeAnswer(w http.ResponseWriter, result answer) {
	if len(result.text) > 0 {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	for name, value := range result.header {
		w.Header()[name] = []string{value}
	}
	w.WriteHeader(result.status)
	// A client that has gone away is no business of ours.
	_, _ = w.Write(result.text)
}
