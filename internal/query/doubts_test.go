package query_test

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

func TestDoubts(t *testing.T) {
	t.Parallel()
	const (
		late = " may be minutes late: IoT Hub documents it for development and debugging, and advises against queries on it"
		root = "; tags are under tags, properties under properties.desired and properties.reported"
		left = "the negation does not select twins without %[1]s; where they are meant as well, add: OR NOT IS_DEFINED(%[1]s)"
	)
	leftOut := func(path string) string { return fmt.Sprintf(left, path) }
	for where, want := range map[string][]string{
		// what is written every day
		`tags.location.plant = 'Redmond43'`:                                  nil,
		`tags.plant = 'a' AND properties.reported.connectivity = 'cellular'`: nil,
		`deviceId IN ['a', 'b'] OR STARTSWITH(deviceId, 'press-')`:           nil,
		`devices.tags.floor > 1 AND devices.properties.desired.level <= 2`:   nil,
		`capabilities.iotEdge = true`:                                        nil,
		`tags.open`:                                                          nil,
		`true`:                                                               nil,
		`properties.reported.$version > 4 AND version != 2`:                  nil,
		`properties.desired.$metadata.$lastUpdated >= '2026-11-04'`:          nil,
		`properties.reported.$metadata.a.$lastUpdated >= '2026-11-04'`:       nil,
		`properties.desired.$metadata.a.$lastUpdatedVersion = 3`:             nil,
		`properties.desired.$metadata.a.$lastUpdatedBy = 'configuration-1'`:  nil,
		`configurations.[[c-1]].status = 'Applied'`:                          nil,
		`x509Thumbprint.primaryThumbprint = null OR statusReason = null`:     nil,
		`STATUS = 'enabled' AND status != 'disabled'`:                        nil,
		`status = tags.wanted`:                                               nil,
		`tags.a IN [1, 'a']`:                                                 nil,
		`tags.a NIN ['a', 'b'] OR NOT IS_DEFINED(tags.a)`:                    nil,
		`deviceId NIN ['a']`:                                                 nil,
		`-tags.a = 1 AND tags.b + tags.c = 3`:                                nil,

		`tags.a - tags.b = 3`:                    nil,
		`properties.reported.temperature-2 > 20`: nil,

		// names with a hyphen
		`tags.cost-center = 42`:          {"tags.cost-center is read as a subtraction; the name with a hyphen is written tags.[[cost-center]]"},
		`tags.cost-center != '42'`:       {"tags.cost-center is read as a subtraction; the name with a hyphen is written tags.[[cost-center]]"},
		`tags.fw-version = 'a' AND true`: {"tags.fw-version is read as a subtraction; the name with a hyphen is written tags.[[fw-version]]"},
		`properties.reported.a-b-2-c.d IN ['x']`: {
			"properties.reported.a-b-2-c.d is read as a subtraction; the name with a hyphen is written properties.reported.[[a-b-2-c]].d"},
		`tags.line-2 = 'x'`: {"tags.line-2 is read as a subtraction; the name with a hyphen is written tags.[[line-2]]"},

		// properties that no twin has
		`tag.plant = 'a'`:              {"tag.plant is in no twin: there is no tag at its root" + root},
		`plant != 'a'`:                 {"plant is in no twin: there is no plant at its root" + root},
		`[[my tag]].x = 1`:             {"[[my tag]].x is in no twin: there is no [[my tag]] at its root" + root},
		`IS_DEFINED(location)`:         {"location is in no twin: there is no location at its root" + root},
		`desired.level = 1`:            {"desired.level is in no twin: write properties.desired"},
		`Reported.off`:                 {"Reported.off is in no twin: write properties.reported"},
		`properties.level = 1`:         {"properties.level is in no twin: properties holds desired and reported"},
		`properties.Desired.level = 1`: {"properties.Desired.level is in no twin: properties holds desired and reported"},
		`deviceId.name = 'a'`:          {"deviceId.name is in no twin: deviceId is a string"},
		`tag.plant = null`:             {"tag.plant is in no twin: there is no tag at its root" + root},

		// comparisons that are never true
		`tags.a = null`:                     {"a comparison of tags.a with null or undefined is never true; IS_DEFINED(tags.a) tells whether it is there"},
		`undefined != tags.a OR tags.a > 1`: {"a comparison of tags.a with null or undefined is never true; IS_DEFINED(tags.a) tells whether it is there"},
		`version = '3'`:                     {"a comparison of version (a number) with a string is never true: they have different types"},
		`1 = 'a'`:                           {"a comparison of a number with a string is never true: they have different types"},
		`tags = 'a'`:                        {"a comparison of tags (an object) with a string is never true: they have different types"},
		`tags.a = ['a', 'b']`:               {"a comparison of tags.a with a list is never true; IN finds one of several values"},
		`tags.a IN []`:                      {"IN is never true of tags.a and this list: it holds no value of the same type"},
		`version IN ['1']`:                  {"IN is never true of version (a number) and this list: it holds no value of the same type"},
		`deviceId NIN ['a', null]`:          {"NIN is never true of deviceId (a string) and this list: it holds values of other types"},
		`STARTSWITH(version, '1')`:          {"STARTSWITH is never true of version (a number): it takes strings"},
		`ENDSWITH(tags.a, 1)`:               {"ENDSWITH is never true of a number: it takes strings"},
		`ARRAY_CONTAINS(deviceScope, 'a')`:  {"ARRAY_CONTAINS is never true of deviceScope (a string): it takes a list"},
		`tags.a = 1 AND 'b'`:                {"a string on its own is never true: it is neither true nor false"},
		`NOT version`:                       {"version (a number) on its own is never true: it is neither true nor false"},
		`tags.a + 'b' = 'ab'`:               {"a comparison of undefined with a string is never true: they have different types"},
		`status = 'Enabled'`:                {"status is one of 'enabled', 'disabled', spelled like this, and is compared with none of them"},
		`'x509' = authenticationType`:       {"authenticationType is one of 'sas', 'selfSigned', 'certificateAuthority', 'none', spelled like this, and is compared with none of them"},
		`status IN ['on', 'off']`:           {"status is one of 'enabled', 'disabled', spelled like this, and is compared with none of them"},

		// what IoT Hub advises against
		`connectionState = 'Connected'`:                                       {"connectionState" + late},
		`ConnectionState = 'connected'`:                                       {"connectionState" + late, "connectionState is one of 'Connected', 'Disconnected', spelled like this, and is compared with none of them"},
		`lastActivityTime > '2026-11-04' AND lastActivityTime < '2026-11-05'`: {"lastActivityTime" + late},

		// negations that leave twins out
		`tags.a != 'b'`:                             {leftOut("tags.a")},
		`tags.a <> 'b' AND tags.a != 'c'`:           {leftOut("tags.a")},
		`NOT tags.a = 'b'`:                          {leftOut("tags.a")},
		`NOT (tags.a = 'b' OR tags.c > 1)`:          {leftOut("tags.a"), leftOut("tags.c")},
		`tags.a NIN ['b']`:                          {leftOut("tags.a")},
		`NOT STARTSWITH(tags.a, 'b')`:               {leftOut("tags.a")},
		`NOT tags.open`:                             {leftOut("tags.open")},
		`properties.reported.a.b != 1`:              {leftOut("properties.reported.a.b")},
		`tags.a != 'b' AND IS_DEFINED(tags.c)`:      {leftOut("tags.a")},
		`tags.a != 'b' AND IS_DEFINED(tags.a)`:      nil,
		`NOT (IS_DEFINED(tags.a) AND tags.a = 'b')`: nil,
		`tags.a > 1 AND tags.a != 3`:                nil,
		`NOT (tags.a != 'b')`:                       nil,
		`status != 'disabled'`:                      nil,
		`properties.desired.$version != 1`:          nil,
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			condition, err := query.ParseCondition(where)
			g.Expect(err).NotTo(HaveOccurred())
			if want == nil {
				g.Expect(condition.Doubts(false)).To(BeEmpty())
				return
			}
			g.Expect(condition.Doubts(false)).To(Equal(want))
		})
	}
}

func TestDoubtsTellDevicesFromModules(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]struct{ devices, modules []string }{
		`tags.role = 'gateway' AND deviceId = 'a' AND status = 'enabled'`: {},
		`moduleId = 'filter'`: {devices: []string{
			"moduleId is in no twin of a device; twins of modules have it, which are in devices.modules"}},
		`devices.modules.ModuleId != 'filter'`: {devices: []string{
			"moduleId is in no twin of a device; twins of modules have it, which are in devices.modules"}},
		`capabilities.iotEdge = true`: {modules: []string{
			"capabilities is in no twin of a module; twins of devices have it"}},
		`DEVICESCOPE = 'a' OR IS_DEFINED(parentScopes) OR statusReason = 'x'`: {modules: []string{
			"deviceScope is in no twin of a module; twins of devices have it",
			"parentScopes is in no twin of a module; twins of devices have it",
			"statusReason is in no twin of a module; twins of devices have it"}},
		`tags.moduleId = 'a' AND tags.capabilities = 'b'`: {},
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			condition, err := query.ParseCondition(where)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(condition.Doubts(false)).To(HaveExactElements(want.devices))
			g.Expect(condition.Doubts(true)).To(HaveExactElements(want.modules))
		})
	}
}

func TestDoubtsAreBounded(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var parts []string
	for i := range 20 {
		parts = append(parts, fmt.Sprintf("%s%d = 1", strings.Repeat("é", 100), i))
	}
	condition, err := query.ParseCondition(strings.Join(parts, " OR "))
	g.Expect(err).NotTo(HaveOccurred())
	doubts := condition.Doubts(false)
	g.Expect(doubts).To(HaveLen(1), "names that differ after what is shown give the same line")
	g.Expect([]rune(doubts[0])).To(HaveLen(60 + 1 + len(" is in no twin: there is no ") + 60 + 1 +
		len(" at its root; tags are under tags, properties under properties.desired and properties.reported")))

	for i := range parts {
		parts[i] = fmt.Sprintf("p%d = 1", i)
	}
	condition, err = query.ParseCondition(strings.Join(parts, " OR "))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(condition.Doubts(false)).To(HaveLen(5))
}

// possibleTwin draws a twin that IoT Hub could hold, over few names.
func possibleTwin() *rapid.Generator[map[string]any] {
	stored := rapid.SampledFrom([]any{"a", "b", 1.0, -2.0, true, false, []any{1.0}, map[string]any{"c": "a"}})
	section := rapid.MapOf(rapid.SampledFrom([]string{"a", "b"}), stored)
	return rapid.Custom(func(t *rapid.T) map[string]any {
		return map[string]any{
			"deviceId": "a",
			"version":  rapid.SampledFrom([]any{1.0, 2.0}).Draw(t, "version"),
			"status":   rapid.SampledFrom([]any{"enabled", "disabled"}).Draw(t, "status"),
			"tags":     section.Draw(t, "tags"),
			"properties": map[string]any{
				"desired":  section.Draw(t, "desired"),
				"reported": section.Draw(t, "reported"),
			},
		}
	})
}

// TestNeverMeansNever: where a doubt says so, no twin is selected.
func TestNeverMeansNever(t *testing.T) {
	t.Parallel()
	paths := rapid.SampledFrom([]string{
		"deviceId", "version", "status", "tags", "tags.a", "tags.b", "properties.desired.a", "properties.reported.b", "a", "properties.a", "deviceId.a",
	})
	value := rapid.OneOf(paths, constantText(), rapid.SampledFrom([]string{"-tags.a", "tags.a + 1", "version * 'a'", "['a', 1]"}))
	predicate := rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return value.Draw(t, "operand") + rapid.SampledFrom([]string{" IN ", " NIN "}).Draw(t, "in") +
				"[" + strings.Join(rapid.SliceOfN(constantText(), 0, 3).Draw(t, "items"), ", ") + "]"
		case 1:
			return fmt.Sprintf("STARTSWITH(%s, %s)", value.Draw(t, "text"), value.Draw(t, "part"))
		case 2:
			return value.Draw(t, "bare")
		default:
			operator := rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">="}).Draw(t, "operator")
			return value.Draw(t, "left") + operator + value.Draw(t, "right")
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		text := predicate.Draw(t, "predicate")
		condition, err := query.ParseCondition(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		said := strings.Join(condition.Doubts(false), "\n")
		isFalse := strings.Contains(said, "compared with none of them") || strings.Contains(said, "IN is never true")
		if !isFalse && !strings.Contains(said, "never true") {
			return
		}
		negations := []string{"", "NOT "} // what is undefined stays so when it is negated
		if isFalse {
			negations = negations[:1]
		}
		for _, not := range negations {
			judged, err := query.ParseCondition(not + "(" + text + ")")
			if err != nil {
				t.Fatal(err)
			}
			for _, twin := range rapid.SliceOfN(possibleTwin(), 5, 5).Draw(t, "twins") {
				if judged.Matches(twin) {
					t.Fatalf("%s%s selects %v, and yet: %s", not, text, twin, said)
				}
			}
		}
	})
}
