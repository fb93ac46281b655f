package service

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/directmethod"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

type methodAnswer struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

func (h *handler) invokeMethod(c call) (answer, error) {
	request, err := directmethod.Parse(c.body)
	if err != nil {
		return answer{}, err
	}
	result, err := h.methods().Call(c.request.Context(), c.id, request)
	return answer{status: http.StatusOK, body: methodAnswer(result)}, err
}

func (h *handler) methods() directmethod.Caller {
	return directmethod.Caller{Store: h.Store, Clock: h.Clock}
}

// methodShares is one for each 4 KB of the call.
func methodShares(_ *handler, c call) int { return throttle.MethodShares(len(c.body)) }

// methodEnvelope is how only direct methods word a refusal: an envelope of the
// newer kind, as text inside one of the older kind.
func methodEnvelope(refused *directmethod.Error, now time.Time) envelope {
	id := uuid.New()
	inner := map[string]any{
		"errorCode":    refused.Refusal.Number,
		"trackingId":   hex.EncodeToString(id[:]) + "-G:0-TimeStamp:" + now.Format("01/02/2006 15:04:05"),
		"message":      refused.Refusal.Text,
		"timestampUtc": now.Format("2006-01-02T15:04:05.9999999Z"),
	}
	if refused.Waited >= 0 {
		seconds := int(refused.Waited / time.Second)
		inner["info"] = map[string]string{"timeout": fmt.Sprintf("%02d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)}
	}
	text, _ := json.Marshal(inner) // strings and a number always encode
	return envelope{Message: string(text)}
}

func (h *handler) purgeCommands(c call) (answer, error) {
	purged, err := h.Store.PurgeCommands(c.id.Device)
	return answer{status: http.StatusOK, body: map[string]any{
		"deviceId": c.id.Device, "totalMessagesPurged": purged,
	}}, err
}
