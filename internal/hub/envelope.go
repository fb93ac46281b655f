package hub

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
)

// errorCodeHeader holds IoT Hub's name for an error; it is on every error of the service API.
const (
	errorCodeHeader = "iothub-errorcode"
	// requestIDHeader carries IoT Hub's id of the request.
	requestIDHeader = "x-ms-request-id"
)

// maxHubText bounds how much of the hub's own words goes into an error.
const maxHubText = 512

// hubError reads IoT Hub's error code and text from an answer. Both are empty when the answer is not IoT Hub's.
func hubError(header http.Header, body []byte, secrets []string) (code, text string) {
	code, text = parseEnvelope(body)
	if named := header.Get(errorCodeHeader); named != "" {
		code = named
	}
	return cleanToken(code, secrets), cleanText(text, secrets)
}

// parseEnvelope reads the body of an error. Most say {"Message":"ErrorCode:<code>;<text>"}; some {"message":"<text>"},
// or the latter as a string within the former.
func parseEnvelope(body []byte) (code, text string) {
	var envelope struct {
		Message string `json:"message"` // matches in any case
	}
	message := string(body)
	for range 2 {
		envelope.Message = ""
		if json.Unmarshal([]byte(message), &envelope) != nil || envelope.Message == "" {
			break
		}
		text, message = envelope.Message, envelope.Message
	}
	if rest, found := strings.CutPrefix(text, "ErrorCode:"); found {
		code, text, _ = strings.Cut(rest, ";")
	}
	return code, text
}

// cleanToken returns an id or a code of the hub's, or nothing when it is not one word of ordinary length.
func cleanToken(token string, secrets []string) string {
	notTokenCharacter := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.:", r)
	}
	if len(token) > 128 || strings.ContainsFunc(token, notTokenCharacter) || holdsSecret(token, secrets) {
		return ""
	}
	return token
}

// cleanText returns the hub's words fit for an error: bounded, on one line, without ids and times that differ each
// time, and not at all when they hold something of a credential.
func cleanText(text string, secrets []string) string {
	if holdsSecret(text, secrets) {
		return ""
	}
	text = perRequest.ReplaceAllString(text, "")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Trim(strings.Join(strings.Fields(text), " "), " ;,.")
	if len(text) > maxHubText {
		text = strings.ToValidUTF8(text[:maxHubText], "") + "…"
	}
	if text == "BadRequest" {
		return "" // all that IoT Hub says about a query it cannot parse
	}
	return text
}

// perRequest matches what IoT Hub appends to a text to identify the one request.
var perRequest = regexp.MustCompile(`(?is)(tracking ?id|timestamp(utc)?)\s*:.*$`)

// secretsOf lists everything in a request that must not come back in an error: the key and the signature made with it.
func secretsOf(key, authorization string) []string {
	secrets := []string{key, strings.TrimRight(key, "=")}
	_, fields, _ := strings.Cut(authorization, " ")
	values, err := url.ParseQuery(fields)
	if err != nil {
		return append(secrets, authorization)
	}
	if signature := values.Get("sig"); signature != "" {
		secrets = append(secrets, signature, strings.TrimRight(signature, "="), url.QueryEscape(signature))
	}
	return secrets
}

// holdsSecret is true when a text holds one of the secrets, or speaks of a token at all.
func holdsSecret(text string, secrets []string) bool {
	if credential.Marked(text) {
		return true
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(text, secret) {
			return true
		}
	}
	return false
}
