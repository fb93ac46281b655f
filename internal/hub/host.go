package hub

import (
	"slices"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/internal/connectionstring"
)

// DefaultAllowedHostSuffixes returns the host suffixes of the Azure clouds' IoT hubs: global, China and US Government.
func DefaultAllowedHostSuffixes() []string {
	suffixes := domains()
	for i := range suffixes {
		suffixes[i] = "." + suffixes[i]
	}
	return suffixes
}

// ParseHostName checks that text is a host name with an optional port and nothing else, as connectionstring.ParseHostName
// has it.
func ParseHostName(text string) (string, error) { return connectionstring.ParseHostName(text) }

// hostAllowed is true when the host, its port aside, lies below a suffix that begins with a dot, or is one that does not:
// to allow one name must not allow those that others may have below it.
func hostAllowed(host string, suffixes []string) bool {
	name := connectionstring.Name(host)
	return slices.ContainsFunc(suffixes, func(suffix string) bool {
		suffix = strings.ToLower(strings.TrimSpace(suffix))
		if strings.HasPrefix(suffix, ".") {
			return strings.HasSuffix(name, suffix)
		}
		return name == strings.Trim(suffix, "[]")
	})
}

func hostNotAllowed(host string, suffixes []string) *Error {
	detail := "no host is allowed"
	if len(suffixes) > 0 {
		detail = "allowed are " + strings.Join(suffixes, ", ")
	}
	return &Error{Reason: ReasonHostNotAllowed, Host: host, detail: detail}
}
