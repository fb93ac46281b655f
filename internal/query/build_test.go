package query

import "testing"

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
