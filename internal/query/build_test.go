package query

import (
	"encoding/json"
	"testing"
)

func TestBuiltConditionsAreWhatTheyWouldBeParsedFrom(t *testing.T) {
	t.Parallel()
	for text, condition := range map[string]*Condition{
		"STARTSWITH(deviceId, 'a-')":                                                  StartsWith("deviceId", "a-"),
		"STARTSWITH(deviceId, 'a-') OR STARTSWITH(deviceId, \"b'\")":                  StartsWith("deviceId", "a-", "b'"),
		"(tags.x = 1) AND (STARTSWITH(deviceId, 'a-') OR STARTSWITH(deviceId, 'b-'))": And(mustParse(t, "tags.x = 1"), StartsWith("deviceId", "a-", "b-")),
		"(tags.x = 1 OR tags.y = 2) AND STARTSWITH(deviceId, 'a-')":                   And(mustParse(t, "tags.x = 1 OR tags.y = 2"), StartsWith("deviceId", "a-")),
		"deviceId IN ['a', \"b'\"]":                                                   In("deviceId", "a", "b'"),
		"deviceId IN ['a'] AND properties.desired.$metadata.$lastUpdated >= 'x'":      And(In("deviceId", "a"), mustParse(t, "properties.desired.$metadata.$lastUpdated >= 'x'")),
	} {
		parsed := mustParse(t, text)
		if got := condition.String(); got != parsed.String() {
			t.Errorf("%s, want %s", got, parsed)
		}
		if again := mustParse(t, condition.String()); again.String() != condition.String() {
			t.Errorf("%s parses to %s", condition, again)
		}
	}
}

func mustParse(t *testing.T, text string) *Condition {
	t.Helper()
	condition, err := ParseCondition(text)
	if err != nil {
		t.Fatal(err)
	}
	return condition
}

func TestComparisonsAreBuiltFromValues(t *testing.T) {
	t.Parallel()
	for text, value := range map[string]any{
		"tags.a.[[b-c]] = 'x'":      "x",
		"tags.a.[[b-c]] = \"it's\"": "it's",
		"tags.a.[[b-c]] = true":     true,
		"tags.a.[[b-c]] = 1":        json.Number("1"),
		"tags.a.[[b-c]] = -1.5":     -1.5,
		"tags.a.[[b-c]] = 1e21":     json.Number("1e21"),
		"tags.a.[[b-c]] = 7":        7,
		"tags.a.[[b-c]] = 9":        int64(9),
	} {
		condition, ok := Equals(value, "tags", "a", "b-c")
		if !ok {
			t.Errorf("%v cannot be compared", value)
			continue
		}
		parsed := mustParse(t, text)
		if condition.String() != parsed.String() {
			t.Errorf("%s, want %s", condition, parsed)
		}
		holds := map[string]any{"tags": map[string]any{"a": map[string]any{"b-c": value}}}
		if !condition.Matches(holds) {
			t.Errorf("%s does not match its own value", condition)
		}
		if differs, _ := Differs(value, "tags", "a", "b-c"); differs.Matches(holds) {
			t.Errorf("%s matches its own value", differs)
		}
	}
	for _, value := range []any{nil, []any{1}, map[string]any{}} {
		if condition, ok := Equals(value, "tags", "a"); ok {
			t.Errorf("%v became %s", value, condition)
		}
	}
	for _, name := range []string{"a]]=1", "a]", "]"} {
		if condition, ok := Equals(1, "tags", name); ok {
			t.Errorf("the name %s became %s", name, condition)
		}
	}
}

func TestConditionsAreJoined(t *testing.T) {
	t.Parallel()
	a, b := Defined("tags", "a"), AtLeast(400, "properties", "reported", "x", "ac")
	if got, want := Or(a, b).String(), "IS_DEFINED(tags.a) OR properties.reported.x.ac >= 400"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := Not(Or(a, b)).String(), "NOT (IS_DEFINED(tags.a) OR properties.reported.x.ac >= 400)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
