// Package hostname knows the three names that one IoT Hub answers to, and what
// each of them offers.
package hostname

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Names are those of one hub, in lower case and without a port. The zero value
// is a hub outside of Azure's clouds, which has a name of its own choice.
type Names struct {
	// Classic is the name that every hub has.
	Classic string
	// Service is for back ends and Device for devices, on hubs of the second
	// gateway. The classic name is for both.
	Service, Device string
}

// clouds are the domains of Azure's hubs: global, China and US Government.
var clouds = [...]string{".azure-devices.net", ".azure-devices.cn", ".azure-devices.us"}

const serviceLabel, deviceLabel = ".service", ".device"

// Of returns the names of the hub that has one of them. Other names than those
// of Azure's clouds return the zero value.
func Of(name string) Names {
	name = strings.ToLower(name)
	for _, cloud := range clouds {
		hub, inCloud := strings.CutSuffix(name, cloud)
		if !inCloud {
			continue
		}
		hub = strings.TrimSuffix(strings.TrimSuffix(hub, serviceLabel), deviceLabel)
		if hub == "" || strings.Contains(hub, ".") {
			return Names{}
		}
		return Names{Classic: hub + cloud, Service: hub + serviceLabel + cloud, Device: hub + deviceLabel + cloud}
	}
	return Names{}
}

// All lists the names; none for the zero value.
func (n Names) All() []string {
	if n == (Names{}) {
		return nil
	}
	return []string{n.Classic, n.Service, n.Device}
}

// Has reports whether a host, whose port and case do not matter, is the hub.
func (n Names) Has(host string) bool { return slices.Contains(n.All(), Bare(host)) }

// ForDevices reports whether a host is the name that is for devices alone.
func (n Names) ForDevices(host string) bool { return n.Device != "" && Bare(host) == n.Device }

// Bare is a host in lower case, without port and brackets.
func Bare(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.Trim(strings.ToLower(host), "[]")
}

// TLS makes base choose by the name that a client asks for (SNI): the classic
// one has TLS 1.2, the others have 1.3 as well, and what is neither them nor
// one of others is refused in the handshake. A client that names none is taken
// to know the address. Without names, base is left as it is.
func (n Names) TLS(base *tls.Config, others []string) {
	if n == (Names{}) {
		return
	}
	modern, classic := base.Clone(), base.Clone()
	classic.MaxVersion = tls.VersionTLS12
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		switch name := Bare(hello.ServerName); {
		case name == n.Classic:
			return classic, nil
		case name == "", n.Has(name), slices.Contains(others, name):
			return modern, nil
		}
		return nil, fmt.Errorf("no hub is called %q here", hello.ServerName)
	}
}
