package query_test

import (
	"encoding/json"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

const thermostat = `{
	"deviceId": "thermostat-1",
	"status": "enabled",
	"statusReason": null,
	"connectionState": "Connected",
	"lastActivityTime": "2026-11-20T10:00:00.5Z",
	"version": 7,
	"capabilities": {"iotEdge": true},
	"tags": {
		"location": {"region": "US", "plant": "Redmond43"},
		"floors": [1, 2],
		"Mixed": "Case",
		"owner": "O'Brien",
		"group": {"name": "a"},
		"odd key": true,
		"big": 4503599627370495,
		"empty": {}
	},
	"properties": {
		"desired": {"power_level": 1, "$metadata": {"$lastUpdated": "2026-11-20T09:00:00Z"}, "$version": 3},
		"reported": {"connectivity": "cellular", "temperature": -20.5, "on": false, "$version": 4}
	}
}`

func document(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(thermostat), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func exactDocument(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	decoder := json.NewDecoder(strings.NewReader(thermostat))
	decoder.UseNumber()
	if err := decoder.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestMatches(t *testing.T) {
	t.Parallel()
	doc, exact := document(t), exactDocument(t)
	for _, tt := range []struct {
		condition string
		want      bool
	}{
		{`tags.location.plant = 'Redmond43'`, true},
		{`tags.location.plant = "Redmond43"`, true},
		{`devices.tags.location.plant = 'Redmond43'`, true},
		{`devices.modules.tags.location.plant = 'Redmond43'`, true},
		{`tags.location.plant = 'redmond43'`, false},
		{`tags.location.plant != 'Redmond44'`, true},
		{`tags.location.plant <> 'Redmond44'`, true},
		{`tags.location.plant >= 'Redmond' AND tags.location.plant < 'S'`, true},

		// Case: the twin's own fields do not care, what people store does.
		{`DEVICEID = 'thermostat-1'`, true},
		{`Tags.Mixed = 'Case' and TAGS.mixed = 'Case'`, false},
		{`Properties.reported.connectivity = 'cellular'`, true},
		{`properties.REPORTED.connectivity = 'cellular'`, false},
		{`is_defined(tags.Mixed) AnD nOt Is_Defined(tags.mixed)`, true},

		// A missing property has no answer, in either direction.
		{`tags.missing = 'a'`, false},
		{`tags.missing != 'a'`, false},
		{`NOT (tags.missing = 'a')`, false},
		{`NOT (tags.missing != 'a')`, false},
		{`NOT IS_DEFINED(tags.missing) OR tags.missing != 'a'`, true},
		{`tags.missing = undefined`, false},
		{`tags.missing = null`, false},
		{`tags.missing IN ['a']`, false},
		{`tags.missing NIN ['a']`, false},
		{`tags.location.plant.deeper = 'a'`, false},
		{`tags.missing = 'a' OR deviceId = 'thermostat-1'`, true},
		{`deviceId = 'thermostat-1' OR tags.missing = 'a'`, true},
		{`NOT (tags.missing = 'a' AND deviceId = 'other')`, true},
		{`NOT (tags.missing = 'a' AND deviceId = 'thermostat-1')`, false},

		// Types do not mix, and only primitives compare.
		{`version = 7`, true},
		{`version = '7'`, false},
		{`version != '7'`, false},
		{`NOT (version = '7')`, false},
		{`tags.location = tags.location`, false},
		{`tags.floors = [1, 2]`, false},
		{`tags.floors != [1, 2]`, false},
		{`statusReason = null`, true},
		{`statusReason != null`, false},
		{`IS_DEFINED(statusReason)`, true},
		{`IS_DEFINED(tags.empty)`, true},

		// Only true is true.
		{`capabilities.iotEdge`, true},
		{`capabilities.iotEdge = true`, true},
		{`properties.reported.on`, false},
		{`NOT properties.reported.on`, true},
		{`deviceId`, false},
		{`NOT deviceId`, false},
		{`version`, false},
		{`true`, true},
		{`1`, false},
		{`null`, false},
		{`NOT null`, false},

		// Numbers.
		{`properties.reported.temperature = -20.5`, true},
		{`properties.reported.temperature < -20`, true},
		{`version = 7.0`, true},
		{`version = 0x7`, true},
		{`version = 70e-1`, true},
		{`tags.big = 4503599627370495`, true},
		{`tags.big > 4503599627370494`, true},
		{`version + 1 = 8 AND version - 1 = 6 AND version * 2 = 14 AND version / 2 = 3.5 AND version % 4 = 3`, true},
		{`version + 2 * 3 = 13`, true},
		{`(version + 2) * 3 = 27`, true},
		{`10 - 2 - 3 = 5`, true},
		{`-(-version) = 7`, true},
		{`version / 0 = 1 OR version / 0 != 1`, false},
		{`version + 'a' = 8`, false},

		// Precedence: NOT, then AND, then OR.
		{`true OR false AND false`, true},
		{`(true OR false) AND false`, false},
		{`NOT false AND false`, false},
		{`NOT version = 8`, true},

		// Lists.
		{`tags.location.region IN ['US', 'DE']`, true},
		{`tags.location.region in ["DE"]`, false},
		{`tags.location.region NIN ['DE', 'FR']`, true},
		{`tags.location.region NIN ['DE', 'US']`, false},
		{`NOT (tags.location.region IN ['DE'])`, true},
		{`version IN [6, -7, 0x7]`, true},
		{`version IN ['7', true, null, undefined]`, false},
		{`version NIN ['7']`, false},
		{`version IN []`, false},
		{`version NIN []`, true},

		// Functions.
		{`STARTSWITH(deviceId, 'thermo')`, true},
		{`startswith(deviceId, 'stat')`, false},
		{`ENDSWITH(deviceId, '-1')`, true},
		{`STARTSWITH(version, '7')`, false},
		{`NOT STARTSWITH(tags.missing, 'a')`, false},
		{`ARRAY_CONTAINS(tags.floors, 2)`, true},
		{`array_contains(tags.floors, 3)`, false},
		{`ARRAY_CONTAINS(tags.floors, '2')`, false},
		{`ARRAY_CONTAINS(tags.floors, tags.missing)`, false},
		{`NOT ARRAY_CONTAINS(tags.floors, 3)`, true},
		{`NOT ARRAY_CONTAINS(tags.missing, 3)`, false},
		{`NOT ARRAY_CONTAINS(tags.owner, 3)`, true},
		{`ARRAY_CONTAINS(['US', 'EU'], tags.location.region)`, true},

		// Names and metadata.
		{`tags.[[group]].name = 'a'`, true},
		{`tags.[[odd key]]`, true},
		{`[[tags]].[[location]].region = 'US'`, true},
		{`properties.desired.$version = 3`, true},
		{`properties.desired.$metadata.$lastUpdated >= '2026-11-20T09:00:00Z'`, true},
		{`lastActivityTime > '2026-11-20T10:00:00Z'`, false}, // as strings: '.' comes before 'Z'

		// Strings, in both quotings and with both escapes.
		{`tags.owner = 'O\'Brien'`, true},
		{`tags.owner = 'O''Brien'`, true},
		{`tags.owner = "O'Brien"`, true},
		{`tags.owner = "O\'Brien"`, true},
		{`tags.owner = 'O\u0027Brien'`, true},
		{`'\ud83d\ude00' = '😀' AND '\\' = "\\" AND "a""b" = 'a"b' AND '' = ""`, true},
	} {
		t.Run(tt.condition, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			condition, err := query.ParseCondition(tt.condition)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(condition.Matches(doc)).To(Equal(tt.want))
			g.Expect(condition.Matches(exact)).To(Equal(tt.want), "with json.Number")

			again, err := query.ParseCondition(condition.String())
			g.Expect(err).NotTo(HaveOccurred(), "the canonical text: %s", condition)
			g.Expect(again.String()).To(Equal(condition.String()))
			g.Expect(again.Matches(doc)).To(Equal(tt.want), "the canonical text: %s", condition)
		})
	}
}

func TestMatchesGoIntegers(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	condition, err := query.ParseCondition(`a = 1 AND b = 1 AND c = 1 AND d = 1 AND e = 1.5`)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(condition.Matches(map[string]any{
		"a": 1, "b": int64(1), "c": int32(1), "d": uint64(1), "e": float32(1.5),
	})).To(BeTrue())
}

func TestConditionString(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{`tags.a='x'`, `tags.a = 'x'`},
		{`Devices.TAGS.a <> "x"`, `tags.a != 'x'`},
		{`a = 1 and b = 2 or c = 3`, `(a = 1 AND b = 2) OR c = 3`},
		{`((a = 1 and (b = 2 and c = 3)))`, `a = 1 AND b = 2 AND c = 3`},
		{`not a = 1 and b`, `(NOT (a = 1)) AND b`},
		{`not not a`, `NOT (NOT a)`},
		{`a + 1 * 2 = -3`, `(a + (1 * 2)) = -3`},
		{`- -3 = a`, `(-(-3)) = a`},
		{`a nin [1,0xFF , 'b']`, `a NIN [1, 0xFF, 'b']`},
		{`starts = 'a' AND startswith(a,"b")`, `starts = 'a' AND STARTSWITH(a, 'b')`},
		{`is_defined(tags.[[x y]])`, `IS_DEFINED(tags.[[x y]])`},
		{`tags.[[plain]] = 1`, `tags.plain = 1`},
		{`tags.[[order]].[[Group]].[[1]].[[]] = 1`, `tags.[[order]].[[Group]].[[1]].[[]] = 1`},
		{`a = 'it''s'`, `a = "it's"`},
		{`a = 'say "hi"'`, `a = 'say "hi"'`},
		{`a = 'it''s "both"'`, `a = "it's \u0022both\u0022"`},
		{`a = '\\ \u0009'`, `a = '\\ \u0009'`},
		{`A = TRUE OR b = Null OR c = UNDEFINED`, `A = true OR b = null OR c = undefined`},
	} {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			condition, err := query.ParseCondition(tt.text)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(condition.String()).To(Equal(tt.want))
		})
	}
}

func TestAndCannotBeEscaped(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	scope, err := query.ParseCondition(`STARTSWITH(deviceId, 'team-a-')`)
	g.Expect(err).NotTo(HaveOccurred())
	greedy, err := query.ParseCondition(`false OR true`)
	g.Expect(err).NotTo(HaveOccurred())

	both := query.And(scope, greedy)
	g.Expect(both.String()).To(Equal(`STARTSWITH(deviceId, 'team-a-') AND (false OR true)`))
	g.Expect(both.Matches(map[string]any{"deviceId": "team-b-1"})).To(BeFalse())
	g.Expect(both.Matches(map[string]any{"deviceId": "team-a-1"})).To(BeTrue())
}

func TestPaths(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	condition, err := query.ParseCondition(`IS_DEFINED(TAGS.a) AND (tags.b IN [1] OR STARTSWITH(deviceid, 'x'))`)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(condition.Paths()).To(Equal([][]string{{"tags", "a"}, {"tags", "b"}, {"deviceId"}}))
}
