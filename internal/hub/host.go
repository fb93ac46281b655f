package hub

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// httpsPort is the port of a host name that names none.
const httpsPort = "443"

// DefaultAllowedHostSuffixes returns the host suffixes of the Azure clouds' IoT hubs: global, China and US Government.
func DefaultAllowedHostSuffixes() []string {
	suffixes := domains()
	for i := range suffixes {
		suffixes[i] = "." + suffixes[i]
	}
	return suffixes
}

// ParseHostName checks that text is a host name with an optional port and nothing else: whatever else a URL may hold could
// lead a credential elsewhere. It returns it in lower case, without the port when that is the one of https.
func ParseHostName(text string) (string, error) {
	name, port, hasPort := strings.Cut(strings.ToLower(text), ":")
	if !validName(name) || strings.Contains(port, "/") {
		return "", errors.New("is not a plain host name; it looks like my-hub.azure-devices.net, without a scheme or a path")
	}
	if !hasPort {
		return name, nil
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 || port[0] == '0' {
		return "", errors.New("has a port that is not a number from 1 to 65535")
	}
	if port == httpsPort {
		return name, nil
	}
	return name + ":" + port, nil
}

// validName is true for DNS names and IPv4 addresses: labels of letters, digits, "-" and "_", 63 bytes each and 253 in
// all, as DNS has it.
func validName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notHostCharacter) {
			return false
		}
	}
	return true
}

func notHostCharacter(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// hostAllowed is true when the host, its port aside, lies below a suffix that begins with a dot, or is one that does not:
// to allow one name must not allow those that others may have below it.
func hostAllowed(host string, suffixes []string) bool {
	name, _, _ := strings.Cut(host, ":")
	return slices.ContainsFunc(suffixes, func(suffix string) bool {
		suffix = strings.ToLower(strings.TrimSpace(suffix))
		if strings.HasPrefix(suffix, ".") {
			return strings.HasSuffix(name, suffix)
		}
		return name == suffix
	})
}

func hostNotAllowed(host string, suffixes []string) *Error {
	detail := "no host is allowed"
	if len(suffixes) > 0 {
		detail = "allowed are " + strings.Join(suffixes, ", ")
	}
	return &Error{Reason: ReasonHostNotAllowed, Host: host, detail: detail}
}
