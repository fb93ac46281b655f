package hubemulator

import (
	"fmt"
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/mqttfront"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/service"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// Choices say what the hub does where IoT Hub's own behaviour is not
// established: neither documented nor recorded. A program that is to work with
// IoT Hub should work under each of them. An empty field means the value that
// its comment names first. KnownChoices lists them for people.
type Choices struct {
	// StaleVersion is what becomes of a twin's update whose desired properties
	// bring a $version that is not the current one: "ignored", or "refused"
	// with 412. IoT Hub is known to ignore the $version that a whole twin sent
	// back contains; no stale one was recorded.
	StaleVersion string
	// NullTags is what becomes of a twin's update with "tags": null: "cleared",
	// all tags are deleted, as the tests of an SDK once expected and as null
	// for the desired properties does; or "refused" with 400, or "ignored" as
	// if there were no tags in it.
	NullTags string
	// UnquotedIfMatch is what an etag without quotes in a twin's If-Match
	// means: "ignored", that is no condition at all, as IoT Hub was seen to
	// have it; or what a stricter hub might do: "compared", so that a stale one
	// gets 412, or "refused" with 400.
	UnquotedIfMatch string
	// OversizeStatus is the status for tags or desired properties above their
	// limit: "403" with code 403100, which devices were seen to get for their
	// reported properties, or "413" with code 413001, as messages get.
	OversizeStatus string
	// ArraySize is what an array counts towards the limits of a twin:
	// "elements" for the sum of its elements, or "json" for the bytes of its
	// JSON. The documents leave arrays out.
	ArraySize string
	// ReplacedMetadata is what $metadata has of the desired properties inside an
	// object that replaced a string or any other value: it is "complete", or
	// "missing", as it was seen once, until the object is replaced or deleted.
	ReplacedMetadata string
	// SixthSubscription is what becomes of an MQTT subscription beyond the five
	// that a connection may have: "refused" in SUBACK, or "disconnect".
	SixthSubscription string
	// ForeignSubscription is what becomes of an MQTT subscription to a filter
	// that is not one of the device's own: "refused" in SUBACK, or "disconnect".
	ForeignSubscription string
	// ForeignTopic is what becomes of an MQTT message to a topic that is not
	// one of the device's own: "disconnect", or "ignored" and acknowledged.
	ForeignTopic string
	// Connack is the return code of CONNACK for refused connections: "by-reason",
	// that is 1 for another MQTT version, 3 for more connections at a time than
	// the throttle allows, and 5 for all else; or "always-5", the only one that
	// IoT Hub was seen to give.
	Connack string
	// QueryThrottle is what the throttle of queries counts: each "page", or
	// each "query" by its first page.
	QueryThrottle string
	// RejectedCalls is what a call costs that gets a 4xx: it is "free", or
	// "billed" by what it brought, at least a message. Calls that are refused
	// for their credentials, by a throttle or by the quota are free anyway.
	RejectedCalls string
	// EmptyPage is when a query's answer has a page without rows that is not
	// its last: "never", or "first". Clients should go by the continuation, not
	// by the number of rows.
	EmptyPage string
	// QuoteEscape is how a string in a query holds its own quote: "both" with a
	// backslash, as documented, and doubled, as tools are seen to do; or
	// "backslash" or "doubled" only.
	QuoteEscape string
	// LogicOrder is how AND and OR bind in a query without parentheses: "sql",
	// AND before OR, or "left-to-right", both alike.
	LogicOrder string
	// TypeFunctions is what becomes of IS_BOOL, IS_NUMBER, IS_STRING, IS_OBJECT,
	// IS_ARRAY, IS_NULL and IS_PRIMITIVE in a query: they are "refused" as
	// unknown, since they are documented for message routing only, or "known".
	TypeFunctions string
	// AggregateName is what a query's aggregate without AS is called in the
	// answer: $ and its "position", such as $1, or its "function", such as
	// count.
	AggregateName string
	// ColumnName is what a query's property without AS is called in the answer:
	// by the "last" name in its path, such as plant, or by the whole "path",
	// such as tags.location.plant.
	ColumnName string
	// JobPermission is what a shared access policy has to grant for scheduled
	// jobs: to read or write the "registry", as IoT Hub's tutorial asks for;
	// "service" for ServiceConnect; or "both".
	JobPermission string
	// ConfigurationPermission is the same for configurations: "both",
	// "registry" or "service".
	ConfigurationPermission string
	// ServiceAtDeviceName is what becomes of a call of the service API to the
	// hub's name for devices, <hub>.device.azure-devices.net: it is "refused"
	// with 404, or "served" as at the other names.
	ServiceAtDeviceName string
}

// The values that choices have.
const (
	choiceAlways5     = "always-5"
	choiceBackslash   = "backslash"
	choiceBilled      = "billed"
	choiceBoth        = "both"
	choiceByReason    = "by-reason"
	choiceComplete    = "complete"
	choiceCleared     = "cleared"
	choiceCompared    = "compared"
	choiceDisconnect  = "disconnect"
	choiceDoubled     = "doubled"
	choiceElements    = "elements"
	choiceFirst       = "first"
	choiceForbidden   = "403"
	choiceFree        = "free"
	choiceFunction    = "function"
	choiceIgnored     = "ignored"
	choiceJSON        = "json"
	choiceKnown       = "known"
	choiceLast        = "last"
	choiceLeftToRight = "left-to-right"
	choiceMissing     = "missing"
	choiceNever       = "never"
	choicePage        = "page"
	choicePath        = "path"
	choicePosition    = "position"
	choiceQuery       = "query"
	choiceRefused     = "refused"
	choiceRegistry    = "registry"
	choiceSQL         = "sql"
	choiceServed      = "served"
	choiceService     = "service"
	choiceTooLarge    = "413"
)

// Choice describes a field of Choices.
type Choice struct {
	// Name is what Choices.Set calls it.
	Name string
	// Meaning says in a few words what is chosen.
	Meaning string
	// Values are those that it may have; the first one is the default.
	Values []string

	field func(*Choices) *string
}

// KnownChoices lists all fields of Choices.
func KnownChoices() []Choice {
	return []Choice{
		{"stale-version", "a twin's update with another desired $version than the current one",
			[]string{choiceIgnored, choiceRefused}, func(c *Choices) *string { return &c.StaleVersion }},
		{"null-tags", `a twin's update with "tags": null`,
			[]string{choiceCleared, choiceRefused, choiceIgnored}, func(c *Choices) *string { return &c.NullTags }},
		{"unquoted-if-match", "an etag without quotes in a twin's If-Match (IoT Hub was seen to ignore it)",
			[]string{choiceIgnored, choiceCompared, choiceRefused}, func(c *Choices) *string { return &c.UnquotedIfMatch }},
		{"oversize-status", "the status for tags or desired properties above their limit",
			[]string{choiceForbidden, choiceTooLarge}, func(c *Choices) *string { return &c.OversizeStatus }},
		{"array-size", "what an array counts towards those limits",
			[]string{choiceElements, choiceJSON}, func(c *Choices) *string { return &c.ArraySize }},
		{"replaced-metadata", "the $metadata of what is inside an object that replaced another value",
			[]string{choiceComplete, choiceMissing}, func(c *Choices) *string { return &c.ReplacedMetadata }},
		{"sixth-subscription", "an MQTT subscription beyond the five of a connection",
			[]string{choiceRefused, choiceDisconnect}, func(c *Choices) *string { return &c.SixthSubscription }},
		{"foreign-subscription", "an MQTT subscription to what is not the device's own",
			[]string{choiceRefused, choiceDisconnect}, func(c *Choices) *string { return &c.ForeignSubscription }},
		{"foreign-topic", "an MQTT message to a topic that is not the device's own",
			[]string{choiceDisconnect, choiceIgnored}, func(c *Choices) *string { return &c.ForeignTopic }},
		{"connack", "the code in CONNACK for what is not about credentials",
			[]string{choiceByReason, choiceAlways5}, func(c *Choices) *string { return &c.Connack }},
		{"query-throttle", "what the throttle of queries counts",
			[]string{choicePage, choiceQuery}, func(c *Choices) *string { return &c.QueryThrottle }},
		{"rejected-calls", "what a call costs that gets a 4xx",
			[]string{choiceFree, choiceBilled}, func(c *Choices) *string { return &c.RejectedCalls }},
		{"empty-page", "when a query's answer has a page without rows before its last",
			[]string{choiceNever, choiceFirst}, func(c *Choices) *string { return &c.EmptyPage }},
		{"quote-escape", "how a string in a query holds its own quote",
			[]string{choiceBoth, choiceBackslash, choiceDoubled}, func(c *Choices) *string { return &c.QuoteEscape }},
		{"logic-order", "how AND and OR bind in a query without parentheses",
			[]string{choiceSQL, choiceLeftToRight}, func(c *Choices) *string { return &c.LogicOrder }},
		{"type-functions", "IS_BOOL, IS_STRING and the like in a query",
			[]string{choiceRefused, choiceKnown}, func(c *Choices) *string { return &c.TypeFunctions }},
		{"aggregate-name", "what an aggregate without AS is called: $1, or count",
			[]string{choicePosition, choiceFunction}, func(c *Choices) *string { return &c.AggregateName }},
		{"column-name", "what a property without AS is called: plant, or tags.location.plant",
			[]string{choiceLast, choicePath}, func(c *Choices) *string { return &c.ColumnName }},
		{"job-permission", "what a shared access policy has to grant for scheduled jobs",
			[]string{choiceRegistry, choiceService, choiceBoth}, func(c *Choices) *string { return &c.JobPermission }},
		{"configuration-permission", "what a shared access policy has to grant for configurations",
			[]string{choiceBoth, choiceRegistry, choiceService}, func(c *Choices) *string { return &c.ConfigurationPermission }},
		{"service-at-device-name", "a call of the service API to the hub's name for devices",
			[]string{choiceRefused, choiceServed}, func(c *Choices) *string { return &c.ServiceAtDeviceName }},
	}
}

// Set makes the choice of a name in KnownChoices. It fails for other names, and
// for values that the choice may not have.
func (c *Choices) Set(name, value string) error {
	known := KnownChoices()
	i := slices.IndexFunc(known, func(k Choice) bool { return k.Name == name })
	if i < 0 {
		names := make([]string, 0, len(known))
		for _, k := range known {
			names = append(names, k.Name)
		}
		return fmt.Errorf("choice %q is unknown; use one of %q", name, names)
	}
	if err := known[i].check(value); err != nil {
		return err
	}
	*known[i].field(c) = value
	return nil
}

func (k Choice) check(value string) error {
	if !slices.Contains(k.Values, value) {
		return fmt.Errorf("choice %q cannot be %q; use one of %q", k.Name, value, k.Values)
	}
	return nil
}

// check refuses values that a field may not have.
func (c *Choices) check() error {
	for _, known := range KnownChoices() {
		if value := *known.field(c); value != "" {
			if err := known.check(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// store, mqtt and service are the choices as each part of the hub wants them.

func (c *Choices) store() store.Choices {
	return store.Choices{
		RefuseStaleVersion: c.StaleVersion == choiceRefused,
		NullTags: map[string]twindoc.NullTags{
			choiceRefused: twindoc.RefuseNullTags, choiceIgnored: twindoc.IgnoreNullTags,
		}[c.NullTags],
		UnquotedIfMatch: map[string]store.UnquotedIfMatch{
			choiceCompared: store.CompareUnquoted, choiceRefused: store.RefuseUnquoted,
		}[c.UnquotedIfMatch],
		OversizeTooLarge: c.OversizeStatus == choiceTooLarge,
		ArraysAsText:     c.ArraySize == choiceJSON,
		BareReplacements: c.ReplacedMetadata == choiceMissing,
	}
}

func (c *Choices) mqtt() mqttfront.Choices {
	return mqttfront.Choices{
		CutAtSixthSubscription: c.SixthSubscription == choiceDisconnect,
		CutAtForeignFilter:     c.ForeignSubscription == choiceDisconnect,
		IgnoreForeignTopics:    c.ForeignTopic == choiceIgnored,
		AlwaysUnauthorized:     c.Connack == choiceAlways5,
		BillRejected:           c.RejectedCalls == choiceBilled,
	}
}

func (c *Choices) service() service.Choices {
	rights := map[string]service.Rights{
		choiceRegistry: service.RegistryRights, choiceService: service.ServiceRights, choiceBoth: service.AllRights,
	}
	return service.Choices{
		Dialect: query.Dialect{
			Escape: map[string]query.Escape{
				choiceBackslash: query.BackslashEscape, choiceDoubled: query.DoubledEscape,
			}[c.QuoteEscape],
			LeftToRight:     c.LogicOrder == choiceLeftToRight,
			TypeFunctions:   c.TypeFunctions == choiceKnown,
			NamedByFunction: c.AggregateName == choiceFunction,
			NamedByPath:     c.ColumnName == choicePath,
		},
		JobRights:           rights[c.JobPermission],
		ConfigurationRights: rights[c.ConfigurationPermission],
		EmptyFirstPage:      c.EmptyPage == choiceFirst,
		ThrottleFirstPages:  c.QueryThrottle == choiceQuery,
		BillRejected:        c.RejectedCalls == choiceBilled,
		ServiceAtDeviceName: c.ServiceAtDeviceName == choiceServed,
	}
}
