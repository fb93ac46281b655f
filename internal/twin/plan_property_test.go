package twin

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Few keys and values, so that documents collide often.
func someKey() *rapid.Generator[string] { return rapid.SampledFrom([]string{"a", "b", "c", ""}) }

func someScalar() *rapid.Generator[any] {
	return rapid.SampledFrom([]any{
		json.Number("1"), json.Number("1.0"), json.Number("2"), "x", "", true, false,
	})
}

func someValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kind := rapid.IntRange(0, 9).Draw(t, "kind")
		switch {
		case depth > 0 && kind < 4:
			return someObject(depth-1).Draw(t, "object")
		case kind == 4:
			return rapid.SliceOfN(someScalar(), 0, 2).Draw(t, "array")
		}
		return someScalar().Draw(t, "scalar")
	})
}

func someObject(depth int) *rapid.Generator[map[string]any] {
	return rapid.MapOfN(someKey(), someValue(depth), 0, 3)
}

func someDocument() *rapid.Generator[Document] {
	return rapid.Custom(func(t *rapid.T) Document {
		return Document{Tags: someObject(2).Draw(t, "tags"), Desired: someObject(2).Draw(t, "desired")}
	})
}

// someInput is a twin with a history: several declarations were recorded, pushed
// or half pushed, and others wrote in between.
func someInput() *rapid.Generator[Input] {
	return rapid.Custom(func(t *rapid.T) Input {
		record, held := NewRecord(target), Document{}
		for range rapid.IntRange(0, 3).Draw(t, "history") {
			declared := someDocument().Draw(t, "declared before")
			plan := Make(Input{Declared: declared, Record: record, Observed: held})
			record = plan.Record
			switch rapid.SampledFrom([]string{"crashed", "pushed", "settled"}).Draw(t, "step") {
			case "settled":
				record = plan.Settled
				held = Apply(held, plan.Patch)
			case "pushed":
				held = Apply(held, plan.Patch)
			}
			if rapid.Bool().Draw(t, "foreign write") {
				held = Apply(held, someDocument().Draw(t, "theirs"))
			}
		}
		return Input{Declared: someDocument().Draw(t, "declared"), Record: record, Observed: held}
	})
}

type leafSet map[string]any

func leavesOf(doc Document) leafSet {
	out := leafSet{}
	for section, object := range map[Section]map[string]any{Tags: doc.Tags, Desired: doc.Desired} {
		for key, value := range object {
			for path, leaf := range leaves(Path{section: section}.child(key), value) {
				out[id(path)] = leaf
			}
		}
	}
	return out
}

func id(p Path) string { return strings.Join(append([]string{string(p.section)}, p.keys...), "\x00") }

func splitLeaf(leaf string) []string { return strings.Split(leaf, "\x00") }

// at finds the value at a path of leavesOf.
func at(doc Document, leaf string) (any, bool) {
	keys := splitLeaf(leaf)
	var value any = doc.Tags
	if keys[0] == string(Desired) {
		value = doc.Desired
	}
	for _, key := range keys[1:] {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = object[key]; !ok {
			return nil, false
		}
	}
	return value, true
}

func recorded(r Record, leaf string, value any) bool {
	keys := splitLeaf(leaf)
	n := r.section(Section(keys[0]))
	for _, key := range keys[1:] {
		n = n.child(key)
	}
	if object, ok := value.(map[string]any); ok && len(object) == 0 && len(childrenOf(n)) > 0 {
		return true // what is left of an object that we wrote into
	}
	return n.holds(value)
}

func within(leaf, of string) bool { return leaf == of || strings.HasPrefix(leaf, of+"\x00") }

func TestPlanProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := someInput().Draw(t, "input")
		plan := Make(in)
		after := Apply(in.Observed, plan.Patch)

		checkForeignLeavesStay(t, in, after)
		checkDeclaredLeavesArrive(t, in, plan, after)
		checkFormerLeavesGo(t, in, after)
		checkMinimal(t, in.Observed, plan.Patch)
		checkNothingLeftToDo(t, in, plan, after)
		checkRecordGrows(t, in.Record, plan.Record, after)
	})
}

func checkForeignLeavesStay(t *rapid.T, in Input, after Document) {
	declared := leavesOf(in.Declared)
	for leaf, value := range leavesOf(in.Observed) {
		if _, ours := declared[leaf]; ours || recorded(in.Record, leaf, value) {
			continue
		}
		if object, ok := value.(map[string]any); ok && len(object) == 0 {
			continue // an empty object may be filled
		}
		if got, ok := at(after, leaf); !ok || !equalValues(got, value) {
			t.Fatalf("foreign leaf %q was %v, is %v", leaf, value, got)
		}
	}
}

func checkDeclaredLeavesArrive(t *rapid.T, in Input, plan Plan, after Document) {
	for leaf, value := range leavesOf(in.Declared) {
		conflicting := slices.ContainsFunc(plan.Conflicts, func(c Conflict) bool { return within(leaf, id(c.Declared)) })
		if conflicting {
			continue
		}
		got, ok := at(after, leaf)
		if _, anyObject := value.(map[string]any); anyObject {
			_, ok = got.(map[string]any)
		} else {
			ok = ok && equalValues(got, value)
		}
		if !ok {
			t.Fatalf("declared leaf %q is %v on the hub, want %v", leaf, got, value)
		}
		if !recorded(plan.Record, leaf, value) || !recorded(plan.Settled, leaf, value) {
			t.Fatalf("declared leaf %q is not recorded", leaf)
		}
	}
	for _, c := range plan.Conflicts {
		for _, foreign := range c.Foreign {
			if _, ok := at(in.Observed, id(foreign)); !ok {
				t.Fatalf("conflict with %s, which is not on the hub", foreign)
			}
		}
	}
}

func checkFormerLeavesGo(t *rapid.T, in Input, after Document) {
	declared := leavesOf(in.Declared)
	for leaf, value := range leavesOf(in.Observed) {
		if _, ok := declared[leaf]; ok || !recorded(in.Record, leaf, value) {
			continue
		}
		if object, ok := value.(map[string]any); ok && len(object) == 0 {
			if _, stillDeclared := at(in.Declared, leaf); stillDeclared {
				continue
			}
		}
		if got, ok := at(after, leaf); ok && equalValues(got, value) {
			t.Fatalf("leaf %q left the declaration and is still %v", leaf, value)
		}
	}
}

func checkMinimal(t *rapid.T, observed, patch Document) {
	for leaf, value := range leavesOf(patch) {
		held, ok := at(observed, leaf)
		if value == nil && !ok {
			t.Fatalf("deletes %q, which is not there", leaf)
		}
		if value != nil && ok && equalValues(held, value) {
			t.Fatalf("sends %q = %v, which the hub holds", leaf, value)
		}
	}
}

func checkNothingLeftToDo(t *rapid.T, in Input, plan Plan, after Document) {
	for name, record := range map[string]Record{"before settling": plan.Record, "settled": plan.Settled} {
		again := Make(Input{Declared: in.Declared, Record: record, Observed: after, Policies: in.Policies})
		if !again.Patch.Empty() {
			t.Fatalf("%s: plans %v again on %v", name, again.Patch, after)
		}
		if !again.Settled.Equal(plan.Settled) {
			t.Fatalf("%s: settles to another record", name)
		}
	}
}

func checkRecordGrows(t *rapid.T, before, grown Record, after Document) {
	for leaf, value := range leavesOf(after) {
		if recorded(before, leaf, value) && !recorded(grown, leaf, value) {
			t.Fatalf("the record forgot %q before the patch was sent", leaf)
		}
	}
	text, err := grown.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeRecord(text)
	if err != nil || !back.Equal(grown) {
		t.Fatalf("%s reads back as another record (%v)", text, err)
	}
}
