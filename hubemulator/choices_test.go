package hubemulator_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// probe shows what a hub does, as text, and what that is under each value of a
// choice.
type probe struct {
	observe func(t *testing.T, h *hub) string
	want    map[string]string
}

var probes = map[string]probe{
	"stale-version": {probeStaleVersion, map[string]string{
		"ignored": "current 200, stale 200, stale PUT 200, stale in bulk 200",
		"refused": "current 200, stale 412, stale PUT 412, stale in bulk 400",
	}},
	"null-tags": {probeNullTags, map[string]string{
		"refused": "400, tags map[a:1], desired <nil>",
		"ignored": "200, tags map[a:1], desired 1",
		"cleared": "200, tags <nil>, desired 1",
	}},
	"unquoted-if-match": {probeUnquotedIfMatch, map[string]string{
		"ignored":  "current 200, stale 200, wildcard 200, stale in quotes 412",
		"compared": "current 200, stale 412, wildcard 200, stale in quotes 412",
		"refused":  "current 400, stale 400, wildcard 200, stale in quotes 412",
	}},
	"oversize-status": {probeOversize, map[string]string{
		"403": "tags 403 DeviceModelMaxPropertiesExceeded, desired 403 DeviceModelMaxPropertiesExceeded, bulk 403100, reported 403100",
		"413": "tags 413 MessageTooLarge, desired 413 MessageTooLarge, bulk 413001, reported 403100",
	}},
	"array-size": {probeArraySize, map[string]string{
		"elements": "1100 numbers 403, 3000 empty strings 200",
		"json":     "1100 numbers 200, 3000 empty strings 403",
	}},
	"replaced-metadata": {probeReplacedMetadata, map[string]string{"complete": "a, a.b", "missing": "a"}},
	"sixth-subscription": {probeSixthSubscription, map[string]string{
		"refused":    "sixth 128, foreign 128",
		"disconnect": "sixth disconnected",
	}},
	"foreign-subscription": {probeForeignSubscription, map[string]string{
		"refused":    "foreign 128, sixth 128",
		"disconnect": "foreign disconnected",
	}},
	"foreign-topic": {probeForeignTopic, map[string]string{
		"disconnect": "disconnected",
		"ignored":    "acknowledged",
	}},
	"connack": {probeConnack, map[string]string{
		"by-reason": "unacceptable protocol version",
		"always-5":  "not Authorized",
	}},
	"empty-page": {probeEmptyPage, map[string]string{
		"never": "0 1 1+ 1",
		"first": "0+ 0 0+ 1 0+ 1+ 1",
	}},
	"query-throttle": {probeQueryThrottle, map[string]string{"page": "next page 429", "query": "next page 200"}},
	"rejected-calls": {probeRejectedCalls, map[string]string{
		"free":   "getTwin 0, updateTwin 0, invokeMethod 0, query 0, mqttReportedPatch 0",
		"billed": "getTwin 1, updateTwin 3, invokeMethod 2, query 1, mqttReportedPatch 1",
	}},
	"quote-escape": {probeQuoteEscape, map[string]string{
		"both":      "backslash 200, doubled 200",
		"backslash": "backslash 200, doubled 400",
		"doubled":   "backslash 400, doubled 200",
	}},
	"job-permission": {probeJobPermission, map[string]string{
		"registry": "read: registryRead registryReadWrite, write: registryReadWrite",
		"service":  "read: service, write: service",
		"both":     "read: , write: ",
	}},
	"configuration-permission": {probeConfigurationPermission, map[string]string{
		"both":     "read: , write: ",
		"registry": "read: registryRead registryReadWrite, write: registryReadWrite",
		"service":  "read: service, write: service",
	}},
	"logic-order":            {probeLogicOrder, map[string]string{"sql": "d1 d2", "left-to-right": "d2"}},
	"type-functions":         {probeTypeFunctions, map[string]string{"refused": "400", "known": "200 d1"}},
	"aggregate-name":         {probeAggregateName, map[string]string{"position": "map[$1:2 n:2]", "function": "map[count:2 n:2]"}},
	"service-at-device-name": {probeServiceAtDeviceName, map[string]string{"refused": "404, classic 200", "served": "200, classic 200"}},
	"column-name":            {probeColumnName, map[string]string{"last": "map[deviceId:d1 line:7]", "path": "map[deviceId:d1 tags.line:7]"}},
}

// Each value of each choice has its own effect, and the zero value is the first.
func TestChoices(t *testing.T) {
	t.Parallel()
	known := hubemulator.KnownChoices()
	NewWithT(t).Expect(probes).To(HaveLen(len(known)))
	for _, choice := range known {
		for _, value := range append([]string{""}, choice.Values...) {
			t.Run(choice.Name+"="+value, func(t *testing.T) {
				t.Parallel()
				g := NewWithT(t)
				effective := value
				opts := hubemulator.Options{Devices: []string{"d1", "d2"}, Tier: "F1", Hostname: classicName}
				if value == "" {
					effective = choice.Values[0]
				} else {
					g.Expect(opts.Choices.Set(choice.Name, value)).To(Succeed())
				}
				p := probes[choice.Name]
				g.Expect(p.want).To(HaveLen(len(choice.Values)))
				g.Expect(p.observe(t, startTier(t, opts))).To(Equal(p.want[effective]))
			})
		}
	}
}

func TestRefusedChoices(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	_, err := hubemulator.Start(t.Context(), hubemulator.Options{Choices: hubemulator.Choices{ForeignTopic: "drop"}})
	g.Expect(err).To(MatchError(`choice "foreign-topic" cannot be "drop"; use one of ["disconnect" "ignored"]`))
	var choices hubemulator.Choices
	g.Expect(choices.Set("foreign-topics", "ignored")).To(MatchError(HavePrefix(`choice "foreign-topics" is unknown; use one of ["stale-version" `)))
	g.Expect(choices.Set("foreign-topic", "")).To(MatchError(HavePrefix(`choice "foreign-topic" cannot be "";`)))
	g.Expect(choices).To(BeZero())
}
