package query_test

import (
	"encoding/json"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

func TestEscapes(t *testing.T) {
	t.Parallel()
	const refused = "refused"
	for _, tt := range []struct {
		literal                 string
		any, backslash, doubled string
	}{
		{`'plain'`, `plain`, `plain`, `plain`},
		{`'it''s'`, `it's`, refused, `it's`},
		{`'it\'s'`, `it's`, `it's`, refused},
		{`"say ""so"""`, `say "so"`, refused, `say "so"`},
		{`'a\\b'`, `a\b`, `a\b`, `a\\b`},
		{`'a\b'`, refused, refused, `a\b`},
		{`'\u0041'`, `A`, `A`, `\u0041`},
		{`"it's"`, `it's`, `it's`, `it's`},
		{`''`, ``, ``, ``},
	} {
		for escape, want := range map[query.Escape]string{
			query.AnyEscape: tt.any, query.BackslashEscape: tt.backslash, query.DoubledEscape: tt.doubled,
		} {
			g := NewWithT(t)
			q, err := query.Dialect{Escape: escape}.Parse(`SELECT * FROM devices WHERE tags.a = ` + tt.literal)
			if want == refused {
				g.Expect(err).To(HaveOccurred(), "%s under %d", tt.literal, escape)
				continue
			}
			g.Expect(err).NotTo(HaveOccurred(), "%s under %d", tt.literal, escape)
			g.Expect(q.Selects(query.Object{"tags": map[string]any{"a": want}})).To(BeTrue(), "%s under %d", tt.literal, escape)
		}
	}
}

func TestAndAndOrFromTheLeft(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text                 string
		bySQL, fromTheLeft   bool
		canonicalFromTheLeft string
	}{
		{`true OR true AND false`, true, false, `(true OR true) AND false`},
		{`false AND true OR true`, true, true, `(false AND true) OR true`},
		{`true OR false AND false OR true AND false`, true, false, `((((true OR false) AND false) OR true) AND false)`},
		{`true OR (true AND false)`, true, true, `true OR (true AND false)`},
		{`true OR NOT true AND false`, true, false, `(true OR (NOT true)) AND false`},
		{`true AND true AND true`, true, true, `true AND true AND true`},
	} {
		g := NewWithT(t)
		g.Expect(must(query.ParseCondition(tt.text)).Matches(nil)).To(Equal(tt.bySQL), tt.text)
		condition := must(query.Dialect{LeftToRight: true}.ParseCondition(tt.text))
		g.Expect(condition.Matches(nil)).To(Equal(tt.fromTheLeft), tt.text)
		g.Expect(condition.String()).To(Equal(must(query.ParseCondition(tt.canonicalFromTheLeft)).String()))
	}
	g := NewWithT(t)
	for text, problem := range map[string]string{
		`true OR`:    "found the end of the text",
		`true AND )`: `found ")"`,
		strings.Repeat(`true OR true AND `, 40) + `true`: "levels of operations within operations",
	} {
		_, err := query.Dialect{LeftToRight: true}.ParseCondition(text)
		g.Expect(err).To(MatchError(ContainSubstring(problem)))
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err) // the test's own set-up
	}
	return value
}

func TestTypeFunctions(t *testing.T) {
	t.Parallel()
	var twin map[string]any
	decoder := json.NewDecoder(strings.NewReader(`{"bool":false,"number":0,"string":"","object":{},"array":[],"null":null}`))
	decoder.UseNumber()
	NewWithT(t).Expect(decoder.Decode(&twin)).To(Succeed())
	for function, holds := range map[string]string{
		"IS_BOOL": "bool", "IS_NUMBER": "number", "is_string": "string", "IS_OBJECT": "object", "IS_ARRAY": "array",
		"IS_NULL": "null", "IS_PRIMITIVE": "bool number string null",
	} {
		for _, name := range []string{"bool", "number", "string", "object", "array", "null", "missing"} {
			g := NewWithT(t)
			text := function + "([[" + name + "]])"
			condition := must(query.Dialect{TypeFunctions: true}.ParseCondition(text))
			g.Expect(condition.Matches(twin)).To(Equal(strings.Contains(holds, name)), text)
			g.Expect(condition.Paths()).To(Equal([][]string{{name}}))
			g.Expect(must(query.Dialect{TypeFunctions: true}.ParseCondition(condition.String()))).To(Equal(condition))
			_, err := query.ParseCondition(text)
			g.Expect(err).To(MatchError(ContainSubstring("unknown function")))
		}
	}
	g := NewWithT(t)
	for text, problem := range map[string]string{
		`IS_BOOL()`:     "expected a property, a constant or a function",
		`IS_BOOL(a, b)`: `after the argument of IS_BOOL`,
		`IS_INTEGER(a)`: "unknown function",
	} {
		_, err := query.Dialect{TypeFunctions: true}.ParseCondition(text)
		g.Expect(err).To(MatchError(ContainSubstring(problem)), text)
	}
}

func TestNamesWithoutAs(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	twin := query.Object{"tags": map[string]any{"a": map[string]any{"b": 1.0}}, "status": "enabled"}
	const columns = `SELECT tags.a.b, Status, tags.a AS c FROM devices`
	g.Expect(must(query.Parse(columns)).Row(twin)).To(Equal(map[string]any{"b": 1.0, "status": "enabled", "c": map[string]any{"b": 1.0}}))
	g.Expect(must(query.Dialect{NamedByPath: true}.Parse(columns)).Row(twin)).To(Equal(
		map[string]any{"tags.a.b": 1.0, "status": "enabled", "c": map[string]any{"b": 1.0}}))
	for dialect, want := range map[query.Dialect]map[string]any{
		{}:                      {"$1": 1.0, "$2": 1.0, "n": 1.0},
		{NamedByFunction: true}: {"count": 1.0, "max": 1.0, "n": 1.0},
	} {
		collected := must(dialect.Parse(`SELECT COUNT(), MAX(tags.a.b), MIN(tags.a.b) AS n FROM devices`)).Aggregation()
		collected.Add(twin)
		g.Expect(encoded(t, collected.Groups()[0].Row)).To(MatchJSON(encoded(t, want)))
	}
	_, err := query.Dialect{NamedByFunction: true}.Parse(`SELECT MIN(tags.a), MIN(tags.b) FROM devices`)
	g.Expect(err).To(MatchError(ContainSubstring(`two columns are called "min"`)))
}

func encoded(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
