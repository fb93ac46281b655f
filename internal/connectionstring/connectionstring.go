// Package connectionstring takes the connection strings of IoT Hub apart, and
// recognizes what is pasted in their place by mistake. It is pure, and its errors never
// hold a value: most values lead to a key.
package connectionstring

import (
	"errors"
	"fmt"
	"strings"
)

// The names of parts.
const (
	HostName            = "HostName"
	SharedAccessKeyName = "SharedAccessKeyName"
	SharedAccessKey     = "SharedAccessKey"
	// SharedAccessSignature is a token in place of a key.
	SharedAccessSignature = "SharedAccessSignature"
	DeviceID              = "DeviceId"
	ModuleID              = "ModuleId"
	// X509 is "true" for a device that signs in with a certificate.
	X509 = "x509"
)

// Parts are the values of a connection string. Names count without regard to case.
type Parts struct{ byName map[string]string }

// Get returns the value of a part; empty when there is none.
func (p Parts) Get(name string) string { return p.byName[strings.ToLower(name)] }

// Has tells whether a part is there, even without a value.
func (p Parts) Has(name string) bool {
	_, found := p.byName[strings.ToLower(name)]
	return found
}

// Missing returns those of the names that have no value.
func (p Parts) Missing(names ...string) []string {
	var missing []string
	for _, name := range names {
		if p.Get(name) == "" {
			missing = append(missing, name)
		}
	}
	return missing
}

// Split takes a connection string apart. Blanks around the whole, around parts and
// around their names and values do not count; values may hold "=". An error says
// what stands there instead, and what to do about it.
func Split(text string) (Parts, error) {
	if found := pasted(text); found != "" {
		return Parts{}, errors.New(found)
	}
	parts := Parts{byName: map[string]string{}}
	for i, part := range strings.Split(strings.TrimSpace(text), ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		if !found {
			return Parts{}, fmt.Errorf("part %d is not of the form Name=Value", i+1)
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := parts.byName[name]; twice {
			return Parts{}, fmt.Errorf("part %d names something that an earlier part has named", i+1)
		}
		parts.byName[name] = strings.TrimSpace(value)
	}
	if other := anotherService(parts); other != "" {
		return Parts{}, errors.New("it is that of " + other + "; use one of IoT Hub, which begins with " + HostName + "=")
	}
	return parts, nil
}

// provisioningSuffix ends the host names of the Device Provisioning Service in
// Azure's public cloud and in China's and the US Government's.
const provisioningSuffix = ".azure-devices-provisioning."

// anotherService names the service that a connection string leads to, if it is
// known not to be IoT Hub's own API.
func anotherService(parts Parts) string {
	switch {
	case strings.HasPrefix(strings.ToLower(parts.Get("Endpoint")), "sb:"):
		return "an Event Hubs-compatible endpoint (Endpoint=sb://…), where the messages of devices are read"
	case parts.Has("AccountName"), parts.Has("AccountKey"), parts.Has("DefaultEndpointsProtocol"), parts.Has("BlobEndpoint"):
		return "a storage account"
	case strings.Contains(strings.ToLower(parts.Get(HostName)), provisioningSuffix):
		return "a Device Provisioning Service"
	case parts.Has("InstrumentationKey"):
		return "Application Insights"
	}
	return ""
}
