package twin

import (
	"testing"
)

// tagged is a document of tags alone.
func tagged(t *testing.T, tags string) Document {
	t.Helper()
	section, err := ParseSection([]byte(tags))
	if err != nil {
		t.Fatal(err)
	}
	return Document{Tags: section}
}

func TestDocumentsEqualBesideAPatch(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		a, b, patch string
		want        bool
	}{
		"the same":                             {`{"a":1,"b":{"c":2}}`, `{"a":1,"b":{"c":2}}`, `{"x":1}`, true},
		"another value where it writes":        {`{"a":"1.0","b":1}`, `{"a":"1.00","b":1}`, `{"a":"1.0"}`, true},
		"another value elsewhere":              {`{"a":1,"b":1}`, `{"a":1,"b":2}`, `{"a":1}`, false},
		"another value beside, below":          {`{"a":{"b":1,"c":1}}`, `{"a":{"b":2,"c":2}}`, `{"a":{"b":1}}`, false},
		"another value where it writes, below": {`{"a":{"b":1,"c":1}}`, `{"a":{"b":2,"c":1}}`, `{"a":{"b":1}}`, true},
		"not deleted":                          {`{"a":1,"b":1}`, `{"b":1}`, `{"a":null}`, true},
		"an object that it made is not there":  {`{"b":1}`, `{"a":{"b":1},"b":1}`, `{"a":{"b":1}}`, true},
		"a key that is not there":              {`{"b":1}`, `{"a":1,"b":1}`, `{"b":1}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := EqualBeside(tagged(t, tt.a), tagged(t, tt.b), tagged(t, tt.patch)); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestSharedLeavesAreThoseThatTheHubHolds(t *testing.T) {
	t.Parallel()
	path, err := ParsePath("tags.watched")
	if err != nil {
		t.Fatal(err)
	}
	policies := Policies{Paths: []PathPolicy{{Path: path, Policy: Observe}}}
	declared := tagged(t, `{"a":1,"b":{"c":[1],"d":2},"e":3,"watched":1,"x":{}}`)
	for observed, want := range map[string]string{
		`{}`: "",
		`{"a":1.0,"b":{"c":[1],"d":3},"watched":1,"more":1}`: "tags.a, tags.b.c",
		`{"a":{"a":1},"b":1,"e":"3","x":{}}`:                 "tags.x",
	} {
		if got := Shared(declared, tagged(t, observed), policies).String(); got != want {
			t.Errorf("%s: got %q, want %q", observed, got, want)
		}
	}
	if got := Shared(Document{}, declared, Policies{}); len(got) > 0 {
		t.Errorf("nothing is declared: %s", got)
	}
}

func TestARecordHoldsTheTagsThatWereWritten(t *testing.T) {
	t.Parallel()
	written := tagged(t, `{"owner":"plant-a","a":{"owner":"x"}}`)
	record := Make(Input{Declared: written, Record: NewRecord(Target{Host: "h"})}).Record
	for value, want := range map[any]bool{"plant-a": true, "plant-b": false, "x": false, nil: false} {
		if got := record.HoldsTag("owner", value); got != want {
			t.Errorf("%v: got %t", value, got)
		}
	}
	if (Record{}).HoldsTag("owner", "plant-a") {
		t.Error("an empty record holds nothing")
	}
}
