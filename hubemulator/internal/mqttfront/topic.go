package mqttfront

import (
	"net/url"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
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
	// status is that of a method's result, as received.
	status string
}

func parseTopic(id store.ID, name string) topic {
	// MQTT keeps these for filters.
	if strings.ContainsAny(name, "+#\x00") {
		return topic{kind: topicForeign}
	}
	if query, found := strings.CutPrefix(name, prefixTwinGet); found {
		return requestTopic(topicTwinGet, query)
	}
	if query, found := strings.CutPrefix(name, prefixReportedPatch); found {
		return requestTopic(topicReportedPatch, query)
	}
	if result, found := strings.CutPrefix(name, prefixMethodResponses); found {
		status, query, found := strings.Cut(result, "/?")
		if !found {
			return topic{kind: topicForeign}
		}
		t := requestTopic(topicMethodResponse, query)
		if t.kind != topicForeign {
			t.status = status
		}
		return t
	}
	if isTelemetryTopic(id, name) {
		return topic{kind: topicTelemetry}
	}
	return topic{kind: topicForeign}
}

// requestTopic reads the query of a request. Without a $rid there is no way to
// answer, so such a topic counts as foreign.
func requestTopic(kind topicKind, query string) topic {
	t := topic{}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, given := strings.Cut(pair, "=")
		switch {
		case name == "$rid" && given:
			t.kind, t.requestID = kind, value
		case name == "$version":
			t.version, t.hasVersion = value, true
		}
	}
	if t.kind == topicForeign {
		return topic{}
	}
	return t
}

func isTelemetryTopic(id store.ID, name string) bool {
	rest, own := cutOwn(id, name)
	return own && (rest == "messages/events" || strings.HasPrefix(rest, "messages/events/"))
}

// cutOwn returns what follows the device's or module's own name in a topic.
// Some of the hub's client libraries escape the name, others do not.
func cutOwn(id store.ID, name string) (rest string, own bool) {
	names := []string{"devices", id.Device}
	if id.Module != "" {
		names = append(names, "modules", id.Module)
	}
	rest = name
	for _, want := range names {
		var segment string
		segment, rest, _ = strings.Cut(rest, "/")
		if decoded, err := url.PathUnescape(segment); segment != want && (err != nil || decoded != want) {
			return "", false
		}
	}
	return rest, true
}

// isCommandFilter tells the filter for messages from the cloud. A module has
// two filters of its own instead, and never gets anything on them here: such
// messages are for devices, and inputs are fed by the module's IoT Edge device.
func isCommandFilter(id store.ID, filter string) bool {
	rest, own := cutOwn(id, filter)
	return own && id.Module == "" && rest == "messages/devicebound/#"
}

// checkSubscription allows the documented filters, each for the device itself,
// up to the hub's maximum; asking again for one that is held is fine.
func checkSubscription[S any](id store.ID, filter string, held map[string]S) error {
	if !isOffered(id, filter) {
		return errForeignFilter
	}
	if _, again := held[filter]; !again && len(held) >= maxSubscriptions {
		return errTooManySubscriptions
	}
	return nil
}

func isOffered(id store.ID, filter string) bool {
	switch filter {
	case filterTwinAnswers, filterDesired, filterMethods:
		return true
	}
	rest, own := cutOwn(id, filter)
	return isCommandFilter(id, filter) || own && id.Module != "" && (rest == "#" || rest == "inputs/#")
}

// commandTopic is where a message from the cloud is sent to, its properties
// being part of the topic's name. filter is the one that it answers.
func commandTopic(filter string, m store.Command) string {
	var bag []string
	add := func(name, value string) {
		if value != "" {
			bag = append(bag, escape(name)+"="+escape(value))
		}
	}
	add("$.mid", m.MessageID)
	add("$.cid", m.CorrelationID)
	add("$.uid", m.UserID)
	add("$.to", "/devices/"+m.DeviceID+"/messages/deviceBound")
	if !m.Expiry.IsZero() {
		add("$.exp", m.Expiry.UTC().Format("2006-01-02T15:04:05.9999999Z"))
	}
	add("$.ct", m.ContentType)
	add("$.ce", m.ContentEncoding)
	for _, name := range m.PropertyNames() {
		bag = append(bag, escape(name)+"="+escape(m.Properties[name]))
	}
	return strings.TrimSuffix(filter, "#") + strings.Join(bag, "&")
}

// escape is percent-encoding; unlike in a form, a space is %20.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
