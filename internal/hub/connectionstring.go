package hub

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// The parts of a service connection string.
const (
	partHostName            = "HostName"
	partSharedAccessKeyName = "SharedAccessKeyName"
	partSharedAccessKey     = "SharedAccessKey"
)

// connectionString is a service policy's connection string, taken apart.
type connectionString struct {
	host   string
	policy string
	key    string
}

// parseConnectionString takes a connection string apart. Its errors name the part that is wrong, never a value.
func parseConnectionString(text string) (connectionString, error) {
	parts, err := splitConnectionString(text)
	if err != nil {
		return connectionString{}, err
	}
	if missing := missingParts(parts); len(missing) > 0 {
		if _, device := parts["deviceid"]; device {
			return connectionString{}, malformed("it is a device's; use the one of a service policy, such as \"service\"")
		}
		return connectionString{}, malformed("it lacks " + strings.Join(missing, " and ") + "; copy it again from the hub's shared access policies")
	}
	host, err := ParseHostName(parts[strings.ToLower(partHostName)])
	if err != nil {
		return connectionString{}, malformed(partHostName + " " + err.Error())
	}
	policy := parts[strings.ToLower(partSharedAccessKeyName)]
	if strings.ContainsFunc(policy, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return connectionString{}, malformed(partSharedAccessKeyName + " holds a control character")
	}
	key := parts[strings.ToLower(partSharedAccessKey)]
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) == 0 {
		return connectionString{}, malformed(partSharedAccessKey + " is not base64; copy it again, whole and with its trailing \"=\"")
	}
	return connectionString{host: host, policy: policy, key: key}, nil
}

// splitConnectionString returns the parts by their name in lower case: names count without regard to case, and values
// may hold "=".
func splitConnectionString(text string) (map[string]string, error) {
	parts := map[string]string{}
	for i, part := range strings.Split(strings.TrimSpace(text), ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		if !found {
			return nil, malformed(fmt.Sprintf("part %d is not of the form Name=Value", i+1))
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := parts[name]; twice {
			return nil, malformed(fmt.Sprintf("part %d names something that an earlier part has named", i+1))
		}
		parts[name] = strings.TrimSpace(value)
	}
	return parts, nil
}

func missingParts(parts map[string]string) []string {
	var missing []string
	for _, name := range []string{partHostName, partSharedAccessKeyName, partSharedAccessKey} {
		if parts[strings.ToLower(name)] == "" {
			missing = append(missing, name)
		}
	}
	return missing
}

func malformed(detail string) *Error {
	return &Error{Reason: ReasonMalformedConnectionString, detail: detail}
}
