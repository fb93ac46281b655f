package twin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// nest wraps a value into objects, so that the innermost is at the given level.
func nest(levels int, innermost any) any {
	for range levels {
		innermost = map[string]any{"o": innermost}
	}
	return innermost
}

// filled is a section of exactly that size by IoT Hub's accounting.
func filled(size int) map[string]any {
	section := map[string]any{}
	for i := 0; size > 0; i++ {
		key := fmt.Sprintf("k%03d", i)
		length := min(4000, size-len(key))
		section[key] = strings.Repeat("v", length)
		size -= len(key) + length
	}
	return section
}

func TestValidate(t *testing.T) {
	t.Parallel()
	number := func(text string) any { return json.Number(text) }
	tests := map[string]struct {
		at, past any    // members called "m" of tags, at the limit and past it
		field    string // of the first violation, past the limit
		rule     string
	}{
		"null":              {at: false, past: nil, field: "tags.m", rule: "null"},
		"null in an array":  {at: []any{}, past: []any{true, nil}, field: "tags.m[1]", rule: "null"},
		"null deep inside":  {at: []any{}, past: []any{map[string]any{"x": nil}}, field: "tags.m[0].x", rule: "null"},
		"dot in a key":      {at: map[string]any{"a_b": 1.0}, past: map[string]any{"a.b": 1.0}, field: `tags.m["a.b"]`, rule: "'.'"},
		"dollar in a key":   {at: map[string]any{"€": 1.0}, past: map[string]any{"$a": 1.0}, field: `tags.m["$a"]`, rule: "'$'"},
		"hash in a key":     {at: map[string]any{"-": 1.0}, past: map[string]any{"#": 1.0}, field: `tags.m["#"]`, rule: "'#'"},
		"space in a key":    {at: map[string]any{"a\u00a0b": 1.0}, past: map[string]any{"a b": 1.0}, field: `tags.m["a b"]`, rule: "' '"},
		"C0 in a key":       {at: map[string]any{"~": 1.0}, past: map[string]any{"a\tb": 1.0}, field: `tags.m["a\tb"]`, rule: `'\t'`},
		"C1 in a key":       {at: map[string]any{"¡": 1.0}, past: map[string]any{"\u0085": 1.0}, field: `tags.m["\u0085"]`, rule: `'\u0085'`},
		"key length":        {at: map[string]any{strings.Repeat("é", 512): 1.0}, past: map[string]any{strings.Repeat("é", 512) + "a": 1.0}, field: `tags.m["é`, rule: "1025 bytes; at most 1024"},
		"object level":      {at: nest(10, true), past: nest(10, map[string]any{}), field: "tags.m.o.o.o.o.o.o.o.o.o.o", rule: "level 11; at most 10"},
		"array level":       {at: nest(9, []any{1.0}), past: nest(10, []any{1.0}), field: "tags.m.o.o.o.o.o.o.o.o.o.o", rule: "level 11"},
		"string":            {at: strings.Repeat("é", 2048), past: strings.Repeat("é", 2048) + "a", field: "tags.m", rule: "4097 bytes; at most 4096"},
		"largest integer":   {at: number("4503599627370495"), past: number("4503599627370496"), field: "tags.m", rule: "outside -4503599627370496 to 4503599627370495"},
		"smallest integer":  {at: number("-4503599627370496"), past: number("-4503599627370497"), field: "tags.m", rule: "outside"},
		"integer by value":  {at: number("4.5e3"), past: number("1e20"), field: "tags.m", rule: "outside"},
		"beyond any double": {at: number("1.5"), past: number("1e999"), field: "tags.m", rule: "outside"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if found := Validate(Document{Tags: map[string]any{"m": tt.at}}); len(found) > 0 {
				t.Errorf("at the limit: %v", found)
			}
			found := Validate(Document{Tags: map[string]any{"m": tt.past}})
			if len(found) != 1 {
				t.Fatalf("past the limit: %d violations %v, want one", len(found), found)
			}
			if !strings.HasPrefix(found[0].Field, tt.field) || !strings.Contains(found[0].Rule, tt.rule) {
				t.Errorf("past the limit: %v, want field %s and rule %s", found[0], tt.field, tt.rule)
			}
		})
	}
}

func TestValidateSizes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		limit int
		doc   func(map[string]any) Document
	}{
		"tags":    {limit: 8192, doc: func(s map[string]any) Document { return Document{Tags: s} }},
		"desired": {limit: 32768, doc: func(s map[string]any) Document { return Document{Desired: s} }},
	}
	for section, tt := range tests {
		if found := Validate(tt.doc(filled(tt.limit))); len(found) > 0 {
			t.Errorf("%s at %d: %v", section, tt.limit, found)
		}
		found := Validate(tt.doc(filled(tt.limit + 1)))
		want := Violation{
			Field: section,
			Rule:  fmt.Sprintf("a size of %d by IoT Hub's accounting; at most %d is allowed", tt.limit+1, tt.limit),
		}
		if len(found) != 1 || found[0] != want {
			t.Errorf("%s past the limit: %v, want %v", section, found, want)
		}
	}
}

func TestSizeAccounting(t *testing.T) {
	t.Parallel()
	section := map[string]any{
		"number": json.Number("123456789"), // 6 + 8
		"bool":   true,                     // 4 + 4
		"é":      "a\u0001é",               // 1 + 2, control characters do not count
		"array":  []any{1.0, "ab"},         // 5 + 8 + 2
		"object": map[string]any{"k": ""},  // 6 + 1
	}
	if got, want := sizeOf(section), 14+8+3+15+7; got != want {
		t.Errorf("size %d, want %d", got, want)
	}
}

func TestViolationsAreBounded(t *testing.T) {
	t.Parallel()
	section := map[string]any{}
	for i := range 100 {
		section[fmt.Sprint(i)] = nil
	}
	if found := Validate(Document{Desired: section}); len(found) != maxViolations {
		t.Errorf("%d violations, want %d", len(found), maxViolations)
	}
}

// TestPastedExport: a section as a hub gives it out breaks a rule with every property,
// and says so once.
func TestPastedExport(t *testing.T) {
	t.Parallel()
	const rule = "a part of a twin as the hub gives it out; leave out $metadata and $version, which the hub writes itself"
	stamped := map[string]any{"$lastUpdated": "2026-11-04T12:30:00Z", "$lastUpdatedVersion": 3.0}
	metadata := map[string]any{"$lastUpdated": "2026-11-04T12:30:00Z"}
	for i := range 4000 {
		metadata[fmt.Sprintf("p%d", i)] = stamped
	}
	section := map[string]any{"p1": 1.0, "$metadata": metadata, "$version": 7.0}
	for name, tt := range map[string]struct {
		declared Document
		want     []Violation
	}{
		"desired":          {Document{Desired: section}, []Violation{{"desired", rule}}},
		"only the version": {Document{Desired: map[string]any{"$version": 1.0}}, []Violation{{"desired", rule}}},
		"a whole twin": {Document{Desired: map[string]any{"properties": map[string]any{"desired": section}}},
			[]Violation{{"desired.properties.desired", rule}}},
		"and what else is wrong": {Document{Desired: map[string]any{"$version": 7.0, "a": nil}},
			[]Violation{{"desired", rule}, {"desired.a", "null; IoT Hub stores no null: leave the key out"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Validate(tt.declared)
			if name == "a whole twin" {
				got = got[:1] // it is too large as well
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
