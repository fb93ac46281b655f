package twin

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var target = Target{Host: "hub.example", DeviceID: "d1", Owner: "u1"}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	section, err := ParseSection([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return section
}

// recordOf is the record after a document was written as a whole.
func recordOf(doc Document) Record {
	return Make(Input{Declared: doc, Record: NewRecord(target)}).Settled
}

func spell(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestMake(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		declared, written, observed string // sections in tags; written: what the record holds
		patch                       string // "" means no patch
		changed, removed, left      string
		conflict                    string
	}{
		"a first declaration is sent whole": {
			declared: `{"location":{"region":"US","plant":"Redmond43"}}`,
			observed: `{}`,
			patch:    `{"location":{"plant":"Redmond43","region":"US"}}`,
			changed:  "tags.location.plant, tags.location.region",
		},
		"only differing leaves are sent": {
			declared: `{"location":{"region":"US","plant":"Redmond43"}}`,
			written:  `{"location":{"region":"US","plant":"Redmond43"}}`,
			observed: `{"location":{"region":"US","plant":"Elsewhere","floor":2},"theirs":1}`,
			patch:    `{"location":{"plant":"Redmond43"}}`,
			changed:  "tags.location.plant",
		},
		"values that already match are adopted without a patch": {
			declared: `{"a":1,"b":[1,{"c":2}],"d":{}}`,
			observed: `{"a":1.0,"b":[1.0,{"c":2}],"d":{"x":1}}`,
		},
		"a leaf that left the manifest goes, with its empty ancestors": {
			declared: `{"keep":1}`,
			written:  `{"keep":1,"a":{"b":{"c":1}}}`,
			observed: `{"keep":1,"a":{"b":{"c":1}}}`,
			patch:    `{"a":null}`,
			removed:  "tags.a.b.c",
		},
		"an ancestor stays where another writer has a value": {
			declared: `{}`,
			written:  `{"a":{"b":{"c":1}}}`,
			observed: `{"a":{"b":{"c":1},"theirs":{}}}`,
			patch:    `{"a":{"b":null}}`,
			removed:  "tags.a.b.c",
		},
		"an ancestor that is still declared stays": {
			declared: `{"a":{}}`,
			written:  `{"a":{"b":1}}`,
			observed: `{"a":{"b":1}}`,
			patch:    `{"a":{"b":null}}`,
			removed:  "tags.a.b",
		},
		"a removed leaf with another writer's value is left behind": {
			declared: `{}`,
			written:  `{"a":1}`,
			observed: `{"a":2}`,
			left:     "tags.a",
		},
		"an ancestor that another writer emptied goes": {
			declared: `{}`,
			written:  `{"a":{"b":1}}`,
			observed: `{"a":{}}`,
			patch:    `{"a":null}`,
			removed:  "tags.a",
		},
		"a leaf of ours that another writer turned into an empty object is left behind": {
			declared: `{}`,
			written:  `{"a":1}`,
			observed: `{"a":{}}`,
			left:     "tags.a",
		},
		"a declared empty object that stayed empty goes": {
			declared: `{}`,
			written:  `{"a":{}}`,
			observed: `{"a":{}}`,
			patch:    `{"a":null}`,
			removed:  "tags.a",
		},
		"what was never recorded is not deleted": {
			declared: `{"b":1}`,
			observed: `{"a":1,"b":1,"c":{"d":1}}`,
		},
		"a scalar of ours turns into an object": {
			declared: `{"a":{"b":1}}`,
			written:  `{"a":5}`,
			observed: `{"a":5}`,
			patch:    `{"a":{"b":1}}`,
			changed:  "tags.a.b",
		},
		"an object of ours turns into a scalar": {
			declared: `{"a":5}`,
			written:  `{"a":{"b":1,"c":{"d":2}}}`,
			observed: `{"a":{"b":1,"c":{"d":2}}}`,
			patch:    `{"a":5}`,
			changed:  "tags.a",
		},
		"a scalar does not wipe foreign leaves, but ours below it go": {
			declared: `{"a":5,"b":1}`,
			written:  `{"a":{"ours":1}}`,
			observed: `{"a":{"ours":1,"theirs":2}}`,
			patch:    `{"a":{"ours":null},"b":1}`,
			changed:  "tags.b",
			removed:  "tags.a.ours",
			conflict: `tags.a is declared as a value, and the hub holds another writer's tags.a.theirs below it (declared 5, held {"ours":1,"theirs":2})`,
		},
		"an object does not wipe a foreign scalar": {
			declared: `{"a":{"b":1}}`,
			observed: `{"a":"theirs"}`,
			conflict: `tags.a is declared as an object, and the hub holds another writer's value there (declared {"b":1}, held "theirs")`,
		},
		"an object does not wipe a foreign array": {
			declared: `{"a":{}}`,
			observed: `{"a":[1]}`,
			conflict: `tags.a is declared as an object, and the hub holds another writer's value there (declared {}, held [1])`,
		},
		"an empty object of no writer gives way to a scalar": {
			declared: `{"a":5}`,
			observed: `{"a":{}}`,
			patch:    `{"a":5}`,
			changed:  "tags.a",
		},
		"arrays are leaves, replaced whole": {
			declared: `{"a":[1,2,3]}`,
			written:  `{"a":[1,2]}`,
			observed: `{"a":[1,2]}`,
			patch:    `{"a":[1,2,3]}`,
			changed:  "tags.a",
		},
		"keys that look like paths stay keys": {
			declared: `{"a/b":1,"ключ":{"":2}}`,
			observed: `{"a":{"b":1}}`,
			patch:    `{"a/b":1,"ключ":{"":2}}`,
			changed:  `tags.a/b, tags.ключ[""]`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			observed := Document{Tags: object(t, tt.observed)}
			plan := Make(Input{
				Declared: Document{Tags: object(t, tt.declared)},
				Record:   recordOf(Document{Tags: object(t, tt.written)}),
				Observed: observed,
			})
			patch := ""
			if plan.Patch.Tags != nil {
				patch = spell(t, plan.Patch.Tags)
			}
			conflict := ""
			for _, c := range plan.Conflicts {
				conflict += c.String()
			}
			got := []string{patch, plan.Changed.Paths().String(), plan.Removed.String(), plan.LeftBehind.String(), conflict}
			want := []string{tt.patch, tt.changed, tt.removed, tt.left, tt.conflict}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("patch, changed, removed, left, conflict (-want +got):\n%s", diff)
			}
			if plan.Patch.Desired != nil {
				t.Errorf("a change of tags alone carries desired: %v", plan.Patch.Desired)
			}
		})
	}
}

func TestARecordOfAnotherTwinAuthorisesNothing(t *testing.T) {
	t.Parallel()
	written := Document{Tags: map[string]any{"a": "ours"}}
	for _, other := range []Target{
		{Host: "other.example", DeviceID: "d1", Owner: "u1"},
		{Host: "hub.example", DeviceID: "D1", Owner: "u1"},
		{Host: "hub.example", DeviceID: "d1", ModuleID: "m1", Owner: "u1"},
		{Host: "hub.example", DeviceID: "d1", Owner: "u2"},
	} {
		plan := Make(Input{Record: recordOf(written).For(other), Observed: written})
		if !plan.Patch.Empty() {
			t.Errorf("%v: deletes %v", other, plan.Patch)
		}
		if plan.Record.Target != other {
			t.Errorf("the new record speaks of %v, want %v", plan.Record.Target, other)
		}
	}
}

func TestBothValuesCountWhileAChangeMayBeInFlight(t *testing.T) {
	t.Parallel()
	before := Document{Desired: map[string]any{"level": json.Number("1")}}
	after := Document{Desired: map[string]any{"level": json.Number("2")}}
	record := Make(Input{Declared: after, Record: recordOf(before), Observed: before}).Record
	for name, held := range map[string]Document{"old": before, "new": after} {
		removal := Make(Input{Record: record, Observed: held})
		if got := spell(t, removal.Patch.Desired); got != `{"level":null}` {
			t.Errorf("%s value on the hub: patch %s, want the leaf deleted", name, got)
		}
	}
}
