package hub

import (
	"encoding/base64"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/internal/connectionstring"
)

// connectionString is a service policy's connection string, taken apart.
type connectionString struct {
	host   string
	policy string
	key    string
}

// parseConnectionString takes a connection string apart. Its errors name the part that is wrong, never a value.
func parseConnectionString(text string) (connectionString, error) {
	parts, err := connectionstring.Split(text)
	if err != nil {
		return connectionString{}, malformed(err.Error())
	}
	missing := parts.Missing(connectionstring.HostName, connectionstring.SharedAccessKeyName, connectionstring.SharedAccessKey)
	if len(missing) > 0 {
		return connectionString{}, malformed(incomplete(parts, missing))
	}
	host, err := ParseHostName(parts.Get(connectionstring.HostName))
	if err != nil {
		return connectionString{}, malformed(connectionstring.HostName + " " + err.Error())
	}
	policy := parts.Get(connectionstring.SharedAccessKeyName)
	if strings.ContainsFunc(policy, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return connectionString{}, malformed(connectionstring.SharedAccessKeyName + " holds a control character")
	}
	key := parts.Get(connectionstring.SharedAccessKey)
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) == 0 {
		return connectionString{}, malformed(connectionstring.SharedAccessKey + " is not base64; copy it again, whole and with its trailing \"=\"")
	}
	return connectionString{host: host, policy: policy, key: key}, nil
}

// incomplete says what to do about a text that lacks parts.
func incomplete(parts connectionstring.Parts, missing []string) string {
	switch {
	case parts.Has(connectionstring.ModuleID):
		return "it is a module's; use the one of a service policy, such as \"service\""
	case parts.Has(connectionstring.DeviceID):
		return "it is a device's; use the one of a service policy, such as \"service\""
	case parts.Has(connectionstring.SharedAccessSignature):
		return "it holds a shared access signature, which expires, in place of a policy and its key; use the one that holds the key"
	}
	return "it lacks " + strings.Join(missing, " and ") + "; copy it again from the hub's shared access policies"
}

func malformed(detail string) *Error {
	return &Error{Reason: ReasonMalformedConnectionString, detail: detail}
}
