package connectionstring

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// httpsPort is the port of a host name that names none.
const httpsPort = "443"

// ParseHostName checks that text is a host name with an optional port and nothing
// else: whatever else a URL may hold could lead a credential elsewhere. An IPv6
// address stands in brackets, as in a URL. It returns the name in lower case, without
// the port when that is the one of https, and an address in its shortest form.
func ParseHostName(text string) (string, error) {
	name, port, hasPort, err := cutPort(strings.ToLower(text))
	if err != nil {
		return "", err
	}
	if !hasPort || port == httpsPort {
		return name, nil
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 || port[0] == '0' {
		return "", errors.New("has a port that is not a number from 1 to 65535")
	}
	return name + ":" + port, nil
}

// Name returns what ParseHostName returned, without a port and without the brackets
// of an IPv6 address: what to compare, or to find in a certificate.
func Name(host string) string {
	if address, _, bracketed := strings.Cut(strings.TrimPrefix(host, "["), "]"); bracketed {
		return address
	}
	name, _, _ := strings.Cut(host, ":")
	return name
}

// cutPort checks the name and leaves the port to be checked.
func cutPort(text string) (name, port string, hasPort bool, err error) {
	if strings.HasPrefix(text, "[") {
		return cutAddress(text)
	}
	if _, err := netip.ParseAddr(text); err == nil && strings.Contains(text, ":") {
		return "", "", false, errors.New("is an IPv6 address without brackets; it looks like [2001:db8::1], or [2001:db8::1]:8443 with a port")
	}
	name, port, hasPort = strings.Cut(text, ":")
	if !validName(name) || strings.Contains(port, "/") {
		return "", "", false, errNoHostName
	}
	return name, port, hasPort, nil
}

var errNoHostName = errors.New("is not a plain host name; it looks like my-hub.azure-devices.net, without a scheme or a path")

// cutAddress takes an address in brackets. A zone names a network interface of one
// machine, and no certificate holds it.
func cutAddress(text string) (name, port string, hasPort bool, err error) {
	inside, rest, closed := strings.Cut(text[1:], "]")
	address, err := netip.ParseAddr(inside)
	if !closed || err != nil || !address.Is6() || address.Zone() != "" {
		return "", "", false, errors.New("is not a plain host name: what stands in brackets there is an IPv6 address without a zone, such as [2001:db8::1]")
	}
	port, hasPort = strings.CutPrefix(rest, ":")
	if rest != "" && !hasPort || strings.Contains(port, "/") {
		return "", "", false, errNoHostName
	}
	return "[" + address.String() + "]", port, hasPort, nil
}

// validName is true for DNS names and IPv4 addresses: labels of letters, digits,
// "-" and "_", 63 bytes each and 253 in all, as DNS has it.
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
