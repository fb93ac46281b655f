package service

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// position is where the next page starts. It names the last row answered, so
// that rows that come and go elsewhere disturb nothing.
type position struct {
	Device string `json:",omitempty"`
	Module string `json:",omitempty"`
	Group  []byte `json:",omitempty"` // instead of the others when rows are groups
	Job    uint64 `json:",omitempty"` // the sequence number of a job
	// Rows is how many rows the pages before had; TOP counts them.
	Rows int
}

var errContinuation = &store.Error{
	Status: http.StatusBadRequest, Number: 400004, Code: "ArgumentInvalid",
	Text: "The continuation token is not one of this query",
}

// tokens are strict about what base64 leaves open: a token is either as it was
// given out or none.
var tokens = base64.StdEncoding.Strict()

// sealPosition writes a continuation token: the position behind a seal over
// it and the query's text, since it is good for one query only.
func (h *handler) sealPosition(at position, text string) string {
	// A struct of strings and numbers always encodes.
	encoded, _ := json.Marshal(at)
	return tokens.EncodeToString(append(h.positionSeal(encoded, text), encoded...))
}

func (h *handler) positionSeal(encoded []byte, text string) []byte {
	sealed := append([]byte("continuation\x00"), encoded...)
	return h.Store.Seal(append(append(sealed, 0), text...))
}

// openPosition reads a continuation token of this query. No token is the start.
func (h *handler) openPosition(token, text string) (position, error) {
	if token == "" {
		return position{}, nil
	}
	decoded, err := tokens.DecodeString(token)
	if err != nil {
		return position{}, errContinuation
	}
	if len(decoded) < store.SealSize {
		return position{}, errContinuation
	}
	seal, encoded := decoded[:store.SealSize], decoded[store.SealSize:]
	var at position
	if !hmac.Equal(seal, h.positionSeal(encoded, text)) || json.Unmarshal(encoded, &at) != nil {
		return position{}, errContinuation
	}
	return at, nil
}
