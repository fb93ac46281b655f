package fleet_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// pressesInPlantA asks about a set in a namespace that may use the devices of plant a alone.
func pressesInPlantA(g Gomega) fleet.Questions {
	scope := condition(g, "tags.plant = 'a'")
	narrow := func(c *query.Condition) (*query.Condition, error) { return query.And(scope, c), nil }
	selector, err := narrow(condition(g, "tags.kind = 'press' OR tags.kind = 'punch'"))
	g.Expect(err).NotTo(HaveOccurred())
	return fleet.NewQuestions(line(), selector, narrow)
}

// document of a device as the hub's index shows it.
func device(plant, kind string, marker any) map[string]any {
	tags := map[string]any{"plant": plant, "kind": kind}
	if marker != nil {
		tags["deviceTwinSets"] = map[string]any{"factory_line-3": marker}
	}
	return map[string]any{"deviceId": "d", "tags": tags, "connectionState": "Connected"}
}

func marked(revision, wave any) map[string]any {
	return map[string]any{"revision": revision, "wave": wave}
}

func TestWhichDevicesEachQuestionFinds(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	devices := map[string]map[string]any{
		"new":             device("a", "press", nil),
		"held":            device("a", "press", marked("r2", "canary")),
		"held, rest":      device("a", "punch", marked("r2", "rest")),
		"behind":          device("a", "press", marked("r1", "rest")),
		"left":            device("a", "lathe", marked("r2", "canary")),
		"left behind":     device("a", "lathe", marked("r1", "canary")),
		"other plant":     device("b", "press", marked("r2", "canary")),
		"other plant new": device("b", "press", nil),
		"not ours":        device("a", "lathe", nil),
		"no revision":     device("a", "press", map[string]any{"wave": "rest"}),
		"a text":          device("a", "press", "r2"),
		"a number":        device("a", "press", marked(2.0, "rest")),
		"no wave":         device("a", "press", map[string]any{"revision": "r2"}),
		"without tags":    {"deviceId": "d"},
	}
	questions := pressesInPlantA(g)
	must := func(c *query.Condition, err error) *query.Condition {
		g.Expect(err).NotTo(HaveOccurred())
		return c
	}
	for name, tt := range map[string]struct {
		asked *query.Condition
		want  []string
	}{
		"selected": {questions.Selected(),
			[]string{"new", "held", "held, rest", "behind", "no revision", "a text", "a number", "no wave"}},
		"marked": {must(questions.Marked()),
			[]string{"held", "held, rest", "behind", "left", "left behind", "a number", "no wave"}},
		"marked and selected": {questions.MarkedSelected(), []string{"held", "held, rest", "behind", "a number", "no wave"}},
		"holding r2":          {must(questions.Holding("r2")), []string{"held", "held, rest", "left", "no wave"}},
		"holding r1":          {must(questions.Holding("r1")), []string{"behind", "left behind"}},
		// A revision that is a number is found when documents are read: a query compares what has one type.
		"behind r2": {questions.Behind("r2"), []string{"new", "behind", "no revision", "a text"}},
		"behind r1": {questions.Behind("r1"), []string{"new", "held", "held, rest", "no revision", "a text", "no wave"}},
		"behind r2 in waves": {questions.BehindIn("r2", []*query.Condition{
			condition(g, "tags.deviceTwinSets.[[factory_line-3]].revision = 'r1'"), condition(g, "tags.kind = 'punch'")}), []string{"behind"}},
		"written":            {questions.Written("r2"), []string{"held", "held, rest", "no wave"}},
		"written in canary":  {questions.WrittenIn("r2", "canary"), []string{"held"}},
		"written in another": {questions.WrittenIn("r2", "gone"), nil},
	} {
		var found []string
		for device, document := range devices {
			if tt.asked.Matches(document) {
				found = append(found, device)
			}
		}
		g.Expect(found).To(ConsistOf(tt.want), name)
		again, err := query.ParseCondition(tt.asked.String())
		g.Expect(err).NotTo(HaveOccurred(), "%s: %s", name, tt.asked)
		g.Expect(again.String()).To(Equal(tt.asked.String()))
	}
	g.Expect(questions.Written("r2").String()).To(HaveSuffix("AND tags.deviceTwinSets.[[factory_line-3]].revision = 'r2'"))
}

// TestEachSelectedDeviceIsBehindOrWritten: none is forgotten, and none asked for for ever.
func TestEachSelectedDeviceIsBehindOrWritten(t *testing.T) {
	t.Parallel()
	questions := pressesInPlantA(NewWithT(t))
	rapid.Check(t, func(t *rapid.T) {
		marker := rapid.SampledFrom([]any{nil, "text", map[string]any{}, marked("r1", "a"), marked("r2", "a"), marked("", "a"), []any{}}).Draw(t, "marker")
		found := device(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "plant"), rapid.SampledFrom([]string{"press", "lathe"}).Draw(t, "kind"), marker)
		behind, written := questions.Behind("r2").Matches(found), questions.Written("r2").Matches(found)
		if behind && written || (behind || written) != questions.Selected().Matches(found) {
			t.Fatalf("%v is behind: %t, written: %t", found, behind, written)
		}
	})
}

func TestOffline(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	asked := fleet.Offline(pressesInPlantA(g).Written("r2"))
	held := device("a", "press", marked("r2", "rest"))
	g.Expect(asked.Matches(held)).To(BeFalse())
	held["connectionState"] = "Disconnected"
	g.Expect(asked.Matches(held)).To(BeTrue())
	delete(held, "connectionState")
	g.Expect(asked.Matches(held)).To(BeFalse(), "not known")
}

func reporting(g Gomega, reported string) map[string]any {
	var properties map[string]any
	g.Expect(json.Unmarshal([]byte(reported), &properties)).To(Succeed(), reported)
	return map[string]any{"deviceId": "d", "properties": map[string]any{"reported": properties}}
}

func TestAcknowledged(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	declared := twin.Document{
		Tags:    map[string]any{"ring": "stable"},
		Desired: map[string]any{"interval": json.Number("30"), "schedule": map[string]any{"on": true}},
	}
	asked, whole := fleet.Acknowledged(condition(g, "deviceId = 'd'"), declared)
	g.Expect(whole).To(BeTrue())
	for reported, want := range map[string]bool{
		`{"interval":30,"schedule":{"on":true}}`:                                              true,
		`{"interval":{"value":30,"ac":200,"av":4},"schedule":{"on":{"value":true,"ac":200}}}`: true,
		`{"interval":30,"schedule":{"value":{"on":true},"ac":200,"av":4}}`:                    true,
		`{"interval":30.0,"schedule":{"on":true},"more":1}`:                                   true,
		`{}`:                                     false,
		`{"interval":30}`:                        false,
		`{"interval":31,"schedule":{"on":true}}`: false,
		`{"interval":"30","schedule":{"on":true}}`:                                                 false,
		`{"interval":{"value":30,"ac":202,"av":4},"schedule":{"on":true}}`:                         false,
		`{"interval":{"value":30,"ac":"200","av":4},"schedule":{"on":true}}`:                       false,
		`{"interval":{"value":29,"ac":200,"av":4},"schedule":{"on":true}}`:                         false,
		`{"interval":{"ac":200,"av":4},"schedule":{"on":true}}`:                                    false,
		`{"interval":30,"schedule":{"value":{"on":true},"ac":400,"av":4,"ad":"no such schedule"}}`: false,
		`{"interval":30,"schedule":{"value":{"on":false},"ac":200,"av":4}}`:                        false,
		`{"interval":30,"schedule":true}`:                                                          false,
	} {
		g.Expect(asked.Matches(reporting(g, reported))).To(Equal(want), reported)
	}
	g.Expect(asked.Matches(map[string]any{"deviceId": "d"})).To(BeFalse(), "nothing reported")

	selector := condition(g, "deviceId = 'd'")
	asked, whole = fleet.Acknowledged(selector, twin.Document{Tags: declared.Tags})
	g.Expect(whole).To(BeTrue(), "there is nothing to acknowledge")
	g.Expect(asked.String()).To(Equal(selector.String()))
}

// TestWhatNoQueryTells: then the documents of all devices are read.
func TestWhatNoQueryTells(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	many := map[string]any{"interval": json.Number("30")}
	for i := range 200 {
		many[fmt.Sprintf("setting-%03d", i)] = true
	}
	selector := condition(g, "deviceId = 'd'")
	for name, desired := range map[string]map[string]any{
		"an array":        {"interval": json.Number("30"), "list": []any{json.Number("1")}},
		"an empty object": {"interval": json.Number("30"), "nothing": map[string]any{}},
		"a long text":     {"interval": json.Number("30"), "certificate": strings.Repeat("x", 4096)},
		"many leaves":     many,
		"a name":          {"interval": json.Number("30"), "a]]": true},
	} {
		declared := twin.Document{Desired: desired}
		asked, whole := fleet.Acknowledged(selector, declared)
		g.Expect(whole).To(BeFalse(), name)
		g.Expect(asked).To(Equal(selector), name)
		g.Expect(fleet.Unacknowledged(selector, declared)).To(Equal(selector), name)
	}
}

// TestQueriesAreFilledAndNotOverfilled: the longest that are sent parse to what they say.
func TestQueriesAreFilledAndNotOverfilled(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	selector := condition(g, "tags.plant = '"+strings.Repeat("x", 3000)+"'")
	desired, most := map[string]any{}, 0
	for i := range 60 {
		desired[fmt.Sprintf("setting-%03d", i)] = json.Number("1")
		declared := twin.Document{Desired: desired}
		asked, whole := fleet.Acknowledged(selector, declared)
		if !whole {
			break
		}
		most = i + 1
		for _, c := range []*query.Condition{fleet.Offline(asked), fleet.Offline(fleet.Unacknowledged(selector, declared))} {
			again, err := query.ParseCondition(c.String())
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(again.String()).To(Equal(c.String()))
		}
	}
	g.Expect(most).To(BeNumerically("~", 14, 6), "leaves in one query")
}

// reports draws what a device may say of the leaves that declared draws: values, acknowledgements, both, or
// neither.
func reports() *rapid.Generator[map[string]any] {
	said := rapid.SampledFrom([]any{
		30.0, 31.0, "30", true, map[string]any{}, map[string]any{"value": 30.0, "ac": 200.0, "av": 1.0}, map[string]any{"value": 30.0, "ac": 400.0, "av": 1.0},
		map[string]any{"ac": 200.0, "av": 1.0}, map[string]any{"value": 31.0, "ac": 200.0, "av": 1.0}, map[string]any{"value": map[string]any{"b": 30.0}, "ac": 200.0, "av": 1.0},
		map[string]any{"b": 30.0}, map[string]any{"b": 31.0, "ac": 200.0, "av": 1.0}, map[string]any{"b": map[string]any{"value": 30.0, "ac": 200.0, "av": 1.0}},
		map[string]any{"value": map[string]any{"b": "30"}, "ac": 200.0, "av": 1.0}, map[string]any{"value": 30.0, "ac": "200", "av": 1.0},
	})
	return rapid.MapOfN(rapid.SampledFrom([]string{"a", "c"}), said, 0, 2)
}

// TestNoDeviceIsCountedTwice: none has acknowledged and has not; what has by a query, has by its document; and one that is in
// neither answer reports a value of another type.
func TestNoDeviceIsCountedTwice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	all := condition(g, "deviceId = 'd'")
	rapid.Check(t, func(t *rapid.T) {
		declared := rapid.SampledFrom([]twin.Document{
			{Desired: map[string]any{"a": json.Number("30")}},
			{Desired: map[string]any{"a": map[string]any{"b": json.Number("30")}}},
			{Desired: map[string]any{"a": map[string]any{"b": json.Number("30")}, "c": json.Number("30")}},
		}).Draw(t, "declared")
		reported := reports().Draw(t, "reported")
		held := map[string]any{"deviceId": "d", "properties": map[string]any{"reported": reported}}
		asked, whole := fleet.Acknowledged(all, declared)
		acknowledged, missing := asked.Matches(held), fleet.Unacknowledged(all, declared).Matches(held)
		said := twin.Acknowledge(declared.Desired, twin.Stamps{}, reported)
		switch {
		case !whole:
			t.Fatal("a query tells")
		case acknowledged && missing:
			t.Fatalf("%v is counted twice", reported)
		case acknowledged && len(said.Pending) > 0:
			t.Fatalf("%v has acknowledged, but not %s", reported, said.Pending)
		case !acknowledged && !missing && !otherType(declared, reported):
			t.Fatalf("%v is counted nowhere", reported)
		}
	})
}

// otherType tells whether something else than a number stands where one is compared.
func otherType(declared twin.Document, reported map[string]any) bool {
	odd := func(keys ...string) bool {
		found, ok := query.Object(reported).Property(keys)
		_, isNumber := found.(float64)
		return ok && !isNumber
	}
	for path := range declared.Leaves() {
		keys := path.Keys()
		at, _ := query.Object(reported).Property(keys)
		object, _ := at.(map[string]any)
		if _, acknowledges := object["ac"]; !acknowledges && odd(keys...) {
			return true
		}
		for i := range keys {
			above, below := keys[:i+1], keys[i+1:]
			if odd(slices.Concat(above, []string{"ac"})...) || odd(slices.Concat(above, []string{"value"}, below)...) {
				return true
			}
		}
	}
	return false
}

func TestDrifted(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	declared := twin.Document{
		Tags:    map[string]any{"ring": "stable"},
		Desired: map[string]any{"interval": json.Number("30"), "on": true, "seen": "x", "list": []any{}},
	}
	seen, err := twin.ParsePath("desired.seen")
	g.Expect(err).NotTo(HaveOccurred())
	asked := fleet.Drifted(condition(g, "deviceId = 'd'"), declared, twin.Policies{Paths: []twin.PathPolicy{{Path: seen, Policy: twin.Observe}}})
	g.Expect(asked).To(HaveLen(1))
	for text, want := range map[string]bool{
		`{"tags":{"ring":"stable"},"properties":{"desired":{"interval":30,"on":true}}}`:                       false,
		`{"tags":{"ring":"stable"},"properties":{"desired":{"interval":30.0,"on":true,"seen":"y","list":1}}}`: false,
		`{"tags":{"ring":"beta"},"properties":{"desired":{"interval":30,"on":true}}}`:                         true,
		`{"properties":{"desired":{"interval":30,"on":true}}}`:                                                true,
		`{"tags":{"ring":"stable"},"properties":{"desired":{"interval":30}}}`:                                 true,
		`{"tags":{"ring":"stable"},"properties":{"desired":{"interval":31,"on":true}}}`:                       true,
		// Another type is found when the documents are read.
		`{"tags":{"ring":"stable"},"properties":{"desired":{"interval":"30","on":true}}}`: false,
	} {
		held := map[string]any{}
		g.Expect(json.Unmarshal([]byte(text), &held)).To(Succeed())
		held["deviceId"] = "d"
		g.Expect(asked[0].Matches(held)).To(Equal(want), text)
		held["deviceId"] = "e"
		g.Expect(asked[0].Matches(held)).To(BeFalse(), "of another device: %s", text)
	}
	g.Expect(fleet.Drifted(condition(g, "deviceId = 'd'"), declared, twin.Policies{Default: twin.Yield})).To(BeEmpty(), "nothing is enforced")
}

// TestDriftIsAskedForInQueriesThatTheHubTakes: all leaves that are compared are in one of them.
func TestDriftIsAskedForInQueriesThatTheHubTakes(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	desired := map[string]any{"certificate": strings.Repeat("x", 4096), "a]]": true}
	for i := range 400 {
		desired[fmt.Sprintf("setting-%03d", i)] = json.Number("1")
	}
	asked := fleet.Drifted(condition(g, "deviceId = 'd'"), twin.Document{Desired: desired}, twin.Policies{})
	g.Expect(len(asked)).To(BeNumerically(">", 4))
	for i := range 400 {
		name, found := fmt.Sprintf("setting-%03d", i), 0
		for _, c := range asked {
			found += strings.Count(c.String(), "IS_DEFINED(properties.desired.[["+name+"]])")
		}
		g.Expect(found).To(Equal(1), name)
	}
	for _, c := range asked {
		g.Expect(len(c.String())).To(BeNumerically("<", query.MaxLength))
	}
}

func TestReads(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	declared := twin.Document{
		Tags:    map[string]any{"ring": "stable", "place": map[string]any{"plant": "a"}},
		Desired: map[string]any{"interval": json.Number("30"), "list": []any{}},
	}
	for text, want := range map[string][2]string{
		"tags.ring = 'beta'":                                   {"tags.ring", "tags.ring"},
		"tags.other = 1 AND NOT (Tags.ring = 'beta')":          {"tags.ring", "tags.ring"},
		"IS_DEFINED(tags.place)":                               {"tags.place", "tags.place.plant"},
		"tags.place.plant.hall = 1":                            {"tags.place.plant.hall", "tags.place.plant"},
		"IS_DEFINED(tags)":                                     {"tags", "tags.deviceTwinSets.factory_line-3.revision"},
		"IS_DEFINED(tags.deviceTwinSets)":                      {"tags.deviceTwinSets", "tags.deviceTwinSets.factory_line-3.revision"},
		"tags.deviceTwinSets.[[factory_line-3]].wave = 'rest'": {"tags.deviceTwinSets.[[factory_line-3]].wave", "tags.deviceTwinSets.factory_line-3.wave"},
		"properties.desired.interval > 10":                     {"properties.desired.interval", "desired.interval"},
		"IS_DEFINED(properties)":                               {"properties", "desired.interval"},
		"ARRAY_CONTAINS(properties.desired.list, 1)":           {"properties.desired.list", "desired.list"},
		"properties.desired.$version > 3":                      {"properties.desired.$version", "desired.interval"},
		"properties.desired.$metadata.$lastUpdated > 'x'":      {"properties.desired.$metadata.$lastUpdated", "desired.interval"},
		"properties.desired.$metadata.interval.$lastUpdatedVersion > 3": {
			"properties.desired.$metadata.interval.$lastUpdatedVersion", "desired.interval"},
		"ETag = 'x'":  {"etag", "tags.deviceTwinSets.factory_line-3.revision"},
		"version > 7": {"version", "tags.deviceTwinSets.factory_line-3.revision"},
	} {
		read, written, found := fleet.Reads(condition(g, text), declared, line())
		g.Expect(found).To(BeTrue(), text)
		g.Expect([2]string{read, written}).To(Equal(want), text)
	}
	for _, text := range []string{
		"deviceId != ''", "tags.[[ring-old]] = 1 OR tags.places = 2", "properties.reported.interval = 30", "tags.place.hall = 7",
		"properties.desired.intervals = 1", "tags.deviceTwinSets.[[factory_line-4]].revision = 'x'", "status = 'enabled'",
		"properties.desired.$metadata.other.$lastUpdated > 'x'", "properties.reported.$version > 3", "tags.version = 1 AND tags.etag = 2",
	} {
		read, written, found := fleet.Reads(condition(g, text), declared, line())
		g.Expect(found).To(BeFalse(), "%s: %s, %s", text, read, written)
	}
}
