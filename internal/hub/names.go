package hub

import (
	"slices"
	"strings"
)

// domains are the clouds' domains of IoT hubs, below which a hub has its names.
func domains() []string {
	return []string{"azure-devices.net", "azure-devices.cn", "azure-devices.us"}
}

// The labels of a hub's further names, <hub>.service.azure-devices.net and <hub>.device.azure-devices.net, which hubs of
// the second gateway answer to beside <hub>.azure-devices.net. Microsoft Learn: iot-hub-devguide-endpoints.
const (
	serviceLabel = "service"
	deviceLabel  = "device"
)

// ClassicName returns the one name that a hub is known by, whichever of its names a host is: my-hub.azure-devices.net for
// my-hub.service.azure-devices.net and my-hub.device.azure-devices.net. Claims, records, rates and metrics go by it, so
// that one hub is one hub. Any other host is its own name. A port stays.
func ClassicName(host string) string {
	if hub, _, domain, further := furtherName(host); further {
		return hub + "." + domain
	}
	return host
}

// endpoint returns the name that calls go to: the one that was given, but for that of the devices' endpoint, which need
// not serve the service API.
func endpoint(host string) string {
	if hub, label, domain, further := furtherName(host); further && label == deviceLabel {
		return hub + "." + serviceLabel + "." + domain
	}
	return host
}

// furtherName takes a hub's name of the second gateway apart. A port stays with the domain.
func furtherName(host string) (hub, label, domain string, further bool) {
	hub, rest, _ := strings.Cut(host, ".")
	label, domain, _ = strings.Cut(rest, ".")
	name, _, _ := strings.Cut(domain, ":")
	further = hub != "" && (label == serviceLabel || label == deviceLabel) && slices.Contains(domains(), name)
	return hub, label, domain, further
}
