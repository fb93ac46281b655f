package query_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// conditionText draws the text of a condition, in the many spellings that
// people use, over a few short names so that it often says something about
// the twins that twinDocument draws.
func conditionText(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		if depth == 0 {
			return predicateText().Draw(t, "predicate")
		}
		inner := conditionText(depth - 1)
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			return inner.Draw(t, "left") + rapid.SampledFrom([]string{" AND ", " and\n"}).Draw(t, "and") + inner.Draw(t, "right")
		case 1:
			return inner.Draw(t, "left") + rapid.SampledFrom([]string{" OR ", "\tor "}).Draw(t, "or") + inner.Draw(t, "right")
		case 2:
			return "NOT " + inner.Draw(t, "operand")
		case 3:
			return "(" + inner.Draw(t, "inner") + ")"
		default:
			return predicateText().Draw(t, "predicate")
		}
	})
}

func predicateText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			return valueText().Draw(t, "text") + rapid.SampledFrom([]string{" IN ", " nin "}).Draw(t, "in") +
				"[" + strings.Join(rapid.SliceOfN(constantText(), 0, 3).Draw(t, "items"), ", ") + "]"
		case 1:
			return "Is_Defined(" + pathText().Draw(t, "path") + ")"
		case 2:
			function := rapid.SampledFrom([]string{"startswith", "ENDSWITH", "Array_Contains"}).Draw(t, "function")
			return fmt.Sprintf("%s(%s, %s)", function, valueText().Draw(t, "text"), valueText().Draw(t, "part"))
		case 3:
			return valueText().Draw(t, "bare")
		default:
			operator := rapid.SampledFrom([]string{"=", "!=", "<>", "<", "<=", ">", ">="}).Draw(t, "operator")
			return valueText().Draw(t, "left") + operator + valueText().Draw(t, "right")
		}
	})
}

func valueText() *rapid.Generator[string] {
	sum := rapid.Custom(func(t *rapid.T) string {
		operator := rapid.SampledFrom([]string{" + ", " - ", " * ", " / ", " % "}).Draw(t, "operator")
		return pathText().Draw(t, "left") + operator + constantText().Draw(t, "right")
	})
	return rapid.OneOf(pathText(), constantText(), sum, rapid.SampledFrom([]string{"- -2", "-a", "-(-tags.a)"}))
}

func pathText() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{
		"a", "b", "devices.a", "[[a]]", "tags.a", "TAGS.b", "tags.[[group]]", "tags.[[x y]].c", "deviceID", "$version",
		"devices.devices.a", "Devices.modules.a", "devices.jobs.a", "devices.[[devices]].jobs.b", "jobID",
	})
}

func constantText() *rapid.Generator[string] {
	quoted := rapid.Custom(func(t *rapid.T) string {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", `\\`, `\'`, `''`, `"`, `\u0022`, "é", `\u000a`}), 0, 3).Draw(t, "parts"), "")
		return "'" + text + "'"
	})
	return rapid.OneOf(quoted, rapid.SampledFrom([]string{
		`"a"`, `"it's"`, "1", "-1", "0x10", "1.50", "2e2", "true", "FALSE", "null", "undefined",
	}))
}

func twinDocument() *rapid.Generator[map[string]any] {
	value := rapid.SampledFrom([]any{"a", "b", "'", `\`, 1.0, -1.0, 16.0, true, false, nil, []any{1.0}, map[string]any{"c": "a"}})
	object := rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "group", "x y"}), value)
	return rapid.Custom(func(t *rapid.T) map[string]any {
		doc := map[string]any{"deviceId": "a", "$version": 1.0, "tags": object.Draw(t, "tags"), "jobId": "a"}
		for _, name := range []string{"devices", "modules", "jobs"} {
			doc[name] = object.Draw(t, name)
		}
		for name, value := range object.Draw(t, "top") {
			doc[name] = value
		}
		return doc
	})
}

func TestCanonicalTextMeansTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := conditionText(4).Draw(t, "condition")
		condition, err := query.ParseCondition(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		canonical := condition.String()
		again, err := query.ParseCondition(canonical)
		if err != nil {
			t.Fatalf("the canonical text %s: %v", canonical, err)
		}
		if again.String() != canonical {
			t.Fatalf("not stable: %s became %s", canonical, again)
		}
		for _, doc := range rapid.SliceOfN(twinDocument(), 5, 5).Draw(t, "twins") {
			if condition.Matches(doc) != again.Matches(doc) {
				t.Fatalf("%s and %s differ on %v", text, canonical, doc)
			}
		}
	})
}

// queryText draws a whole query that is well formed.
func queryText() *rapid.Generator[string] {
	aggregates := []string{"COUNT()", "avg(tags.a)", "Sum(a)", "MIN(tags.[[x y]].c)", "max($version)"}
	return rapid.Custom(func(t *rapid.T) string {
		if rapid.Bool().Draw(t, "of jobs") {
			text := rapid.SampledFrom([]string{"SELECT * FROM devices.jobs", "select top 7 * from Devices.JOBS"}).Draw(t, "jobs")
			if rapid.Bool().Draw(t, "conditional") {
				text += " WHERE " + conditionText(2).Draw(t, "condition")
			}
			return text
		}
		groups := rapid.SliceOfNDistinct(pathText(), 0, 3, rapid.ID[string]).Draw(t, "groups")
		var columns []string
		if len(groups) == 0 && rapid.Bool().Draw(t, "of twins") {
			columns = rapid.SliceOfN(pathText(), 0, 4).Draw(t, "columns")
		} else {
			columns = append(slices.Clone(groups), rapid.SliceOfN(rapid.SampledFrom(aggregates), 1, 4).Draw(t, "aggregates")...)
		}
		text := rapid.SampledFrom([]string{"SELECT ", "select top 7 "}).Draw(t, "select")
		for i, column := range columns {
			columns[i] = fmt.Sprintf("%s AS c%d", column, i)
		}
		if len(columns) == 0 {
			columns = []string{"*"}
		}
		text += strings.Join(columns, ", ") + rapid.SampledFrom([]string{" FROM devices", " from DEVICES.modules"}).Draw(t, "from")
		if rapid.Bool().Draw(t, "conditional") {
			text += " WHERE " + conditionText(2).Draw(t, "condition")
		}
		if len(groups) > 0 {
			text += " GROUP BY " + strings.Join(groups, ", ")
		}
		return text
	})
}

func TestCanonicalQueryMeansTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := queryText().Draw(t, "query")
		parsed, err := query.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		again, err := query.Parse(parsed.String())
		if err != nil {
			t.Fatalf("the canonical text %s: %v", parsed, err)
		}
		if again.String() != parsed.String() {
			t.Fatalf("not stable: %s became %s", parsed, again)
		}
		docs := rapid.SliceOfN(twinDocument(), 5, 5).Draw(t, "twins")
		if first, second := results(parsed, docs), results(again, docs); !reflect.DeepEqual(first, second) {
			t.Fatalf("%s and %s differ: %v, %v", text, parsed, first, second)
		}
	})
}

// results runs a query, but for TOP.
func results(q *query.Query, docs []map[string]any) []any {
	rows := []any{}
	collected := &query.Aggregation{}
	if q.Aggregates() {
		collected = q.Aggregation()
	}
	for _, doc := range docs {
		switch {
		case !q.Selects(query.Object(doc)):
		case q.Aggregates():
			collected.Add(query.Object(doc))
		case q.SelectsTwins():
			rows = append(rows, doc)
		default:
			rows = append(rows, q.Row(query.Object(doc)))
		}
	}
	if q.Aggregates() {
		for _, group := range collected.Groups() {
			rows = append(rows, group)
		}
	}
	return rows
}

func TestLogicLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := predicateText().Draw(t, "a")
		b := predicateText().Draw(t, "b")
		doc := twinDocument().Draw(t, "twin")
		matches := func(format string, args ...any) bool {
			condition, err := query.ParseCondition(fmt.Sprintf(format, args...))
			if err != nil {
				t.Fatal(err)
			}
			return condition.Matches(doc)
		}
		if matches("(%s) AND NOT (%s)", a, a) {
			t.Fatalf("%s holds together with its negation", a)
		}
		if matches("NOT ((%s) AND (%s))", a, b) != matches("NOT (%s) OR NOT (%s)", a, b) {
			t.Fatalf("De Morgan's law fails for %s and %s", a, b)
		}
		if matches("(%s) AND (%s)", a, b) != (matches("%s", a) && matches("%s", b)) {
			t.Fatalf("AND of %s and %s is not both", a, b)
		}
		if matches("(%s) OR (%s)", a, b) != (matches("%s", a) || matches("%s", b)) {
			t.Fatalf("OR of %s and %s is not either", a, b)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`SELECT * FROM devices WHERE tags.location.plant = 'Redmond43'`,
		`SELECT TOP 2 deviceId AS id, tags.[[x y]] FROM devices.modules WHERE NOT (a IN [1, -0x2, "b"] OR IS_DEFINED(b))`,
		`SELECT COUNT() AS n FROM devices WHERE STARTSWITH(deviceId, 'it''s \u00e9') AND -a + 1 % 2 >= .5e-3`,
		`SELECT tags.a, [[b]] AS c, AVG(a), SUM(b) AS s, min(c), MAX(d.$version) FROM devices WHERE a = 0x1F GROUP BY tags.a, b`,
		`SELECT a FROM devices WHERE a = - -2 AND b != "\\\""`,
		`SELECT TOP 3 * FROM devices.jobs WHERE devices.jobs.jobId = 'j' AND NOT outcome.deviceMethodResponse.status = 200`,
		`SELECT * FROM devices.jobs WHERE devices.devices.jobs.a = 1 OR devices.modules.JOBID IN ['a']`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := query.Parse(text)
		if err != nil {
			return
		}
		canonical := parsed.String()
		if len(canonical) > query.MaxLength {
			return // parentheses made it too long to be parsed again
		}
		again, err := query.Parse(canonical)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, canonical, err)
		}
		if again.String() != canonical {
			t.Fatalf("%q became %q, then %q", text, canonical, again)
		}
		twin := query.Object{"deviceId": "a", "tags": map[string]any{"a": 1.0}}
		if parsed.Selects(twin) != again.Selects(twin) {
			t.Fatalf("%q and %q differ", text, canonical)
		}
		if parsed.Aggregates() {
			collected := parsed.Aggregation()
			collected.Add(twin)
			collected.Groups()
		} else {
			parsed.Row(twin)
		}
	})
}
