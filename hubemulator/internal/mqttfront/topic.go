package mqttfront

import (
	"strings"
)

// The filters that a device may subscribe to, and the topics it may publish to.
const (
	filterTwinAnswers = "$iothub/twin/res/#"
	filterDesired     = "$iothub/twin/PATCH/properties/desired/#"
	filterMethods     = "$iothub/methods/POST/#"

	prefixTwinGet         = "$iothub/twin/GET/?"
	prefixReportedPatch   = "$iothub/twin/PATCH/properties/reported/?"
	prefixMethodResponses = "$iothub/methods/res/"

	// maxSubscriptions is how many IoT Hub allows on one connection.
	maxSubscriptions = 5
)

type topicKind int

const (
	topicForeign topicKind = iota
	topicTwinGet
	topicReportedPatch
	topicTelemetry
	topicMethodResponse
)

// topic is where a device published to.
type topic struct {
	kind topicKind
	// requestID is the $rid, as received: it is echoed byte for byte.
	requestID string
	// version is the $version of a reported patch, as received.
	version    string
	hasVersion bool
}

func parseTopic(deviceID, name string) topic {
	if query, found := strings.CutPrefix(name, prefixTwinGet); found {
		return requestTopic(topicTwinGet, query)
	}
	if query, found := strings.CutPrefix(name, prefixReportedPatch); found {
		return requestTopic(topicReportedPatch, query)
	}
	switch {
	case isTelemetryTopic(deviceID, name):
		return topic{kind: topicTelemetry}
	case strings.HasPrefix(name, prefixMethodResponses):
		return topic{kind: topicMethodResponse}
	default:
		return topic{kind: topicForeign}
	}
}

// requestTopic reads the query of a request. Without a $rid there is no way to
// answer, so such a topic counts as foreign.
func requestTopic(kind topicKind, query string) topic {
	t := topic{}
	for pair := range strings.SplitSeq(query, "&") {
		switch name, value, _ := strings.Cut(pair, "="); name {
		case "$rid":
			t.kind, t.requestID = kind, value
		case "$version":
			t.version, t.hasVersion = value, true
		}
	}
	return t
}

func isTelemetryTopic(deviceID, name string) bool {
	own := "devices/" + deviceID + "/messages/events"
	return name == own || strings.HasPrefix(name, own+"/")
}

// maySubscribe allows the documented filters, each for the device itself, up to
// the hub's maximum; asking again for one that is held is fine.
func maySubscribe[S any](deviceID, filter string, held map[string]S) bool {
	if _, again := held[filter]; !again && len(held) >= maxSubscriptions {
		return false
	}
	switch filter {
	case filterTwinAnswers, filterDesired, filterMethods, "devices/" + deviceID + "/messages/devicebound/#":
		return true
	default:
		return false
	}
}
