package past

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
)

// cutMark ends a value that the manager has cut.
const cutMark = "…"

// Text is a value of a history as a table shows it.
func Text(raw *runtime.RawExtension) string {
	value, err := valueOf(raw)
	if err != nil {
		return "no JSON"
	}
	if text, isText := value.(string); isText && strings.HasSuffix(text, cutMark) {
		return text // JSON itself, as far as it goes
	}
	return Spelled(value)
}

// Spelled is a value as a table shows it: JSON, or "-" for none.
func Spelled(value any) string {
	switch value {
	case nil:
		return "-"
	case credential.Hidden:
		return "(" + credential.Hidden + ")"
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "no JSON"
	}
	return strings.TrimSpace(text.String())
}
